"""A key-value cache that neither copies itself at every step nor keeps rows that have finished.

transformers' DynamicCache concatenates: each step copies everything that is there, which for a small model on a CPU is
most of the work. Here keys and values are written in place into buffers with room to grow, a prompt that several rows
share is computed in one row and then spread, and a finished row is dropped by moving the last row into its place.
Layers of other kinds (sliding windows, linear attention) stay what they are.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.engines.prefixes import Prefix

STEPS_AHEAD = 256
"""Room for so many tokens at most is made at once."""


def new_cache(config: Any, tokens: int, prefix: "Prefix | None" = None) -> Any:
    """A DynamicCache for this model's configuration whose plain attention layers grow in place, up to `tokens`.

    What comes into it follows the prefix, if one is given (only where `all_plain`). Of a prefix that is apart it only counts
    the tokens; any other is copied into every row.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    growing = growing_layer()
    before = prefix.layers if prefix is not None else [None] * len(cache.layers)
    apart = prefix is not None and prefix.apart
    cache.layers = [
        growing(tokens, states, apart) if type(layer) is DynamicLayer else layer
        for layer, states in zip(cache.layers, before, strict=True)
    ]
    return cache


def all_plain(config: Any) -> bool:
    """Whether every layer of the model is plain attention over everything before: then a prefix can be kept."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def spread_rows(cache: Any, owners: "Tensor") -> None:
    """Row i becomes a copy of what is now row `owners[i]`."""
    for layer in cache.layers:
        if isinstance(layer, growing_layer()):
            layer.spread(owners)
        else:
            layer.reorder_cache(owners)


def drop_rows(cache: Any, holes: "Tensor", movers: "Tensor", left: int) -> None:
    """Rows `movers` go to where `holes` are, and only the first `left` rows stay."""
    import torch

    order = torch.arange(left, device=holes.device)
    order[holes] = movers
    for layer in cache.layers:
        if isinstance(layer, growing_layer()):
            layer.drop(holes, movers, left)
        else:
            layer.reorder_cache(order)


@lru_cache(maxsize=1)
def growing_layer() -> Any:
    """The class of a layer that grows in place; made here because its parent is in transformers."""
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        """`keys` and `values` are views, [rows, heads, tokens so far, width], of buffers with room.

        `prefix` are keys and values, [1, heads, tokens, width], of what stands before all rows: apart from them, or copied.
        """

        def __init__(self, tokens: int, prefix: "tuple[Tensor, Tensor] | None" = None, apart: bool = False) -> None:
            super().__init__()
            self._most = tokens
            self._copied = None if apart else prefix
            self._before = prefix[0].shape[2] if prefix is not None else 0

        def update(self, key_states: "Tensor", value_states: "Tensor", *_: Any, **__: Any) -> "tuple[Tensor, Tensor]":
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self._rows = len(key_states)
                self._length, self._buffers = 0, (key_states[:, :, :0], value_states[:, :, :0])
                if self._copied is not None:
                    self._most += self._before
                    self._write(*(states.expand(self._rows, -1, -1, -1) for states in self._copied))
                    self._copied, self._before = None, 0
            self._write(key_states, value_states)
            return self._show()

        def get_seq_length(self) -> int:
            return self._before + (self._length if self.is_initialized else 0)

        def spread(self, owners: "Tensor") -> None:
            room = min(self._most, self._length + STEPS_AHEAD)
            self._buffers = tuple(self._enlarged(buffer, room, owners) for buffer in self._buffers)
            self._rows = len(owners)
            self._show()

        def drop(self, holes: "Tensor", movers: "Tensor", left: int) -> None:
            for buffer in self._buffers:
                if len(holes):
                    buffer[holes, :, : self._length] = buffer[movers, :, : self._length]
            self._rows = left
            self._show()

        def _write(self, *states: "Tensor") -> None:
            length = self._length + states[0].shape[2]
            if length > self._buffers[0].shape[2]:
                room = max(length, min(self._most, length + max(STEPS_AHEAD, length // 2)))
                self._buffers = tuple(self._enlarged(buffer, room) for buffer in self._buffers)
            for buffer, new in zip(self._buffers, states, strict=True):
                buffer[: self._rows, :, self._length : length] = new
            self._length = length

        def _enlarged(self, buffer: "Tensor", room: int, owners: "Tensor | None" = None) -> "Tensor":
            """Another buffer with the rows there are, or the owners' rows."""
            _, heads, _, width = buffer.shape
            old = buffer[: self._rows, :, : self._length]
            larger = buffer.new_empty(self._rows if owners is None else len(owners), heads, room, width)
            larger[:, :, : self._length] = old if owners is None else old[owners]
            return larger

        def _show(self) -> "tuple[Tensor, Tensor]":
            keys, values = (buffer[: self._rows, :, : self._length] for buffer in self._buffers)
            self.keys, self.values = keys, values
            return keys, values

    return GrowingLayer
