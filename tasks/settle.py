"""Settle: the gold answer of a proposed problem by majority, where no program knows it.

    info={"gold": "majority", "votes": 8, "agreeing": 6}

Votes are ordinary attempts. Two answers are the same where the set's verifier passes the one with the other as gold. An answer
needs `least_share` of all votes (those without an answer count as well) and more than any other has. That is agreement, not
truth: a model that makes one mistake every time outvotes itself.
"""

from collections import Counter
from dataclasses import dataclass, replace

from storage.identity import canonical_json
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Problem
from tasks.caching import cached_task
from tasks.ingredients import verifier_code
from tasks.judgements import judgements
from tasks.propose import STRATUM, in_cells
from tasks.runtime import Runtime
from tasks.verifiers.protocol import Verifier
from tasks.verifiers.registry import load

PLACEHOLDER = "0"
"""A gold answer for a verifier that is only asked what a text says."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What an attempt answers, by the verifier's reading."""

    attempt: Attempt
    answer: str


@dataclass(frozen=True, slots=True)
class Election:
    """What the votes came to: the answer of the largest group, and how many were for it and for the next."""

    answer: str
    first: int
    second: int

    def decides(self, votes: int, least_share: float) -> bool:
        return self.first > self.second and self.first >= least_share * votes


@cached_task("settle gold answers", verifier=verifier_code)
def settle(
    problems: Manifest, attempts: Manifest, verifier: str, least_share: float, cell_rows: int, runtime: Runtime
) -> Output:
    """The problems that enough votes agree on, with that answer as gold."""
    judged_by = load(verifier)
    rows = {one.problem_id: one for one in runtime.shards.iterate(problems, Problem)}
    cast: dict[str, list[Attempt]] = {}
    for attempt in runtime.shards.iterate(attempts, Attempt):
        cast.setdefault(attempt.problem_id, []).append(attempt)
    votes = _votes(cast, rows, judged_by, runtime)
    same = _agreement(votes, rows, judged_by, runtime)
    settled: list[Problem] = []
    for problem_id, problem in rows.items():
        election = elected([vote.answer for vote in votes[problem_id]], same[problem_id])
        count = len(cast[problem_id])
        if election and election.decides(count, least_share):
            info: dict[str, object] = {"gold": "majority", "votes": count, "agreeing": election.first}
            settled.append(
                Problem.of(
                    problem.source, problem.split, problem.question, election.answer, info=info, stratum=STRATUM,
                    source_attempt_id=problem.source_attempt_id,
                )
            )  # fmt: skip
    return Output(
        {"problems": in_cells(settled, cell_rows, runtime)},
        Accounting(len(rows), ok=len(settled), rejected=len(rows) - len(settled)),
        {"info": canonical_json({"votes": attempts.rows})},
    )


def elected(answers: list[str], same: dict[str, str]) -> Election | None:
    """The largest group of equal answers under its most common wording; `same` maps an answer to the first one it equals.

    >>> elected(["7", "7.0", "8"], {"7.0": "7"})
    Election(answer='7', first=2, second=1)
    """
    if not answers:
        return None
    groups = Counter(same.get(answer, answer) for answer in answers).most_common(2)
    name, first = groups[0]
    wording = Counter(answer for answer in answers if same.get(answer, answer) == name).most_common(1)[0][0]
    return Election(wording, first, groups[1][1] if len(groups) > 1 else 0)


def _votes(
    cast: dict[str, list[Attempt]], rows: dict[str, Problem], judged_by: Verifier, runtime: Runtime
) -> dict[str, list[Vote]]:
    pairs = [
        (attempt, replace(rows[problem_id], gold=PLACEHOLDER)) for problem_id, ones in cast.items() for attempt in ones
    ]
    votes: dict[str, list[Vote]] = {problem_id: [] for problem_id in rows}
    for attempt, said in judgements(judged_by, pairs, runtime.judging):
        answer = next((one.answer for one in said if one.answer), None)
        if answer is not None:
            votes[attempt.problem_id].append(Vote(attempt, answer))
    return votes


def _agreement(
    votes: dict[str, list[Vote]], rows: dict[str, Problem], judged_by: Verifier, runtime: Runtime
) -> dict[str, dict[str, str]]:
    """By problem: each answer that the verifier takes for an earlier one, with the first such."""
    asked: list[tuple[str, str, str]] = []
    pairs: list[tuple[Attempt, Problem]] = []
    for problem_id, ones in votes.items():
        distinct = {vote.answer: vote.attempt for vote in reversed(ones)}
        names = list(dict.fromkeys(vote.answer for vote in ones))
        for place, later in enumerate(names):
            for earlier in names[:place]:
                asked.append((problem_id, later, earlier))
                pairs.append((distinct[later], replace(rows[problem_id], gold=earlier)))
    same: dict[str, dict[str, str]] = {problem_id: {} for problem_id in rows}
    outcomes = judgements(judged_by, pairs, runtime.judging) if pairs else iter(())
    for (problem_id, later, earlier), (_, said) in zip(asked, outcomes, strict=True):
        if all(one.passed for one in said):
            known = same[problem_id]
            known.setdefault(later, known.get(earlier, earlier))
    return same
