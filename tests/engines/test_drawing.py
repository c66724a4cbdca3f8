import pytest
import torch

from storage.errors import UserMistake
from tasks.engines.drawing import draw
from tasks.engines.protocol import Sampling

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])


def frequencies(sampling: Sampling, count: int = 20_000) -> list[float]:
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens = draw(LOGITS.repeat(count, 1), uniforms, sampling).tokens
    return (torch.bincount(tokens, minlength=4) / count).tolist()


def test_tokens_come_as_often_as_their_probability():
    assert frequencies(Sampling(1.0, 1)) == pytest.approx(LOGITS.softmax(-1)[0].tolist(), abs=1e-4)


def test_temperature_divides_the_logits():
    assert frequencies(Sampling(0.5, 1)) == pytest.approx((LOGITS / 0.5).softmax(-1)[0].tolist(), abs=1e-4)


def test_top_k_leaves_the_k_likeliest():
    left = LOGITS[0, :2].softmax(-1).tolist()
    assert frequencies(Sampling(1.0, 1, top_k=2)) == pytest.approx([*left, 0, 0], abs=1e-4)


@pytest.mark.parametrize(("top_p", "kept"), [(0.6, 1), (0.65, 2), (0.9, 3), (0.01, 1)])
def test_top_p_leaves_tokens_until_their_sum_reaches_p(top_p: float, kept: int):
    # The probabilities are 0.644, 0.237, 0.087, 0.032.
    left = LOGITS[0, :kept].softmax(-1).tolist()
    assert frequencies(Sampling(1.0, 1, top_p=top_p)) == pytest.approx(left + [0] * (4 - kept), abs=1e-4)


@pytest.mark.parametrize("width", [4, 4000])
def test_the_largest_uniform_never_picks_a_token_without_probability(width: int):
    logits = torch.full((1, width), float("-inf"))
    logits[0, 1] = 0.0
    for number in (0.0, 1 - 2.0**-53):
        assert draw(logits, torch.tensor([number], dtype=torch.float64), Sampling(1.0, 1)).tokens.tolist() == [1]


def test_logprob_is_that_of_the_token_before_top_k():
    drawn = draw(LOGITS, torch.tensor([0.0]), Sampling(2.0, 1, top_k=1))
    assert drawn.logprobs.item() == pytest.approx((LOGITS / 2.0).log_softmax(-1)[0, 0].item())
    assert draw(LOGITS, None, Sampling(0, 1)).logprobs.item() == pytest.approx(LOGITS.log_softmax(-1)[0, 0].item())


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"max_tokens": 0},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"stop": ("",)},
        {"presence_penalty": 2.5},
    ],
)
def test_a_sampling_value_out_of_range_is_refused(wrong: dict):
    with pytest.raises(UserMistake, match=next(iter(wrong))):
        Sampling(**({"temperature": 1.0, "max_tokens": 5} | wrong))


def test_whole_and_broken_numbers_have_one_canonical_form():
    assert Sampling(1, 5).canonical() == Sampling(1.0, 5).canonical()
    assert Sampling(1.0, 5).canonical() != Sampling(1.0, 5, stop=("x",)).canonical()


def test_a_penalty_of_nothing_leaves_request_ids_as_they_were():
    plain = '{"max_tokens":5,"stop":[],"temperature":1.0,"top_k":0,"top_p":1.0}'
    assert Sampling(1, 5).text == Sampling(1, 5, presence_penalty=0).text == plain
    assert '"presence_penalty":2.0' in Sampling(1, 5, presence_penalty=2).text
