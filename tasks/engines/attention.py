"""Attention for one new token a row: plain batched matrix products, and a prefix that all rows look at together.

The fused kernel behind `sdpa` is made for many queries; with one query a row on a CPU it spends its time on overhead, and
small models spend theirs in it. This is registered with transformers as the attention `one_query`, takes over where it
knows all that is asked (one query a row, at most a mask), and leaves everything else to `sdpa`.

What the rows have in common is not in their cache: the forward pass is given the `prefix`, and the queries of all rows meet
its keys in one product. One softmax runs over both, so this is the attention over prefix and row one after the other.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.engines.prefixes import Prefix

NAME = "one_query"
SMALL_PRODUCT = 400
"""Below so many multiplications a product, torch's batched product is a plain loop, and elementwise is faster."""
KNOWN = frozenset({"position_ids", "use_cache", "cache_position", "output_attentions", "is_causal", "past_key_values"})
"""Further arguments that change nothing here (an `output_attentions` that is true does)."""


def register() -> str:
    """Makes the attention known to transformers; gives back the name to load a model with."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def attend(module: Any, query: "Tensor", key: "Tensor", value: "Tensor", attention_mask: "Tensor | None",
           dropout: float = 0.0, scaling: float | None = None, prefix: "Prefix | None" = None,
           **more: Any) -> "tuple[Tensor, None]":  # fmt: skip
    """[rows, heads, queries, width] against [rows, key heads, tokens, width]: attention as [rows, queries, heads, width].

    The tokens follow those of the prefix, which `key` and `value` do not hold and the mask does.
    """
    unknown = more.get("output_attentions") or any(more[name] is not None for name in more.keys() - KNOWN)
    own_masks = attention_mask is not None and attention_mask.shape[1] != 1
    for_many = prefix is None and query.device.type != "cpu"
    if query.shape[2] != 1 or for_many or dropout or unknown or own_masks:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        if prefix is not None:
            key, value = (_following(*both) for both in zip(prefix.states(module.layer_idx), (key, value), strict=True))
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
    rows, heads, _, width = query.shape
    shared = heads // key.shape[1]
    queries = (query * (width**-0.5 if scaling is None else scaling)).reshape(rows, key.shape[1], shared, width)
    small = shared == 1 and width * key.shape[2] < SMALL_PRODUCT
    scores = (queries * key).sum(-1).unsqueeze(2) if small else queries @ key.transpose(2, 3)
    if prefix is not None:
        return _beside(queries, scores, value, attention_mask, *prefix.states(module.layer_idx)), None
    if attention_mask is not None:
        scores = _masked(scores, attention_mask)
    weights = scores.softmax(-1)
    attended = (weights.transpose(2, 3) * value).sum(2, keepdim=True) if small else weights @ value
    return attended.reshape(rows, 1, heads, value.shape[-1]), None


def _beside(queries: "Tensor", scores: "Tensor", value: "Tensor", mask: "Tensor | None", before: "Tensor",
            before_value: "Tensor") -> "Tensor":  # fmt: skip
    """The attention of `queries` [rows, key heads, shared, width], whose `scores` with the rows' own tokens are there."""
    import torch

    rows, heads, shared, width = queries.shape
    length = before.shape[2]
    together = queries.transpose(0, 1).reshape(heads, rows * shared, width)
    first = (together @ before[0].transpose(1, 2)).view(heads, rows, shared, length)
    if mask is not None:
        scores = _masked(scores, mask[..., length:])
    weights = torch.cat((first, scores.transpose(0, 1)), -1).softmax(-1, dtype=torch.float32).to(value.dtype)
    attended = weights.flatten(1, 2)[..., :length] @ before_value[0]
    own = weights[..., length:].transpose(0, 1) @ value
    return (attended.view(heads, rows, shared, -1).transpose(0, 1) + own).reshape(rows, 1, heads * shared, -1)


def _masked(scores: "Tensor", mask: "Tensor") -> "Tensor":
    return scores + mask if mask.dtype.is_floating_point else scores.masked_fill(~mask, float("-inf"))


def _following(before: "Tensor", states: "Tensor") -> "Tensor":
    """The rows' states with those of the prefix in front of them, copied into every row for as long as a layer takes."""
    import torch

    return torch.cat((before.expand(len(states), -1, -1, -1), states), 2)
