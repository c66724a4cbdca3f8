"""A scripted engine that adds and refines sums: which of them it gets right is told by the sum."""

from tasks.engines.protocol import Request, Sampling
from tasks.problems.scratchpad import work


def hopeless(question: str) -> bool:
    """Every candidate for it is wrong."""
    return total(question) % 3 == 0


def refinable(question: str) -> bool:
    """A refinement of its candidates is right."""
    return total(question) % 2 == 0


def total(question: str) -> int:
    return sum(map(int, question.split("+")))


def reply(request: Request, sampling: Sampling) -> str:
    """A worked sum; a wrong one has a wrong last digit. Of a sum that is not hopeless every other request is right."""
    del sampling
    shown, _, question = request.prompt.rstrip("=").rpartition("?")
    text = work(question)
    right = refinable(question) if shown else not hopeless(question) and int(request.request_id, 16) % 2
    return text if right else f"{text[:-1]}{(int(text[-1]) + 1) % 10}"
