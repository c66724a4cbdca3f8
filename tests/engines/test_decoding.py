"""Our decoding loop against `generate`, and against itself in other batches."""

import random
from typing import Any

import pytest
import torch

from storage.identity import digest
from tasks.engines.decoding import Decoding, Writing, Written, decode
from tasks.engines.protocol import LENGTH, STOP, Request, Response, Sampling
from tasks.engines.registry import open_engine
from tasks.engines.transformers import TransformersEngine

pytestmark = pytest.mark.slow


def prompts_of(count: int) -> list[str]:
    draw = random.Random(5)
    return [
        f"{draw.randrange(10**6):06d}?" * (number % 3) + f"{draw.randrange(10**5):05d}+{draw.randrange(10**5):05d}="
        for number in range(count)
    ]


REQUESTS = [Request(digest("request", number), prompt) for number, prompt in enumerate(prompts_of(200))]


def answers(engine: TransformersEngine, requests: list[Request], sampling: Sampling) -> dict[str, Response]:
    return {response.request_id: response for response in engine.generate(requests, sampling)}


def generated(model: Any, prompt: list[int], sampling: Sampling, end: int) -> list[int]:
    ids = torch.tensor([prompt])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=sampling.max_tokens, eos_token_id=end,
        pad_token_id=0,
    )  # fmt: skip
    return output[0, len(prompt) :].tolist()


def test_greedy_equals_generate_token_by_token(engine: TransformersEngine):
    sampling = Sampling(0, 40)
    ours = answers(engine, REQUESTS[:40], sampling)
    for request in REQUESTS[:40]:
        prompt = engine._tokenizer.encode(request.prompt)
        theirs = generated(engine._model, prompt, sampling, engine.end_tokens[0])
        assert ours[request.request_id].tokens == len(theirs)
        body = theirs[:-1] if theirs[-1] in engine.end_tokens else theirs
        assert ours[request.request_id].text == engine._tokenizer.decode(body)


@pytest.mark.parametrize("sampling", [Sampling(1.0, 40), Sampling(0.7, 70, top_p=0.9, top_k=8)])
def test_a_text_does_not_depend_on_its_batch(engine: TransformersEngine, sampling: Sampling):
    first = answers(engine, REQUESTS, sampling)
    assert len({response.tokens for response in first.values()}) > 5
    shuffle = random.Random(1)
    same = total = 0
    for size in (200, 200, 200, 200, 151, 64, 64, 64, 37, 19):
        order = shuffle.sample(REQUESTS, len(REQUESTS))
        for start in range(0, len(order), size):
            for request_id, response in answers(engine, order[start : start + size], sampling).items():
                same += response.text == first[request_id].text
                total += 1
    assert total == 2000
    assert same >= 0.999 * total


def test_another_request_id_writes_another_text(engine: TransformersEngine):
    requests = [Request(digest("again", number), REQUESTS[0].prompt) for number in range(50)]
    assert len({response.text for response in answers(engine, requests, Sampling(1.0, 40)).values()}) > 10


def test_logprob_is_the_sum_over_the_generated_tokens(engine: TransformersEngine):
    for temperature in (0, 0.7):
        sampling = Sampling(temperature, 30)
        for request, response in zip(REQUESTS[:9], answers(engine, REQUESTS[:9], sampling).values(), strict=False):
            response = answers(engine, [request], sampling)[request.request_id]
            tokens = engine._tokenizer.encode(response.text) + engine.end_tokens * (response.finish_reason == STOP)
            assert len(tokens) == response.tokens
            prompt = engine._tokenizer.encode(request.prompt)
            with torch.inference_mode():
                logits = engine._model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
            logprobs = (logits / (temperature or 1)).log_softmax(-1)
            expected = logprobs.gather(-1, torch.tensor(tokens)[:, None]).sum().item()
            assert response.logprob == pytest.approx(expected, abs=1e-3)


def test_a_text_ends_before_a_stop_string(engine: TransformersEngine):
    plain = answers(engine, REQUESTS, Sampling(1.0, 40))
    stopped = answers(engine, REQUESTS, Sampling(1.0, 40, stop=("7", "A3")))
    cut = 0
    for request_id, response in stopped.items():
        whole = plain[request_id]
        place = min((place for stop in ("7", "A3") if (place := whole.text.find(stop)) >= 0), default=-1)
        assert response.text == (whole.text[:place] if place >= 0 else whole.text)
        if place >= 0:
            cut += 1
            assert response.finish_reason == STOP
            assert response.tokens <= place + 2
    assert 50 < cut < 200


def test_a_text_stops_at_max_tokens_and_at_the_end_of_the_context(engine: TransformersEngine):
    short = answers(engine, REQUESTS, Sampling(1.0, 3))
    assert {response.tokens for response in short.values()} == {1, 2, 3}
    assert all(response.tokens == 3 for response in short.values() if response.finish_reason == LENGTH)
    long = [Request(digest("long", number), "1" * (90 + number % 6)) for number in range(60)]
    ended = answers(engine, long, Sampling(1.0, 50))
    for number, request in enumerate(long):
        response = ended[request.request_id]
        assert (
            response.tokens == 6 - number % 6 if response.finish_reason == LENGTH else response.tokens <= 6 - number % 6
        )
    assert {response.finish_reason for response in ended.values()} == {LENGTH, STOP}


