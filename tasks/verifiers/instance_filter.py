"""Which instances of an instruction Self-Instruct keeps (its released code; section 2.2 of the paper).

    >>> judged([Instance("2 + 2", "4"), Instance("", "")])
    [None, Refusal(filter='empty output', reason='there is nothing to learn')]

Not covered: whether an output is right. Of the paper's own sample 54 % were right in every field, and nothing here finds the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.verifiers.instruction_filter import TRUNCATED, Refusal

SAME, NO_OUTPUT, COLON = "output is the input", "empty output", "ends with a colon"
CONTRADICTION, DUPLICATE, UNREADABLE, SURPLUS = "contradiction", "duplicate", "no instance", "over the limit"


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instruction is applied to (nothing, for one that needs nothing), and what came out."""

    input: str
    output: str


def judged(instances: Sequence[Instance], truncated: bool = False) -> list[Refusal | None]:
    """For each instance of one instruction what refuses it, None for those that are kept.

    `truncated`: the text was cut off, so its last instance is not whole. Those that contradict each other (the same input, another
    output) take all of their instruction's with them; before that, what another filter refuses is left out of the comparison.
    """
    said = [_refusal(one) for one in instances]
    if truncated and instances:
        said[-1] = Refusal(TRUNCATED, "the text was cut off at max_tokens within it")
    left = [one for one, refused in zip(instances, said, strict=True) if refused is None]
    outputs: dict[str, set[str]] = {}
    for one in left:
        if one.input:
            outputs.setdefault(one.input, set()).add(one.output)
    torn = next((text for text, given in outputs.items() if len(given) > 1), None)
    seen: set[Instance] = set()
    for place, one in enumerate(instances):
        if said[place] is not None:
            continue
        if torn is not None:
            said[place] = Refusal(
                CONTRADICTION, f"the input {torn!r:.80} has different outputs, so none of this task is kept"
            )
        elif one in seen:
            said[place] = Refusal(DUPLICATE, "the same instance stands before it")
        seen.add(one)
    return said


def _refusal(one: Instance) -> Refusal | None:
    if one.input == one.output and one.output:
        return Refusal(SAME, "an echo teaches nothing")
    if not one.output:
        return Refusal(NO_OUTPUT, "there is nothing to learn")
    if one.input.endswith(":") or one.output.endswith(":"):
        which = "input" if one.input.endswith(":") else "output"
        return Refusal(COLON, f"the {which} stops where something should come")
    return None
