"""Memory that runs out makes batches smaller and loses nothing. The errors here are real: torch raises them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from storage.identity import digest
from tasks.engines.memory import ran_out
from tasks.engines.protocol import FAILED, Request, Response, Sampling
from tasks.engines.registry import open_engine
from tasks.engines.transformers import TransformersEngine

pytestmark = pytest.mark.slow

REQUESTS = [Request(digest("memory", number), f"{number * 7919 % 10**5:05d}+{number:05d}=") for number in range(40)]
SAMPLING = Sampling(1.0, 20)


def allocate_too_much() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def as_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@contextmanager
def failing(model: Any, when: Callable[[int, int], bool], fail: Callable[[], None]) -> Iterator[list[int]]:
    """The model's forward pass runs out of memory `when` it is so for (rows, tokens); gives the rows of all passes."""
    rows: list[int] = []

    def check(_: Any, __: Any, arguments: dict[str, Any]) -> None:
        shape = arguments["input_ids"].shape
        rows.append(shape[0])
        if when(shape[0], shape[1]):
            fail()

    hook = model.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield rows
    finally:
        hook.remove()


@pytest.fixture
def fresh(model_folder: Path) -> TransformersEngine:
    engine = open_engine("transformers", model_folder)
    assert isinstance(engine, TransformersEngine)
    return engine


def texts(responses: list[Response]) -> dict[str, str]:
    assert len(responses) == len({response.request_id for response in responses})
    return {response.request_id: response.text for response in responses}


@pytest.mark.parametrize("fail", [allocate_too_much, as_on_a_gpu])
def test_the_batch_is_halved_until_it_fits_and_stays_so(fresh: TransformersEngine, fail: Callable[[], None]):
    undisturbed = texts(list(fresh.generate(REQUESTS, SAMPLING)))
    with failing(fresh._model, lambda rows, _: rows > 7, fail) as rows:
        assert texts(list(fresh.generate(REQUESTS, SAMPLING))) == undisturbed
        assert [count for count in rows if count > 7] == [40, 20, 10]
        rows.clear()
        assert texts(list(fresh.generate(REQUESTS, SAMPLING))) == undisturbed
        assert max(rows) == 5


def test_running_out_half_way_keeps_what_is_finished(fresh: TransformersEngine):
    undisturbed = texts(list(fresh.generate(REQUESTS, SAMPLING)))
    count = 0

    def in_the_ninth_pass(_: int, __: int) -> bool:
        nonlocal count
        count += 1
        return count == 9

    with failing(fresh._model, in_the_ninth_pass, allocate_too_much) as rows:
        assert texts(list(fresh.generate(REQUESTS, SAMPLING))) == undisturbed
    assert rows[8] < 40  # some were finished
    assert sum(rows[9:][:1]) <= 20


def test_a_text_that_does_not_fit_alone_is_a_final_failure_and_the_others_are_written(fresh: TransformersEngine):
    long = [Request(digest("long", number), "1" * 50 + f"{number}") for number in range(3)]
    with failing(fresh._model, lambda _, tokens: tokens > 50, allocate_too_much):
        found = {response.request_id: response for response in fresh.generate([*REQUESTS, *long], SAMPLING)}
    assert len(found) == 43
    for request in long:
        response = found[request.request_id]
        assert (response.finish_reason, response.final) == (FAILED, True)
        assert "51 tokens" in str(response.error)
        assert "memory of cpu even alone" in str(response.error)
    assert not any(found[request.request_id].error for request in REQUESTS)


def test_running_out_over_the_prefix_fails_every_text_of_it_with_its_reason(fresh: TransformersEngine):
    asked = [Request(digest("family", number), "12345+67890=" * 4 + f"{number}=") for number in range(6)]

    def big(_: Any, __: Any, arguments: dict[str, Any]) -> None:
        if arguments["input_ids"].shape[1] > 30:
            allocate_too_much()

    hook = fresh._model.base_model.register_forward_pre_hook(big, with_kwargs=True)
    found = list(fresh.generate(asked, SAMPLING))
    hook.remove()
    assert [response.finish_reason for response in found] == [FAILED] * 6
    assert fresh._prefixes._kept == {}
    assert not any(response.error for response in fresh.generate(asked, SAMPLING))


def test_another_error_is_not_taken_for_it(fresh: TransformersEngine):
    def fail() -> None:
        torch.zeros(2) @ torch.zeros(3)

    with failing(fresh._model, lambda *_: True, fail), pytest.raises(RuntimeError, match="size"):
        list(fresh.generate(REQUESTS, SAMPLING))
    assert not ran_out(RuntimeError("DefaultAllocator"))
    assert ran_out(MemoryError())
