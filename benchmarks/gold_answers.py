"""Every gold answer of the public sets against the verifier of its set, and against the golds of the three problems after it.

The sets lie where STARLOOP_DATA_DIR says, else in `../shared/data` beside the checkout; see `data_folder`.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage.identity import content_id
from storage.records import Attempt, Problem
from tasks.judgements import Means, Row, judgements
from tasks.verifiers.registry import load

ROOT = Path(__file__).resolve().parents[1]
OTHERS = 3


def data_folder() -> Path | None:
    """Where the public sets are; None where they are not here."""
    named = os.environ.get("STARLOOP_DATA_DIR")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class GoldProblem:
    """A problem with its own gold answer in the forms in which it must pass, and the form in which others must not."""

    problem: Problem
    own: tuple[str, ...]
    as_other: str


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A set: its files, how a row becomes a problem, and the verifiers that serve it."""

    name: str
    files: tuple[str, ...]
    verifiers: tuple[str, ...]
    read: Callable[[str, int, dict[str, object]], GoldProblem]

    def problems(self, data: Path) -> list[GoldProblem]:
        return [
            self.read(f"{file} row {number}", number, json.loads(line))
            for file in self.files
            for number, line in enumerate((data / file).read_text(encoding="utf-8").splitlines())
        ]


@dataclass(slots=True)
class Check:
    """What came of one verifier on one set. `exceptions` are sentences, one an outcome that should not be."""

    set_name: str
    verifier: str
    problems: int
    passed: int = 0
    forms: int = 0
    others: int = 0
    rejected: int = 0
    equal: int = 0
    exceptions: list[str] = field(default_factory=list)


def gsm8k(where: str, number: int, row: dict[str, object]) -> GoldProblem:
    """The gold answer is what stands after `####`; the own forms are it alone and the whole worked solution."""
    del number
    solution = re.sub(r"<<[^>]*>>", "", str(row["answer"]))
    gold = solution.rpartition("####")[2].strip()
    problem = Problem.of("gsm8k", where, str(row["question"]), gold)
    return GoldProblem(problem, (gold, solution, f"The answer is {gold}."), f"#### {gold}")


def math500(where: str, number: int, row: dict[str, object]) -> GoldProblem:
    del number
    gold = str(row["answer"])
    boxed = f"Therefore the answer is $\\boxed{{{gold}}}$."
    return GoldProblem(
        Problem.of("math500", where, str(row["content"]), gold), (gold, boxed, f"Answer: ${gold}$"), boxed
    )


def arc(where: str, number: int, row: dict[str, object]) -> GoldProblem:
    del number
    choices = row["choices"]
    assert isinstance(choices, dict)
    return _choice(
        "arc",
        where,
        str(row["question"]),
        dict(zip(choices["label"], choices["text"], strict=True)),
        str(row["answerKey"]),
    )


def commonsense_qa(where: str, number: int, row: dict[str, object]) -> GoldProblem:
    del number
    question = row["question"]
    assert isinstance(question, dict)
    options = {one["label"]: one["text"] for one in question["choices"]}
    return _choice("commonsense_qa", where, question["stem"], options, str(row["answerKey"]))


def _choice(source: str, where: str, question: str, options: dict[str, str], key: str) -> GoldProblem:
    problem = Problem.of(source, where, question, key, info={"choices": options})
    return GoldProblem(
        problem, (f"Answer: {key}", f"The answer is ({key}) {options[key]}", options[key]), f"Answer: {key}"
    )


SETS = (
    PublicSet("GSM8K", ("gsm8k/train.jsonl", "gsm8k/test.jsonl"), ("math", "numeric"), gsm8k),
    PublicSet("ARC-Challenge", ("arc_challenge/train.jsonl", "arc_challenge/validation.jsonl", "arc_challenge/test.jsonl"), ("choice",), arc),
    PublicSet("CommonsenseQA", ("commonsense_qa/train.jsonl", "commonsense_qa/validation.jsonl"), ("choice",), commonsense_qa),
    PublicSet("MATH500", ("math500/test.jsonl",), ("math",), math500),
)  # fmt: skip


def check(one: PublicSet, verifier: str, data: Path, means: Means) -> Check:
    """The verifier on every gold answer of a set, in each of its forms, and on those of the next three problems."""
    problems = one.problems(data)
    found = Check(one.name, verifier, len(problems))
    asked: list[tuple[GoldProblem, GoldProblem]] = []
    rows: list[Row] = []
    for place, gold in enumerate(problems):
        for text in gold.own:
            asked.append((gold, gold))
            rows.append(row(gold.problem, text))
        for step in range(1, OTHERS + 1):
            other = problems[(place + step) % len(problems)]
            asked.append((gold, other))
            rows.append(row(gold.problem, other.as_other))
    right: dict[str, bool] = {}
    for (gold, other), (attempt, said) in zip(asked, judgements(load(verifier), rows, means), strict=True):
        passed = said[0].passed
        where = gold.problem.split
        if other is gold:
            found.forms += 1
            right[where] = right.get(where, True) and passed is True
            if passed is not True:
                found.exceptions.append(
                    f"{where}: its own {gold.problem.gold!r} as {attempt.text[-60:]!r} is not passed: {said[0].reason}"
                )
            continue
        same = plain(gold.problem.gold) == plain(other.problem.gold)
        found.equal += same
        found.others += not same
        found.rejected += not same and passed is False
        if passed is not same:
            found.exceptions.append(
                f"{where}: {other.problem.gold!r} of {other.problem.split} is {'passed' if passed else 'not passed'} "
                f"where {gold.problem.gold!r} is right"
            )
    found.passed = sum(right.values())
    return found


def plain(gold: str | None) -> str:
    """A gold answer as two are compared by eye: spacing and thousands commas aside."""
    return re.sub(r"\\!|\s|(?<=\d),(?=\d{3})", "", gold or "").replace("\\dfrac", "\\frac")


def row(problem: Problem, text: str) -> Row:
    """A text as an attempt at a problem."""
    identity = content_id("gold", problem=problem.problem_id, text=text)
    return Attempt(
        identity, identity, problem.problem_id, identity, identity, "gold", "{}", 0, 0, text, "stop", 1, 1
    ), problem


def checks(data: Path, means: Means) -> Iterator[Check]:
    """Every set with every verifier that serves it."""
    for one in SETS:
        for verifier in one.verifiers:
            yield check(one, verifier, data, means)
