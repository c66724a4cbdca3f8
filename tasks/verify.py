"""Verify: one verdict for every attempt of a cell and every aspect that the verifier judges."""

from dataclasses import dataclass

from storage.identity import digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Problem, Verdict
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED
from tasks.ingredients import verifier_code
from tasks.runtime import Runtime
from tasks.verifiers.judging import judge
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
    """Verdicts in the attempts' order; one that could not be reached is undecided, never a failure."""
    problem_of = {problem.problem_id: problem for problem in runtime.shards.read(problems, Problem)}
    judged_by = load(verifier)
    code = digest(verifier_code(verifier))
    verdicts: list[Verdict] = []
    counts = {True: 0, False: 0, None: 0, FAILED: 0}
    rows = runtime.shards.read(attempts, Attempt)
    for attempt in rows:
        judgements = judge(judged_by, attempt, problem_of[attempt.problem_id])
        verdicts += [
            Verdict.of(
                attempt.attempt_id,
                verifier,
                code,
                one.passed,
                aspect=one.aspect,
                score=one.score,
                answer=one.answer,
                reason=one.reason,
            )
            for one in judgements
        ]
        counts[FAILED if attempt.finish_reason == FAILED else conjunction([one.passed for one in judgements])] += 1
    return Output(
        {"verdicts": runtime.shards.write("verdict", verdicts)},
        Accounting(len(rows), ok=counts[True], rejected=counts[False], undecided=counts[None], failed=counts[FAILED]),
        {"outcomes": digest([[attempt_id, passed] for attempt_id, (passed, _) in outcomes(verdicts).items()])},
    )


def conjunction(outcomes: list[bool | None]) -> bool | None:
    """All of several aspects: a wrong one decides, else an undecided one leaves it open."""
    if False in outcomes:
        return False
    return None if None in outcomes or not outcomes else True


def outcomes(verdicts: list[Verdict]) -> dict[str, tuple[bool | None, str]]:
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
