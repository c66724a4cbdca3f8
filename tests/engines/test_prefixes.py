"""What many prompts begin with is computed once, and changes nothing that is written."""

import random
from typing import Any

import pytest
import torch

from storage.identity import digest
from tasks.engines.attention import attend
from tasks.engines.caches import all_plain
from tasks.engines.prefixes import KEPT, Family, families
from tasks.engines.protocol import Request, Response, Sampling
from tasks.engines.registry import open_engine
from tasks.engines.transformers import TransformersEngine
from tasks.engines.trial import takes_our_attention
from tests.engines.test_decoding import generated, tiny

EXAMPLES = "".join(f"{number * 7919 % 10007:05d}+{number * 104729 % 10007:05d}=A?" for number in range(8))
QUESTIONS = [f"{(number * 7907) % 10**6:06d}"[: 2 + number % 5] + "=" for number in range(50)]
ASKED = [
    Request(digest("shared", question, sample), EXAMPLES + question) for sample in range(4) for question in QUESTIONS
]
"""Four samples of each, far from one another."""


def answers(engine: Any, requests: list[Request], sampling: Sampling) -> dict[str, Response]:
    return {response.request_id: response for response in engine.generate(requests, sampling)}


def test_prompts_that_begin_alike_are_one_family():
    shared, other = list(range(50)), list(range(100, 141))
    prompts = [
        [*shared, 7, 1],
        [*other, 1],
        [5],
        [*shared, 8],
        [*other, 2, 2],
        [*shared, 9],
        [*shared, 7, 1],
        [*shared, 6],
    ]
    assert families(prompts) == [
        Family(tuple(shared[:48]), [0, 3, 5, 6, 7]),
        Family((), [1, 2, 4]),  # two different ones are too few
    ]
    assert families([]) == []


def test_a_prefix_leaves_every_prompt_a_token_and_is_worth_it():
    shared = list(range(64))
    (family,) = families([shared, *([*shared, word] for word in (1, 2, 3))])
    assert family.prefix == tuple(shared[:60])
    assert families([shared] * 9) == [Family((), list(range(9)))]  # one prompt: its samples share all of it anyway
    assert families([[*shared[:31], word] for word in range(100, 110)]) == [Family((), list(range(10)))]


class Layer(torch.nn.Module):
    layer_idx = 0
    is_causal = True

    def __init__(self, shared: int) -> None:
        super().__init__()
        self.num_key_value_groups = shared


class Before:
    """A prefix with the states of one layer."""

    def __init__(self, keys: Any, values: Any) -> None:
        self._both = (keys, values)

    def states(self, layer: int) -> tuple[Any, Any]:
        assert layer == 0
        return self._both


