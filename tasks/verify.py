"""Verify: one verdict for every attempt of a cell and every aspect that the verifier judges."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage.identity import digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Problem, Verdict
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED
from tasks.ingredients import verifier_code, verifier_digest
from tasks.judgements import judgements
from tasks.runtime import Runtime
from tasks.verifiers.registry import load


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Verdicts as an argument that counts by what came out and not by who judged: a verifier that was refactored without
    changing an outcome redoes nothing that reads them so. `digest` is the one that `verify` states.
    """

    verdicts: Manifest
    digest: str

    def canonical(self) -> object:
        """What of it enters a key."""
        return {"outcomes": self.digest}


@cached_task("verify", verifier=verifier_code)
def verify(problems: Manifest, attempts: Manifest, verifier: str, runtime: Runtime) -> Output:
    """Verdicts in the attempts' order; one that could not be reached (a hang, a crash) is undecided, never a failure."""
    problem_of = {problem.problem_id: problem for problem in runtime.shards.iterate(problems, Problem)}
    judged_by = load(verifier)
    code = verifier_digest(verifier)
    counts: Counter[str] = Counter()
    reached: dict[str, bool | None] = {}

    def judged() -> Iterator[Verdict]:
        rows = ((attempt, problem_of[attempt.problem_id]) for attempt in runtime.shards.iterate(attempts, Attempt))
        for attempt, said in judgements(judged_by, rows, runtime.judging):
            passed = reached[attempt.attempt_id] = conjunction([one.passed for one in said])
            counts[_became(attempt, passed)] += 1
            for one in said:
                yield Verdict.of(
                    attempt.attempt_id,
                    verifier,
                    code,
                    one.passed,
                    aspect=one.aspect,
                    score=one.score,
                    answer=one.answer,
                    reason=one.reason,
                )

    verdicts = runtime.shards.write("verdict", judged())
    accounting = Accounting(attempts.rows, counts["ok"], counts["rejected"], counts["undecided"], counts[FAILED])
    return Output({"verdicts": verdicts}, accounting, {"outcomes": digest([list(one) for one in reached.items()])})


def _became(attempt: Attempt, passed: bool | None) -> str:
    """The accounting's word for it."""
    if attempt.finish_reason == FAILED:
        return FAILED
    return {True: "ok", False: "rejected", None: "undecided"}[passed]


def conjunction(outcomes: list[bool | None]) -> bool | None:
    """All of several aspects: a wrong one decides, else an undecided one leaves it open."""
    if False in outcomes:
        return False
    return None if None in outcomes or not outcomes else True


def outcomes(verdicts: Iterable[Verdict]) -> dict[str, tuple[bool | None, str]]:
    """By attempt id: whether it passed in every aspect, and the verdict that says so (the first that decides it)."""
    by_attempt: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_attempt.setdefault(verdict.attempt_id, []).append(verdict)
    result: dict[str, tuple[bool | None, str]] = {}
    for attempt_id, rows in by_attempt.items():
        passed = conjunction([row.passed for row in rows])
        deciding = next((row for row in rows if row.passed is passed), rows[0])
        result[attempt_id] = (passed, deciding.verdict_id)
    return result
