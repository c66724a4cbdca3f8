"""How good a loop can become with the verifier it has: what the errors that an audit found in the verifier allow.

    ceiling(0.5, Audited(false_accepts=4, wrong=80, false_rejects=2, right=60))   →  Ceiling(accuracy=0.949, worst=0.863, measured=0.967, …)

A verifier says the same of the same text whenever it is asked, so its errors last: a loop that keeps what passed sharpens the model on all
that passes, right or not, in the proportion in which the base wrote them. With p the share of the base's attempts that are right, a the
share that is accepted, α the false accepts among the wrong and β the false rejects among the right,

    a = p (1 - β) + (1 - p) α,   so   p = (a - α) / (1 - α - β)      (Rogan and Gladen 1978)

and the share of right ones among what is accepted is p (1 - β) / a. Training on what was accepted can carry the model to answers that always
pass, and then this share of them is right: that is the ceiling of its true accuracy. Its measured accuracy has another one: a
model without any error would score 1 - β. A measured score above that is made of false accepts.

If the verifier's errors were drawn anew each time, each iteration would multiply the odds of a right answer by (1 - β) / α, and there would
be no ceiling below one; and a problem on which the two models differ (α, β by problem) has its own. Where cases are harder than what
models write, as near misses and exploits in a table are, α and β are too large, and the ceiling too low.
"""

from dataclasses import asdict, dataclass
from typing import Any

from storage.significance import wilson


@dataclass(frozen=True, slots=True)
class Audited:
    """What a verifier did on labelled cases: passed by mistake of the wrong ones, failed by mistake of the right ones."""

    false_accepts: int
    wrong: int
    false_rejects: int
    right: int


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Shares. `accuracy`: the true accuracy that the loop can approach; `worst`: with as many false accepts as the audit cannot rule
    out (95 %); `measured`: what a model without an error would score.
    """

    accuracy: float
    worst: float
    measured: float
    accepted: float
    false_accept_rate: float
    false_reject_rate: float

    def as_json(self) -> dict[str, Any]:
        """Rounded, as it is kept."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


def ceiling(accepted: float, audited: Audited) -> Ceiling | None:
    """The ceiling, from the share of the base's attempts that the verifier accepts; None where the audit says nothing: no cases, nothing
    accepted, or a verifier that accepts wrong answers as readily as right ones.
    """
    if not audited.wrong or not audited.right or not accepted:
        return None
    alpha, beta = audited.false_accepts / audited.wrong, audited.false_rejects / audited.right
    best = right_among_accepted(accepted, alpha, beta)
    worst = right_among_accepted(
        accepted, wilson(alpha, audited.wrong).high, wilson(beta, audited.right).low
    )  # more false rejects would mean more right answers behind the accepted ones
    if best is None:
        return None
    return Ceiling(best, 0.0 if worst is None else worst, 1 - beta, accepted, alpha, beta)


def right_among_accepted(accepted: float, alpha: float, beta: float) -> float | None:
    """The share of right answers among the accepted ones; None for a verifier that tells nothing apart."""
    if alpha + beta >= 1:
        return None
    right = min(1.0, max(0.0, (accepted - alpha) / (1 - alpha - beta)))
    return min(1.0, right * (1 - beta) / accepted)
