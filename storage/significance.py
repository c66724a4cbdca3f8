"""Intervals and paired tests for accuracies, exact where that is cheap."""

from dataclasses import dataclass
from math import comb, sqrt

Z95 = 1.959963984540054
"""The standard normal's 97.5 % quantile."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, as shares in [0, 1]."""

    low: float
    high: float


def wilson(share: float, n: float) -> Interval:
    """Wilson's score interval for a share seen in `n` independent trials (Wilson 1927).

    `n` may be an effective sample size, (sum w)^2 / sum w^2, of weighted trials. With n = 0 nothing is known: 0 to 1.
    """
    if n <= 0:
        return Interval(0.0, 1.0)
    centre = share + Z95**2 / (2 * n)
    half = Z95 * sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    scale = 1 + Z95**2 / n
    return Interval(max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact McNemar p-value: `gained` items right only after, `lost` only before (McNemar 1947)."""
    n = gained + lost
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    return min(1.0, 2 * tail)
