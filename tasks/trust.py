"""Trust: what a verifier accepts and rejects by mistake, on cases that a person labelled."""

from dataclasses import dataclass

from storage.identity import digest
from storage.manifest import Accounting, Output
from storage.records import Attempt, Problem
from tasks.caching import cached_task
from tasks.ingredients import verifier_code
from tasks.judgements import judgements
from tasks.runtime import Runtime
from tasks.verifiers.combined import conjunction
from tasks.verifiers.registry import load


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """An attempt, the problem it answers, and whether a person calls it right."""

    attempt: Attempt
    problem: Problem
    right: bool


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled cases as an argument, which counts by their content."""

    cases: tuple[LabelledCase, ...]

    def canonical(self) -> object:
        """What of it enters a key."""
        return {"cases": digest([[one.attempt.attempt_id, one.right] for one in self.cases])}


@cached_task("trust", verifier=verifier_code)
def trust(labelled: Labelled, verifier: str, runtime: Runtime) -> Output:
    """How many of the wrong cases the verifier passes, and how many of the right ones it fails; undecided ones are neither."""
    rows = [(one.attempt, one.problem) for one in labelled.cases]
    said = [conjunction(judged).passed for _, judged in judgements(load(verifier), rows, runtime.judging)]
    right = [passed for passed, one in zip(said, labelled.cases, strict=True) if one.right]
    wrong = [passed for passed, one in zip(said, labelled.cases, strict=True) if not one.right]
    undecided = sum(passed is None for passed in said)
    facts: dict[str, object] = {
        "false_accepts": sum(passed is True for passed in wrong),
        "wrong_cases": len(wrong),
        "false_rejects": sum(passed is False for passed in right),
        "right_cases": len(right),
        "undecided": undecided,
    }
    return Output({}, Accounting(len(said), ok=len(said) - undecided, undecided=undecided), facts)
