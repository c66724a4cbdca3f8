"""The one place where an attempt meets a verifier, and where everything that can go wrong becomes data."""

from storage.records import Attempt, Problem
from tasks.verifiers.protocol import Judgement, Verifier


def judge(verifier: Verifier, attempt: Attempt, problem: Problem) -> list[Judgement]:
    """The judgements on one attempt, at least one.

    Undecided, with the reason: an attempt that its engine could not finish, a problem without a gold answer where the
    verifier returns nothing, and a verifier that raises or returns something else than judgements. A text that was cut
    off is judged like any other: what it does not say, it did not answer.
    """
    if attempt.finish_reason == "failed":
        return [Judgement(None, reason=f"the attempt failed: {attempt.error or 'no cause given'}")]
    try:
        verdict = verifier.verify(attempt.text, problem)
    except Exception as cause:  # noqa: BLE001 - a verifier's crash is recorded as an undecided verdict
        return [Judgement(None, reason=f"the verifier crashed: {type(cause).__name__}: {cause}")]
    judgements = verdict if isinstance(verdict, list) else [verdict]
    if not judgements or not all(isinstance(one, Judgement) for one in judgements):
        return [Judgement(None, reason=f"the verifier returned {verdict!r:.200}, not a judgement")]
    return judgements
