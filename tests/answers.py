"""A scripted engine that adds, with slips: for flows in which what is generated matters less than what depends on it."""

from tasks.engines.protocol import Request, Sampling
from tasks.engines.uniforms import keys_of, uniforms
from tasks.problems.scratchpad import work

ABILITY = 0.15
"""The share of answers that are right; which ones they are, the request decides."""


def slipping(request: Request, sampling: Sampling) -> str:
    """The worked sum under a first digit of the request's own choice, with a wrong last digit where the request says so."""
    del sampling
    return adding(request, ABILITY)


def half(request: Request, sampling: Sampling) -> str:
    """The same, right every other time."""
    del sampling
    return adding(request, 0.5)


def always(request: Request, sampling: Sampling) -> str:
    """The same, always right."""
    del sampling
    return adding(request, 1)


def never(request: Request, sampling: Sampling) -> str:
    """The same, never right."""
    del sampling
    return adding(request, 0)


def adding(request: Request, ability: float) -> str:
    """A worked sum that is right in this share of requests."""
    text = work(request.prompt.rpartition("?")[2].rstrip("="))
    right, first = uniforms(keys_of([request.request_id]), 0, 2)[0]
    last = text[-1] if right < ability else str((int(text[-1]) + 1) % 10)
    return f"{int(10 * first)}{text[1:-1]}{last}"
