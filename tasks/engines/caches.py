"""A key-value cache that neither copies itself at every step nor keeps rows that have finished.

transformers' DynamicCache concatenates: each step copies everything that is there, which for a small model on a CPU is
most of the work. Here keys and values are written in place into buffers with room to grow, and a finished row is dropped
by moving the last row into its place. Layers of other kinds (sliding windows, linear attention) stay what they are.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

STEPS_AHEAD = 256
"""Room for so many tokens at most is made at once."""


def new_cache(config: Any, tokens: int) -> Any:
    """A DynamicCache for this model's configuration whose plain attention layers grow in place, up to `tokens`."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    growing = growing_layer()
    cache.layers = [growing(tokens) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


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
        """`keys` and `values` are views, [rows, heads, tokens so far, width], of buffers with room."""

        def __init__(self, tokens: int) -> None:
            super().__init__()
            self._most = tokens

        def update(self, key_states: "Tensor", value_states: "Tensor", *_: Any, **__: Any) -> "tuple[Tensor, Tensor]":
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self._rows, self._length = len(key_states), 0
                self._buffers = (key_states[:, :, :0], value_states[:, :, :0])
            length = self._length + key_states.shape[2]
            if length > self._buffers[0].shape[2]:
                room = max(length, min(self._most, length + max(STEPS_AHEAD, length // 2)))
                self._buffers = tuple(self._enlarged(buffer, room) for buffer in self._buffers)
            for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
                buffer[: self._rows, :, self._length : length] = states
            self._length = length
            return self._show()

        def drop(self, holes: "Tensor", movers: "Tensor", left: int) -> None:
            for buffer in self._buffers:
                if len(holes):
                    buffer[holes, :, : self._length] = buffer[movers, :, : self._length]
            self._rows = left
            self._show()

        def _enlarged(self, buffer: "Tensor", room: int) -> "Tensor":
            _, heads, _, width = buffer.shape
            larger = buffer.new_empty(self._rows, heads, room, width)
            larger[:, :, : self._length] = buffer[: self._rows, :, : self._length]
            return larger

        def _show(self) -> "tuple[Tensor, Tensor]":
            keys, values = (buffer[: self._rows, :, : self._length] for buffer in self._buffers)
            self.keys, self.values = keys, values
            return keys, values

    return GrowingLayer
