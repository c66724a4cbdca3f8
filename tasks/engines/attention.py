"""Attention for one new token a row on a CPU: plain batched matrix products.

The fused kernel behind `sdpa` is made for many queries; with one query a row it spends its time on overhead, and
small models spend theirs in it. This is registered with transformers as the attention `one_query`, takes over where it
knows all that is asked (one query a row, at most a mask), and leaves everything else to `sdpa`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

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
           dropout: float = 0.0, scaling: float | None = None, **more: Any) -> "tuple[Tensor, None]":  # fmt: skip
    """[rows, heads, 1, width] against [rows, key heads, tokens, width]: attention as [rows, 1, heads, width]."""
    unknown = more.get("output_attentions") or any(more[name] is not None for name in more.keys() - KNOWN)
    own_masks = attention_mask is not None and attention_mask.shape[1] != 1
    if query.shape[2] != 1 or dropout or unknown or own_masks:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
    rows, heads, _, width = query.shape
    shared = heads // key.shape[1]
    queries = (query * (width**-0.5 if scaling is None else scaling)).reshape(rows, key.shape[1], shared, width)
    small = shared == 1 and width * key.shape[2] < SMALL_PRODUCT
    scores = (queries * key).sum(-1).unsqueeze(2) if small else queries @ key.transpose(2, 3)
    if attention_mask is not None:
        if attention_mask.dtype.is_floating_point:
            scores = scores + attention_mask
        else:
            scores = scores.masked_fill(~attention_mask, float("-inf"))
    weights = scores.softmax(-1)
    attended = (weights.transpose(2, 3) * value).sum(2, keepdim=True) if small else weights @ value
    return attended.reshape(rows, 1, heads, value.shape[-1]), None
