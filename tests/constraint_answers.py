"""A scripted engine whose sums are right, wrong, or right through a wrong step, by their numbers; and that thinks well of itself."""

from tasks.engines.protocol import Request, Sampling
from tasks.problems.scratchpad import work

FATES = ("sound", "unsound", "wrong")


def fate(question: str) -> str:
    """What becomes of a sum that is asked without a hint."""
    return FATES[sum(map(int, question.replace("+", ""))) % 3]


def unsound(question: str) -> str:
    """The right answer after a first column whose sum is one off."""
    text = work(question)
    return f"{text[:3]}{(int(text[3]) + 1) % 10}{text[4:]}"


def wrong(question: str) -> str:
    """Right steps, and an answer that is one off."""
    text = work(question)
    return f"{text[:-1]}{(int(text[-1]) + 1) % 10}"


def reply(request: Request, sampling: Sampling) -> str:
    """A hint makes the unsound ones sound and the wrong ones unsound. Asked about a constraint it says yes, and of a form nothing."""
    del sampling
    if request.prompt.startswith("Does a response"):
        return (
            "that is hard to say" if "it has the right form" in request.prompt.rpartition("Instruction:")[2] else "(A)"
        )
    hint, _, question = request.prompt.rstrip("=").rpartition("?")
    match fate(question), bool(hint):
        case ("sound", _) | ("unsound", True):
            return work(question)
        case ("unsound", _) | ("wrong", True):
            return unsound(question)
        case _:
            return wrong(question)
