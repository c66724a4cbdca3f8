"""What many prompts begin with, computed once: the worked examples that stand before every question.

    >>> families([[7] * 40 + [1], [7] * 40 + [2], [7] * 40 + [3], [7] * 40 + [4, 5], [9]])
    [Family(prefix=(7, 7, …), members=[0, 1, 2, 3]), Family(prefix=(), members=[4])]

The keys and values of a prefix are computed in one row and kept. Where the model takes our attention they stay apart from
the rows: every row looks at the same ones, in one matrix product, and none holds a copy. Elsewhere each row gets a copy,
which saves the computing and not the memory. A model with layers that are not plain attention computes whole prompts.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from storage.errors import EngineFault
from tasks.engines.attention import NAME
from tasks.engines.caches import all_plain, new_cache

if TYPE_CHECKING:
    from torch import Tensor

SHORTEST = 32
"""A shorter prefix is not worth it."""
FEWEST = 4
"""Nor is one that fewer different prompts begin with."""
GRAIN = 4
"""A prefix has a multiple of so many tokens: a first word that the questions of one call share by chance makes no other."""
KEPT = 4
"""So many prefixes are kept from one call to the next, those that were used last."""


@dataclass(frozen=True, slots=True)
class Family:
    """Prompts, by their place, that begin with the same tokens; all of those have more than the prefix."""

    prefix: tuple[int, ...]
    members: list[int]


def families(prompts: Sequence[Sequence[int]]) -> list[Family]:
    """Every prompt in one family; those that share no prefix worth computing are one family without."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, prompt in enumerate(prompts):
        alike.setdefault(tuple(prompt[:SHORTEST]), []).append(place)
    found: list[Family] = []
    others: list[int] = []
    for members in alike.values():
        prefix = _common([prompts[place] for place in members])
        if prefix:
            found.append(Family(prefix, members))
        else:
            others += members
    return [*found, Family((), sorted(others))] if others else found


def _common(prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The longest prefix of all, at least a token shorter than the shortest; empty if it is not worth it."""
    different = {tuple(prompt) for prompt in prompts}
    first, last = min(different), max(different)  # in dictionary order, so that what these share all share
    most = min(map(len, different)) - 1
    length = next((place for place in range(most) if first[place] != last[place]), most)
    length -= length % GRAIN
    return first[:length] if length >= SHORTEST and len(different) >= FEWEST else ()


@dataclass(slots=True)
class Prefix:
    """Tokens with their keys and values, [1, heads, tokens, width] for every layer, kept `apart` from the rows or not."""

    tokens: tuple[int, ...]
    layers: "list[tuple[Tensor, Tensor]]"
    apart: bool
    seen_by: set[int] = field(default_factory=set[int])
    """Layers whose attention has looked at it."""

    def __len__(self) -> int:
        return len(self.tokens)

    def states(self, layer: int) -> "tuple[Tensor, Tensor]":
        """Keys and values for the attention of a layer."""
        self.seen_by.add(layer)
        return self.layers[layer]

    def check_seen(self) -> None:
        """Raises EngineFault when a layer's attention has passed over it: then what was written does not follow from it."""
        if self.apart and len(self.seen_by) != len(self.layers):
            raise EngineFault("the model does not hand its prompts' prefix to every layer; open it with attention=sdpa")


def compute(model: Any, tokens: Sequence[int], apart: bool) -> Prefix:
    """The prefix's keys and values, by one forward pass over one row."""
    import torch

    cache = new_cache(model.config, len(tokens))
    with torch.inference_mode():
        # The body alone: nobody looks at what would come next.
        model.base_model(input_ids=torch.tensor([tokens], device=model.device), past_key_values=cache, use_cache=True)
    return Prefix(tuple(tokens), [(layer.keys, layer.values) for layer in cache.layers], apart)


class Prefixes:
    """The prefixes of one model, each computed when it is first asked for."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kept: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self.possible = all_plain(model.config)
        """Whether this model's prefixes can be kept at all."""
        self.apart = getattr(model.config, "_attn_implementation", None) == NAME

    def of(self, tokens: tuple[int, ...]) -> Prefix | None:
        """The prefix of these tokens; None for none."""
        if not tokens:
            return None
        if tokens not in self._kept:
            self._kept[tokens] = compute(self._model, tokens, self.apart)
        self._kept.move_to_end(tokens)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[tokens]

    def forget(self) -> None:
        """Give their memory back."""
        self._kept.clear()
