"""Every gold answer of the public sets against the verifier of its set, and against the golds of the three problems after it.

The sets are read by their own loaders, from where STARLOOP_DATA_DIR says, else from `../shared/data` beside the checkout.
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
from tasks.problems.registry import load as load_problems
from tasks.prompts.render import completion
from tasks.verifiers.registry import load

ROOT = Path(__file__).resolve().parents[1]
OTHERS = 3
MOST = 20_000


def data_folder() -> Path | None:
    """Where the public sets are; None where they are not here."""
    named = os.environ.get("STARLOOP_DATA_DIR")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A set: its ref, the verifiers that serve it, the forms in which its own gold must pass, and the one in which others' must not."""

    name: str
    ref: str
    verifiers: tuple[str, ...]
    own: Callable[[Problem], tuple[str, ...]]
    as_other: Callable[[Problem], str]

    def problems(self, data: Path) -> list[Problem]:
        """All of its problems, split by split."""
        found = load_problems(f"{self.ref}{',' if ':' in self.ref else ':'}data={data}")
        return [problem for split in ("train", "dev", "test") for problem in found.take(split, 0, MOST)]

    def forms(self, problem: Problem) -> tuple[str, ...]:
        """Its own forms, and what its template makes of the bare gold and of the worked solution, if there is one."""
        template = load_problems(self.ref).template
        worked = (completion(template, problem),) if problem.rationale else ()
        return *self.own(problem), completion(template, problem, rationale=False), *worked


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


def solution(problem: Problem) -> str:
    """A worked solution as GSM8K writes it, with the number after `####`; the number alone where the set keeps no solution."""
    return f"{problem.rationale or ''}\n#### {problem.gold}".strip()


def number(problem: Problem) -> tuple[str, ...]:
    grouped = f"{int(problem.gold):,}" if problem.gold and problem.gold.isdigit() else str(problem.gold)
    return grouped, solution(problem), f"The answer is {problem.gold}."


def boxed(problem: Problem) -> str:
    return f"Therefore the answer is $\\boxed{{{problem.gold}}}$."


def formula(problem: Problem) -> tuple[str, ...]:
    return str(problem.gold), boxed(problem), f"Answer: ${problem.gold}$"


def letter(problem: Problem) -> str:
    return f"Answer: {problem.gold}"


def option(problem: Problem) -> tuple[str, ...]:
    text = json.loads(problem.info)["choices"][problem.gold]
    return letter(problem), f"The answer is ({problem.gold}) {text}", text


SETS = (
    PublicSet("GSM8K", "gsm8k", ("math", "numeric"), number, lambda problem: f"#### {problem.gold}"),
    PublicSet("ARC-Challenge", "arc:challenge", ("choice",), option, letter),
    PublicSet("CommonsenseQA", "commonsense_qa", ("choice",), option, letter),
    PublicSet("MATH500", "math500", ("math",), formula, boxed),
)


def check(one: PublicSet, verifier: str, data: Path, means: Means) -> Check:
    """The verifier on every gold answer of a set, in each of its forms, and on those of the next three problems."""
    problems = one.problems(data)
    found = Check(one.name, verifier, len(problems))
    asked: list[tuple[int, Problem, Problem]] = []
    rows: list[Row] = []
    for place, problem in enumerate(problems):
        for text in one.forms(problem):
            asked.append((place, problem, problem))
            rows.append(row(problem, text))
        for step in range(1, OTHERS + 1):
            other = problems[(place + step) % len(problems)]
            asked.append((place, problem, other))
            rows.append(row(problem, one.as_other(other)))
    wrong: set[int] = set()
    for (place, problem, other), (attempt, said) in zip(asked, judgements(load(verifier), rows, means), strict=True):
        passed = said[0].passed
        where = f"{problem.split} {problem.problem_id[:8]}"
        if other is problem:
            found.forms += 1
            if passed is not True:
                wrong.add(place)
                found.exceptions.append(
                    f"{where}: its own {problem.gold!r} as {attempt.text[-60:]!r} is not passed: {said[0].reason}"
                )
            continue
        same = plain(problem.gold) == plain(other.gold)
        found.equal += same
        found.others += not same
        found.rejected += not same and passed is False
        if passed is not same:
            found.exceptions.append(
                f"{where}: {other.gold!r} of {other.split} {other.problem_id[:8]} is {'passed' if passed else 'not passed'} "
                f"where {problem.gold!r} is right"
            )
    found.passed = len(problems) - len(wrong)
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
