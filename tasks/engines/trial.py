"""Whether a model takes our attention: tried on a few tokens before anything is asked of it.

Attention has variants (soft caps, sinks, biases) and models hand their arguments on in their own ways. What ours would give is
compared with what the model gives by itself, through prompt, prefix, padding and one more token; where they differ by more
than rounding, the model keeps its own.
"""

from typing import Any

from storage.errors import EngineFault
from tasks.engines.attention import register
from tasks.engines.caches import all_plain, new_cache
from tasks.engines.prefixes import Prefix, compute

PREFIX = 6
ROWS = (4, 2)
"""Tokens of a row's own; the shorter one is padded."""


def takes_our_attention(model: Any) -> bool:
    """Sets the model's attention to ours if it then still says the same, and gives back whether it did."""
    import torch

    own = model.config._attn_implementation
    words = model.config.get_text_config().vocab_size
    tokens = [(7 * place + 3) % words for place in range(PREFIX + ROWS[0] + 1)]
    rows = [tokens[:PREFIX] + tokens[-length - 1 :] for length in ROWS]
    with torch.inference_mode():
        expected = [model(input_ids=torch.tensor([row], device=model.device)).logits[0, -2:].float() for row in rows]
        try:
            model.set_attn_implementation(register())
            found = _in_pieces(model, rows)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError, EngineFault):
            # Whatever a model makes of an attention that it does not know: it is one that keeps its own.
            found = None
    tolerance = torch.finfo(model.dtype).eps ** 0.5
    if found is not None and all(
        (ours - theirs).abs().max() <= tolerance * theirs.abs().max()
        for ours, theirs in zip(found, expected, strict=True)
    ):
        return True
    model.set_attn_implementation(own)
    return False


def _in_pieces(model: Any, rows: list[list[int]]) -> list[Any]:
    """The last two tokens' logits of each row, [2, vocabulary], as decoding computes them."""
    import torch

    prefix: Prefix | None = compute(model, rows[0][:PREFIX], apart=True) if all_plain(model.config) else None
    before = 0 if prefix is None else PREFIX
    own = [row[before:-1] for row in rows]
    longest = max(map(len, own))
    cache = new_cache(model.config, longest + 1, prefix)
    mask = torch.ones(len(rows), before + longest + 1, dtype=torch.long, device=model.device)
    for place, row in enumerate(own):
        mask[place, before : before + longest - len(row)] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    fed = torch.tensor([[0] * (longest - len(row)) + row for row in own], device=model.device)
    last = torch.tensor([row[-1:] for row in rows], device=model.device)
    more = {} if prefix is None else {"prefix": prefix}
    logits: list[Any] = []
    for piece, end in ((fed, before + longest), (last, before + longest + 1)):
        output = model(
            input_ids=piece, attention_mask=mask[:, :end], position_ids=positions[:, end - piece.shape[1] : end],
            past_key_values=cache, use_cache=True, **more,
        )  # fmt: skip
        logits.append(output.logits[:, -1].float())
    if prefix is not None:
        prefix.check_seen()
    return list(torch.stack(logits, 1))
