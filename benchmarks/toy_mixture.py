"""ReST-EM where everything can be computed: `python -m benchmarks.toy_mixture`.

A policy picks one of several ways to solve a problem, z ~ π(z | x), and way z is right with a known probability p(right | x, z). The
log-likelihood of being right, log Σ_z π(z | x) p(right | x, z), is what self-training means to raise:

  E-step: the posterior q(z) ∝ π(z | x) p(right | x, z). Filtered samples are draws from it: sample z from π, try it, keep it if right.
  M-step: π ← q, which maximizes E_q[log π(z | x)], the training loss of the kept samples.

Exact steps never lower the log-likelihood (Dempster, Laird and Rubin 1977); steps from K samples a problem are noisy ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PROBLEMS, WAYS = 40, 5
ITERATIONS = 4

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """After an M-step: the mean log-likelihood of being right, its lower bound before and after the M-step, and the share of right answers."""

    log_likelihood: float
    bound_before: float
    bound_after: float
    right: float


def task(seed: int) -> tuple[Matrix, Matrix]:
    """The policy to start from and how often each way is right, problems x ways."""
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.ones(WAYS), PROBLEMS), draw.beta(0.4, 1.2, (PROBLEMS, WAYS))


def exact(policy: Matrix, right: Matrix) -> Matrix:
    """The posterior over ways, given that the answer was right."""
    joint = policy * right
    return joint / joint.sum(axis=1, keepdims=True)


def sampled(policy: Matrix, right: Matrix, samples: int, draw: np.random.Generator) -> Matrix:
    """The same from `samples` tries a problem, the wrong ones thrown away; a problem without a right one keeps its policy."""
    counts = np.zeros_like(policy)
    for problem in range(len(policy)):
        tried = draw.choice(WAYS, samples, p=policy[problem])
        kept = tried[draw.random(samples) < right[problem, tried]]
        counts[problem] = np.bincount(kept, minlength=WAYS)
    total = counts.sum(axis=1, keepdims=True)
    # A little of the policy stays in, as a fine-tune of a few steps leaves it: a way that was not drawn is not forgotten.
    return np.where(total > 0, 0.9 * counts / np.maximum(total, 1) + 0.1 * policy, policy)


def log_likelihood(policy: Matrix, right: Matrix) -> float:
    """log p(right | x), averaged over problems."""
    return float(np.log((policy * right).sum(axis=1)).mean())


def bound(posterior: Matrix, policy: Matrix, right: Matrix) -> float:
    """The evidence lower bound E_q[log π(z) p(right | z) - log q(z)], averaged over problems."""
    terms = np.where(posterior > 0, posterior * np.log(policy * right / np.maximum(posterior, 1e-300)), 0.0)
    return float(terms.sum(axis=1).mean())


def run(seed: int, samples: int | None, iterations: int = ITERATIONS) -> list[Step]:
    """Iterations of exact steps, or of steps from so many samples a problem."""
    policy, right = task(seed)
    draw = np.random.default_rng([seed, 1])
    steps: list[Step] = []
    for _ in range(iterations):
        posterior = exact(policy, right)
        after = posterior if samples is None else sampled(policy, right, samples, draw)
        mixed = 0.9 * posterior + 0.1 * policy if samples is None else after
        steps.append(
            Step(
                log_likelihood(mixed, right),
                bound(posterior, policy, right),
                bound(posterior, mixed, right),
                float((mixed * right).sum(axis=1).mean()),
            )
        )
        policy = mixed
    return steps


def table() -> str:
    """The page's table, in Markdown."""
    policy, right = task(0)
    lines = [
        "| | exact: log p(right) | bound before M | bound after M | right | 32 samples: log p(right) | right | 4 samples: log p(right) | right |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    start, share = log_likelihood(policy, right), 100 * float((policy * right).sum(axis=1).mean())
    lines.append(
        f"| start | {start:.3f} | | | {share:.1f} % | {start:.3f} | {share:.1f} % | {start:.3f} | {share:.1f} % |"
    )
    for n, (one, many, few) in enumerate(zip(run(0, None), run(0, 32), run(0, 4), strict=True), start=1):
        lines.append(
            f"| {n} | {one.log_likelihood:.3f} | {one.bound_before:.3f} | {one.bound_after:.3f} | {100 * one.right:.1f} % "
            f"| {many.log_likelihood:.3f} | {100 * many.right:.1f} % | {few.log_likelihood:.3f} | {100 * few.right:.1f} % |"
        )
    once = run(0, 4 * ITERATIONS, iterations=1)[0]
    lines.append(
        f"| once, {4 * ITERATIONS} samples | | | | | | | {once.log_likelihood:.3f} | {100 * once.right:.1f} % |"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
