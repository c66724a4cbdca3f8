"""How many verdicts a second `math` reaches, with formulas among them that hang: `python -m benchmarks.verification`.

Half of the texts are answers to GSM8K (worked solutions), half to MATH500 (boxed formulas); of each, half are right and half are the answer of
another problem. One in four thousand is a tower of powers that nobody can compute. Starting the workers is not counted, replacing them is.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.gold_answers import SETS, boxed, data_folder, row, solution
from storage.records import Problem
from tasks.judgements import Row
from tasks.verifier_pool import VerifierPool

HANGS = r"\boxed{9^{9^{9^{9}}}}"
ROWS = 8_000
HANG_EVERY = 4_000


@dataclass(frozen=True, slots=True)
class Speed:
    """Verdicts in so many seconds by so many workers; `undecided` should be the number that hang."""

    verdicts: int
    seconds: float
    workers: int
    hang: int
    undecided: int
    misjudged: int

    @property
    def per_second(self) -> float:
        return self.verdicts / self.seconds


def measure(data: Path, rows: int = ROWS, workers: int = 2) -> Speed:
    """The speed on a mix of both sets."""
    gsm8k, math500 = (one.problems(data) for one in SETS if one.name in ("GSM8K", "MATH500"))
    asked = mixed(gsm8k, math500, rows)
    with (
        tempfile.TemporaryDirectory(prefix="starloop-verification-") as folder,
        VerifierPool(Path(folder), workers) as pool,
    ):
        list(pool.judge("math", [one for one, _ in asked[: 64 * workers]]))
        began = time.perf_counter()
        said = [one for _, (one,) in pool.judge("math", [one for one, _ in asked])]
        seconds = time.perf_counter() - began
    wrong = sum(one.passed is not right for one, (_, right) in zip(said, asked, strict=True))
    undecided = sum(one.passed is None for one in said)
    return Speed(len(asked), seconds, workers, sum(right is None for _, right in asked), undecided, wrong)


def mixed(gsm8k: list[Problem], math500: list[Problem], count: int) -> list[tuple[Row, bool | None]]:
    """Texts with what should be said of them: right, wrong, or nothing (None) for one that hangs."""

    def answers(problems: list[Problem], written: Callable[[Problem], str]) -> list[tuple[Row, bool | None]]:
        result: list[tuple[Row, bool | None]] = []
        for place in range(count // 2):
            problem = problems[place % len(problems)]
            other = problems[(7 * place + 1) % len(problems)] if place % 2 else problem
            result.append((row(problem, written(other)), other.gold == problem.gold))
        return result

    pairs = zip(answers(gsm8k, solution), answers(math500, boxed), strict=True)
    both = list(islice((one for pair in pairs for one in pair), count))
    root = next(one for one in math500 if "sqrt" in (one.gold or ""))
    for place in range(HANG_EVERY // 2, len(both), HANG_EVERY):
        both[place] = (row(root, HANGS), None)
    return both


def main() -> None:
    """Print it."""
    data = data_folder()
    if data is None:
        raise SystemExit("the public sets are not here; set STARLOOP_DATA_DIR")
    found = measure(data)
    print(
        f"math: {found.verdicts:,} verdicts in {found.seconds:.1f} s by {found.workers} workers = {found.per_second:,.0f} a second; "
        f"{found.hang} hang, {found.undecided} undecided, {found.misjudged} misjudged"
    )


if __name__ == "__main__":
    main()
