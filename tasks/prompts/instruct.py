"""What Self-Instruct asks a model, and how its answers are read: instructions, whether one is a classification, instances.

    >>> instructions_in("Name three fruits.\\n10. Write a haiku about rain.")
    ['Name three fruits.', 'Write a haiku about rain.']

The texts are files of the template set `self_instruct` (propose, classify, input_first, output_first, train_1 …), or of a user's own
set that has the same. Reading follows the released code, but for one thing: it lower-cases all of an instruction after its first
letter, and here names stay as they are.
"""

import re
from collections.abc import Sequence

from storage.errors import UserMistake
from storage.records import Prompt
from tasks.prompts.chat import Chat, in_chat
from tasks.prompts.render import fill, forms_in

PROPOSE, CLASSIFY, INPUT_FIRST, OUTPUT_FIRST = "propose", "classify", "input_first", "output_first"
TRAINED = ("train_1", "train_2", "train_3", "train_4", "train_5", "train_6")
"""The forms of a training prompt, one of which is drawn for each example."""
LABEL = "Class label:"

_NUMBER = re.compile(r"(?:^|\n)\s*\d+\s?\.(?=\s|$)")
_EXAMPLE = re.compile(r"^\s*Example\s?\d*\s*[.:]?[ \t]*$", re.MULTILINE)
_OUTPUT = re.compile(r"Output\s*\d*\s*:")
_INPUT = re.compile(r"Input\s*\d*\s*:")


def check_template(template: str) -> None:
    """Raises UserMistake unless a template set has all that is asked and trained here."""
    wanted = (PROPOSE, CLASSIFY, INPUT_FIRST, OUTPUT_FIRST, *TRAINED)
    if lacking := [form for form in wanted if form not in forms_in(template)]:
        raise UserMistake(
            f"template set {template!r} has no {lacking[0]}.jinja; Self-Instruct needs: {', '.join(wanted)} (those of "
            "self_instruct are a start)"
        )


def proposal(template: str, examples: Sequence[str], chat: Chat | None) -> Prompt:
    """The prompt that asks for more instructions after these."""
    shown = [" ".join(one.split()).rstrip(":") for one in examples]
    return in_chat(chat, fill(template, PROPOSE, {"instructions": shown}))


def classification(template: str, instruction: str, chat: Chat | None) -> Prompt:
    """The prompt that asks whether an instruction has finitely many outputs."""
    return in_chat(chat, fill(template, CLASSIFY, {"instruction": instruction}))


def request(template: str, instruction: str, classified: bool, chat: Chat | None) -> Prompt:
    """The prompt that asks for instances: of a classification label first, so that labels are varied; of others input first."""
    return in_chat(chat, fill(template, OUTPUT_FIRST if classified else INPUT_FIRST, {"instruction": instruction}))


def trained(template: str, form: str, instruction: str, given: str, chat: Chat | None) -> str:
    """A training prompt in one of the forms; `given` is the instance's input, empty where it has none."""
    return in_chat(chat, fill(template, form, {"instruction": instruction, "input": given})).text


def instructions_in(text: str) -> list[str]:
    """The instructions of a numbered list that went on in this text, each on one line."""
    found = (" ".join(part.split()) for part in _NUMBER.split(text))
    return [one[0].upper() + one[1:] for one in found if one]


def is_classification(text: str) -> bool:
    """Whether the answer to the classification test is yes."""
    return text.strip().lower().startswith("yes")


def instances_in(text: str, classified: bool) -> list[tuple[str, str]]:
    """The instances of an answer as (input, output), in order, faulty ones included; none where the answer has not the form."""
    return _labelled(text) if classified else _exemplified(text)


def _exemplified(text: str) -> list[tuple[str, str]]:
    if _EXAMPLE.search(text):
        return [_pair(part) for part in _EXAMPLE.split(text) if part.strip()]
    return [_pair(text)] if _OUTPUT.search(text) else []


def _pair(text: str) -> tuple[str, str]:
    """An instance without `Output:` is an output; what a second `Input:` begins belongs to no instance."""
    before, mark, after = _split(_OUTPUT, text)
    given, output = (before, after) if mark else ("", text)
    output = _OUTPUT.split(output)[0]
    output = _INPUT.split(output)[0]
    return _INPUT.sub("", given.strip(), count=1).strip(), output.strip()


def _labelled(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for part in text.split(LABEL)[1:]:
        label, _, given = part.strip().partition("\n")
        found.append((given.strip(), label.strip()))
    return found


def _split(mark: re.Pattern[str], text: str) -> tuple[str, bool, str]:
    found = mark.search(text)
    return (text[: found.start()], True, text[found.end() :]) if found else (text, False, "")
