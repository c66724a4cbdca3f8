r"""Competition mathematics (Hendrycks et al. 2021): `math500`, the 500 problems that Lightman et al. (2023) test on, and `math500:train`.

    Problem(source='math500', split='test', question='Convert the point $(0,3)$ in rectangular coordinates to polar …',
            gold='\left( 3, \frac{\pi}{2} \right)', stratum='')

`math500` alone has a test split and nothing else: it is for evaluating. `math500:train` adds MATH's own 7,500 train problems, none of
which is among the 500; every fifteenth of them is dev. Their gold answer is what stands in the last `\boxed{…}` of the solution.
"""

from collections.abc import Sequence
from pathlib import Path

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.listed import ListedProblems, Read
from tasks.problems.source import Numbered, Source, file_of, options_of, rows, text

LICENCE = "MIT"
EVERY = 15
SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra", "precalculus",
)  # fmt: skip
BOXED = r"\boxed{"


def load(options: str) -> ListedProblems:
    """The test problems, and with `train` those to train on."""
    trains, data = _chosen(options)
    test = Source("math500", "HuggingFaceH4/MATH-500", None, None, data)
    read: dict[str, Read] = {"test": lambda: [_problem("test", one) for one in rows(test, "test")]}
    if trains:
        read["train"] = lambda: [problem for place, problem in enumerate(_training(data)) if place % EVERY]
        read["dev"] = lambda: [_held_out(problem) for problem in _training(data)[::EVERY]]
    return ListedProblems("math500", LICENCE, "math", "math", read)


def files(options: str) -> Sequence[Path]:
    """The files that it is read from, if it is read from files."""
    trains, data = _chosen(options)
    wanted = [("math500", "test"), *([("math", "train")] if trains else [])]
    return [path for folder, split in wanted if (path := file_of(Source(folder, "", None, None, data), split))]


def boxed(solution: str) -> str | None:
    r"""What stands in the last `\boxed{…}`, its braces matched; None if there is none, or it does not close."""
    start = solution.rfind(BOXED)
    if start < 0:
        return None
    depth, begin = 1, start + len(BOXED)
    for place in range(begin, len(solution)):
        depth += (solution[place] == "{") - (solution[place] == "}")
        if depth == 0:
            return solution[begin:place].strip() or None
    return None


def _chosen(options: str) -> tuple[bool, str | None]:
    first, _, rest = options.partition(",")
    trains = first == "train"
    return trains, options_of("math500", rest if trains else options, {})["data"] or None


def _training(data: str | None) -> list[Problem]:
    one_file = Source("math", "EleutherAI/hendrycks_math", None, None, data)
    if file_of(one_file, "train") is not None:
        return [_problem("train", one) for one in rows(one_file, "train")]
    sources = [Source("math", "EleutherAI/hendrycks_math", subject, None, data) for subject in SUBJECTS]
    return [_problem("train", one) for source in sources for one in rows(source, "train")]


def _problem(split: str, numbered: Numbered) -> Problem:
    """A row as the hub has it (`problem`), or with the question under `content`."""
    question = text(numbered, "problem" if "problem" in numbered.row else "content").strip()
    solution = numbered.row.get("solution")
    gold = numbered.row.get("answer") or (boxed(solution) if isinstance(solution, str) else None)
    if not isinstance(gold, str):
        raise UserMistake(
            f"{numbered.where} has no answer: give it under 'answer', or in a \\boxed{{…}} of its solution"
        )
    stratum = str(numbered.row.get("level") or "")
    return Problem.of(
        "math500", split, question, gold, rationale=solution if split == "train" and isinstance(solution, str) else None,
        stratum=f"level {stratum}" if stratum.isdigit() else stratum, licence=LICENCE,
    )  # fmt: skip


def _held_out(problem: Problem) -> Problem:
    return Problem.of(problem.source, "dev", problem.question, problem.gold, stratum=problem.stratum, licence=LICENCE)