@pytest.mark.parametrize("heads", [(6, 2), (4, 4)])
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_beside_a_prefix_is_attention_over_both(heads: tuple[int, int], queries: int, masked: bool):
    torch.manual_seed(1)
    rows, width, before, own = 3, 8, 40, 9
    query = torch.randn(rows, heads[0], queries, width)
    first, first_value = (torch.randn(1, heads[1], before, width) for _ in range(2))
    key, value = (torch.randn(rows, heads[1], own, width) for _ in range(2))
    places = torch.arange(before + own)
    mask = (places <= torch.arange(before + own - queries, before + own)[:, None]).expand(rows, 1, -1, -1).clone()
    if masked:
        mask[1, :, :, before : before + 3] = False
    needed = mask if masked or queries > 1 else None
    layer = Layer(heads[0] // heads[1])
    found, _ = attend(layer, query, key, value, needed, prefix=Before(first, first_value))  # type: ignore[arg-type]
    copies = [
        torch.cat((one.expand(rows, -1, -1, -1), two), 2).repeat_interleave(heads[0] // heads[1], 1)
        for one, two in ((first, key), (first_value, value))
    ]
    whole = torch.nn.functional.scaled_dot_product_attention(query, *copies, attn_mask=mask)
    assert torch.allclose(found, whole.transpose(1, 2), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["", ":attention=sdpa"])
def test_greedy_after_a_prefix_equals_generate_token_by_token(grouped_folder, attention: str):
    engine = open_engine(f"transformers{attention}", grouped_folder)
    assert isinstance(engine, TransformersEngine)
    assert engine._prefixes.apart == (not attention)
    sampling = Sampling(0, 30)
    ours = answers(engine, ASKED[:50], sampling)
    texts: set[str] = set()
    for request in ASKED[:50]:
        theirs = generated(engine._model, engine._tokenizer.encode(request.prompt), sampling, engine.end_tokens[0])
        body = theirs[:-1] if theirs[-1] in engine.end_tokens else theirs
        assert ours[request.request_id].text == engine._tokenizer.decode(body)
        assert ours[request.request_id].tokens == len(theirs)
        assert ours[request.request_id].prompt_tokens == len(request.prompt)
        texts.add(ours[request.request_id].text)
    assert len(texts) > 25


@pytest.mark.slow
def test_a_text_after_a_prefix_does_not_depend_on_its_batch(grouped: TransformersEngine):
    sampling = Sampling(1.0, 30)
    first = answers(grouped, ASKED, sampling)
    assert len({response.text for response in first.values()}) > 150
    shuffle = random.Random(1)
    same = total = 0
    for size in (200, 200, 200, 200, 151, 64, 64, 64, 37, 19):
        order = shuffle.sample(ASKED, len(ASKED))
        for start in range(0, len(order), size):
            for request_id, response in answers(grouped, order[start : start + size], sampling).items():
                same += response.text == first[request_id].text
                total += 1
    assert total == 2000
    assert same >= 0.999 * total
    alone = [answers(grouped, [request], sampling)[request.request_id] for request in ASKED[:30]]  # no prefix at all
    assert [response.text for response in alone] == [first[request.request_id].text for request in ASKED[:30]]


class Fed:
    """Shapes of what the model's body was fed, [rows, tokens]."""

    def __init__(self, model: Any) -> None:
        self.shapes: list[tuple[int, int]] = []
        self._hook = model.base_model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, _: Any, __: Any, arguments: dict[str, Any]) -> None:
        self.shapes.append(tuple(arguments["input_ids"].shape))

    def __enter__(self) -> "Fed":
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


@pytest.mark.slow
def test_prefix_and_prompts_are_computed_once_for_all_batches_and_samples(grouped_folder):
    engine = open_engine("transformers:rows=40", grouped_folder)
    assert isinstance(engine, TransformersEngine)
    (family,) = families([engine._tokenizer.encode(request.prompt) for request in ASKED])
    with Fed(engine._model) as fed:
        answers(engine, ASKED, Sampling(1.0, 2))
        assert fed.shapes[0] == (1, len(family.prefix))
        prompts = [shape for shape in fed.shapes[1:] if shape[1] > 1]
        assert len(prompts) >= 5
        assert sum(rows for rows, _ in prompts) == len(QUESTIONS)
        assert max(tokens for _, tokens in prompts) == max(map(len, QUESTIONS)) + len(EXAMPLES) - len(family.prefix)
        fed.shapes.clear()
        answers(engine, list(reversed(ASKED)), Sampling(1.0, 2))
        assert max(tokens for _, tokens in fed.shapes) < len(family.prefix)


@pytest.mark.slow
def test_only_the_latest_prefixes_are_kept(grouped_folder):
    engine = open_engine("transformers", grouped_folder)
    assert isinstance(engine, TransformersEngine)
    for number in range(KEPT + 2):
        asked = [Request(digest(number, word), f"{number}" * 40 + f"{word}=") for word in range(5)]
        answers(engine, asked, Sampling(0, 1))
    assert len(engine._prefixes._kept) == KEPT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "taken", "plain"),
    [("grouped heads", True, True), ("sliding window", True, False), ("soft caps", False, False)],
)
def test_a_model_takes_our_attention_only_where_it_then_says_the_same(kind: str, taken: bool, plain: bool):
    model = tiny(kind)
    own = model.config._attn_implementation
    assert takes_our_attention(model) is taken
    assert model.config._attn_implementation == ("one_query" if taken else own)
    assert all_plain(model.config) is plain
    model(input_ids=torch.tensor([[3, 4, 5]]))  # and it works