def test_prompts_that_cannot_be_asked_are_failed_responses_and_the_others_are_answered(engine: TransformersEngine):
    wrong = [Request(digest("wrong", number), text) for number, text in enumerate(("", "what?", "1" * 96))]
    responses = answers(engine, [*wrong, REQUESTS[0]], Sampling(0, 4))
    assert [responses[request.request_id].finish_reason for request in wrong] == ["failed"] * 3
    assert "empty" in str(responses[wrong[0].request_id].error)
    assert "what?" in str(responses[wrong[1].request_id].error)
    assert "96 tokens" in str(responses[wrong[2].request_id].error)
    assert responses[REQUESTS[0].request_id].error is None


def test_no_request_is_no_response(engine: TransformersEngine):
    assert list(engine.generate([], Sampling(0, 4))) == []


def test_finished_rows_are_worked_on_no_more(engine: TransformersEngine):
    batch = [Writing(engine._tokenizer.encode(REQUESTS[number].prompt), number, 40) for number in range(0, 200, 2)]
    fed: list[int] = []
    hook = engine._model.register_forward_pre_hook(
        lambda _, __, arguments: fed.append(len(arguments["input_ids"])), with_kwargs=True
    )
    decoding = Decoding(engine._model, batch, Sampling(1.0, 40), engine.end_tokens, 0)
    alive = len(batch)
    while decoding.rows:
        finished = decoding.step()
        assert fed[-1] == alive
        alive -= len(finished)
        assert decoding._cache.layers[0].keys.shape[0] == alive or not alive
    hook.remove()
    assert sum(fed) < 0.7 * len(batch) * len(fed)


def tiny(kind: str) -> Any:
    from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, MistralConfig, Qwen2Config

    size = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}  # fmt: skip
    configs = {
        "grouped heads": lambda: Qwen2Config(**size),
        "sliding window": lambda: MistralConfig(**size, sliding_window=8),
        "soft caps": lambda: Gemma2Config(**size, head_dim=8, sliding_window=8),
        "learned positions": lambda: GPT2Config(
            vocab_size=97, n_embd=32, n_layer=2, n_head=4, eos_token_id=1, bos_token_id=2, pad_token_id=0
        ),
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configs[kind]()).eval()
    for parameter in model.parameters():
        parameter.data *= 3  # a random model is otherwise so sure of nothing that rounding decides
    return model


@pytest.mark.parametrize("kind", ["grouped heads", "sliding window", "soft caps", "learned positions"])
def test_other_architectures_are_decoded_as_generate_does(kind: str):
    model = tiny(kind)
    draw = random.Random(0)
    batch = [Writing([draw.randrange(3, 97) for _ in range(4 + number % 9)], number, 24) for number in range(40)]
    sampling = Sampling(0, 24)
    written: dict[int, Written] = {}
    for finished in decode(Decoding(model, batch, sampling, [1, 5, 9, 13], 0)):
        written |= {row.row: row for row in finished}
    for number, row in enumerate(batch):
        theirs = generated(model, list(row.prompt), sampling, [1, 5, 9, 13])  # type: ignore[arg-type]
        assert written[number].tokens == theirs


@pytest.mark.parametrize("kind", ["grouped heads", "sliding window", "soft caps", "learned positions"])
def test_rows_of_one_prompt_share_its_forward_pass_and_nothing_else(kind: str):
    model = tiny(kind)
    draw = random.Random(0)
    prompts = [[draw.randrange(3, 97) for _ in range(4 + number % 9)] for number in range(6)]
    batch = [Writing(prompts[number % 6], number, 20) for number in range(24)]
    fed: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, arguments: fed.append(len(arguments["input_ids"])), with_kwargs=True
    )
    together, alone = (
        {
            row.key: written.tokens
            for rows in batches
            for finished in decode(Decoding(model, rows, Sampling(1.0, 20), [1, 5, 9, 13], 0))
            for written in finished
            for row in [rows[written.row]]
        }
        for batches in ([batch], [[row] for row in batch])
    )
    hook.remove()
    assert fed[0] == 6
    assert together == alone
    assert len(set(map(tuple, together.values()))) > 12


def test_the_attention_of_ours_agrees_with_sdpa_over_many_lengths(model_folder):
    ours, theirs = open_engine("transformers", model_folder), open_engine("transformers:attention=sdpa", model_folder)
    sampling = Sampling(1.0, 70)
    first, second = answers(ours, REQUESTS[:100], sampling), answers(theirs, REQUESTS[:100], sampling)  # type: ignore[arg-type]
    assert sum(first[key].text == second[key].text for key in first) >= 99


def test_a_presence_penalty_counts_what_a_row_has_written_and_nothing_else(engine: TransformersEngine):
    """Against one forward pass a token, alone, with the penalty taken off by hand; rows leave the batch at different times."""
    sampling = Sampling(0, 24, presence_penalty=1.5)
    asked = REQUESTS[:24]
    ours, free = answers(engine, asked, sampling), answers(engine, asked, Sampling(0, 24))
    assert len({response.tokens for response in ours.values()}) > 1
    assert sum(ours[one.request_id].text != free[one.request_id].text for one in asked) > 3
    for request in asked[:8]:
        ids = engine._tokenizer.encode(request.prompt)
        written: list[int] = []
        while len(written) < 24 and not (written and written[-1] in engine.end_tokens):
            with torch.inference_mode():
                logits = engine._model(input_ids=torch.tensor([ids + written])).logits[0, -1].float()
                logits[list(set(written))] -= 1.5
            written.append(int(logits.argmax()))
        body = written[:-1] if written[-1] in engine.end_tokens else written
        assert ours[request.request_id].text == engine._tokenizer.decode(body)
