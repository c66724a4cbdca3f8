"""The one place where an attempt meets a verifier, and where everything that can go wrong becomes data.

Not covered: a verifier that never returns, or that ends its process; one that may is judged in `tasks.verifier_pool`.
"""

import math
from numbers import Real
from typing import Any

from storage.records import Attempt, Problem
from tasks.verifiers.protocol import Judgement, Verifier

SHOWN = 200
"""Longest piece of a verifier's mistake that a reason quotes, in characters."""

OUT_OF_MEMORY = "the verifier ran out of memory"


def judge(verifier: Verifier, attempt: Attempt, problem: Problem) -> list[Judgement]:
    """The judgements on one attempt, at least one.

    Undecided, with the reason: an attempt that its engine could not finish, a problem without a gold answer where the
    verifier returns nothing, and a verifier that raises or returns something else than sound judgements, one an aspect.
    A text that was cut off is judged like any other: what it does not say, it did not answer.
    """
    if attempt.finish_reason == "failed":
        return [Judgement(None, reason=f"the attempt failed: {attempt.error or 'no cause given'}")]
    try:
        verdict: Any = verifier.verify(attempt.text, problem)
    except MemoryError:
        return [Judgement(None, reason=OUT_OF_MEMORY)]
    except (Exception, SystemExit) as cause:  # noqa: BLE001 - a verifier's crash is recorded as an undecided verdict
        return [Judgement(None, reason=f"the verifier crashed: {type(cause).__name__}: {_text(cause, str)}")]
    found: list[Any] = verdict if isinstance(verdict, list) else [verdict]
    if not found or not all(isinstance(one, Judgement) for one in found):
        return [Judgement(None, reason=f"the verifier returned {_text(verdict)}, not a judgement")]
    judgements = [sound(one) for one in found]
    if len({one.aspect for one in judgements}) < len(judgements):
        return [Judgement(None, reason="the verifier judged one aspect twice; give each an aspect of its own")]
    return judgements


def sound(judgement: Judgement) -> Judgement:
    """The judgement as it can be stored, numpy's values as Python's; undecided, with the reason, where a field is something else."""
    passed, score, aspect = _native(judgement.passed), _native(judgement.score), judgement.aspect
    if not isinstance(aspect, str):
        return Judgement(None, reason=f"the verifier's aspect is {_text(aspect)}, not a text")
    aspect = _storable(aspect)
    for name in ("answer", "reason"):
        if not isinstance(getattr(judgement, name), str | None):
            said = _text(getattr(judgement, name))
            return Judgement(None, reason=f"the verifier's {name} is {said}, not a text or None", aspect=aspect)
    answer = None if judgement.answer is None else _storable(judgement.answer)
    if not isinstance(passed, bool | None):
        reason = f"the verifier's passed is {_text(passed)}, not True, False or None"
        return Judgement(None, answer, reason=reason, aspect=aspect)
    if score is not None and not (isinstance(score, Real) and not isinstance(score, bool) and _finite(score)):
        reason = f"the verifier's score is {_text(score)}, not a finite number or None"
        return Judgement(None, answer, reason=reason, aspect=aspect)
    reason = None if judgement.reason is None else _storable(judgement.reason)
    return Judgement(passed, answer, None if score is None else float(score), reason, aspect)


def _native(value: Any) -> Any:
    """A numpy scalar as the Python value that it is."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


def _finite(number: Real) -> bool:
    try:
        return math.isfinite(float(number))
    except (OverflowError, ValueError):
        return False


def _text(value: object, how: Any = repr) -> str:
    """A value as a reason quotes it; also one that cannot say what it is."""
    try:
        return _storable(how(value))[:SHOWN]
    except Exception:  # noqa: BLE001 - a `__repr__` of somebody else's
        return f"a {type(value).__name__}"


def _storable(text: str) -> str:
    """Text that UTF-8 can hold: halves of characters are named."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
