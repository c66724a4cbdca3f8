"""From logits to one token a row: the warpers, then the inverse of the cumulative distribution at a given uniform."""

from typing import TYPE_CHECKING, NamedTuple

from tasks.engines.protocol import Sampling

if TYPE_CHECKING:
    from torch import Tensor


class Drawn(NamedTuple):
    """`tokens` [rows] and `logprobs` [rows]: nats at the temperature (1 for greedy), before top-k and top-p."""

    tokens: "Tensor"
    logprobs: "Tensor"


def draw(logits: "Tensor", uniforms: "Tensor | None", sampling: Sampling) -> Drawn:
    """One token for every row of `logits` [rows, vocabulary], greedily at temperature 0, else by `uniforms` [rows].

    Temperature, top-k, top-p, in this order. Tokens are in vocabulary order in the cumulative distribution, which is taken
    in float32: enough to pick, not enough to tell tokens below about 1e-7 apart.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        best, tokens = logits.max(-1)
        return Drawn(tokens, best - logits.logsumexp(-1))
    if uniforms is None:
        raise ValueError("sampling at a temperature needs one uniform a row")
    logprobs = (logits / sampling.temperature).log_softmax(-1)
    cumulative = _warp(logprobs, sampling).exp().cumsum(-1)
    total = cumulative[:, -1:]
    # Just below the total at most, so that the search ends on a token that has probability.
    wanted = (uniforms.to(total.dtype)[:, None] * total).minimum(total * (1 - 2.0**-23))
    if logits.shape[-1] <= 64:
        tokens = (cumulative <= wanted).sum(-1)
    else:
        import torch

        tokens = torch.searchsorted(cumulative, wanted, right=True).squeeze(-1)
    return Drawn(tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1))


def _warp(logprobs: "Tensor", sampling: Sampling) -> "Tensor":
    """Log probabilities with those tokens at -inf that top-k and top-p leave out; the likeliest always stays."""
    if 0 < sampling.top_k < logprobs.shape[-1]:
        smallest = logprobs.topk(sampling.top_k, dim=-1).values[:, -1:]
        logprobs = logprobs.masked_fill(logprobs < smallest, float("-inf"))
    if sampling.top_p < 1:
        ordered, places = logprobs.sort(dim=-1, descending=True)
        shares = ordered.softmax(-1)
        # A token stays while what stands before it is less than top_p.
        dropped = shares.cumsum(-1) - shares >= sampling.top_p
        dropped[:, 0] = False
        logprobs = logprobs.masked_fill(dropped.scatter(-1, places, dropped), float("-inf"))
    return logprobs
