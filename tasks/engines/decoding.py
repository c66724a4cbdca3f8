"""Our decoding loop: a causal model's forward pass and its cache in, texts as token ids out.

`generate` has no place for randomness that belongs to a row, so this is our own. What a row writes depends on its
prompt, its key and the sampling alone, as far as float32 goes: a batch of another shape rounds differently, and in
about one text of ten thousand a token lies so near the edge of its interval that this shows.

Rows of equal length need no padding and get none; others are padded on the left, with a mask. Rows with the same prompt
share its first forward pass, and what all prompts begin with can be given as a prefix that is computed already. A
finished row leaves the batch and the cache at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.engines.caches import drop_rows, new_cache, spread_rows
from tasks.engines.drawing import draw
from tasks.engines.prefixes import Prefix
from tasks.engines.protocol import LENGTH, STOP, Sampling
from tasks.engines.uniforms import uniforms

if TYPE_CHECKING:
    from torch import Tensor

UNIFORMS_AHEAD = 64
"""Uniforms are computed for so many positions at once."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What is to be continued: prompt tokens, the key of its randomness, and how many tokens it may write."""

    prompt: Sequence[int]
    key: int
    room: int


@dataclass(frozen=True, slots=True)
class Written:
    """A finished row: its place in the batch, its tokens (with the one that ended it), their log probability in nats."""

    row: int
    tokens: list[int]
    logprob: float
    finish_reason: str


class StopStrings:
    """Tells whether a text has come to one of the stop strings, from its last tokens."""

    def __init__(self, stop: Sequence[str], decode: Callable[[list[list[int]]], list[str]]) -> None:
        self._stop, self._decode = stop, decode
        self.reach = max(len(text.encode()) for text in stop) + 8
        """So many last tokens surely hold a stop string that has just come: a token is a byte at least."""

    def in_any(self, tails: list[list[int]]) -> list[bool]:
        """For each row's last tokens, whether a stop string is in them."""
        return [any(text in tail for text in self._stop) for tail in self._decode(tails)]


class Decoding:
    """One batch on its way. `step` writes one token a row and gives back the rows that it finished.

    `ends` are the token ids that end a text. A `prefix` is what every prompt of the batch begins with, and goes on after.
    """

    def __init__(
        self,
        model: Any,
        batch: Sequence[Writing],
        sampling: Sampling,
        ends: Sequence[int],
        padding: int,
        stops: "StopStrings | None" = None,
        prefix: Prefix | None = None,
    ) -> None:
        import torch

        self._torch = torch
        self._model: Any = model
        self._sampling, self._stops = sampling, stops
        self._takes = accepted(model)
        device = model.device
        self._ends = torch.tensor(sorted(ends), device=device)
        self._keys: NDArray[np.uint64] = np.array([row.key for row in batch], dtype=np.uint64)
        self._room = torch.tensor([row.room for row in batch], device=device)
        self._shortest_room = min(row.room for row in batch)
        longest_room = max(row.room for row in batch)
        self._written = torch.zeros(len(batch), longest_room, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(len(batch), device=device)
        self._rows = torch.arange(len(batch), device=device)
        self._uniforms: Tensor | None = None
        self._steps = 0
        self._present: Tensor | None = None
        """[rows, vocabulary]: the tokens that a row's text has, where that counts."""
        self._prefix = prefix
        before = 0 if prefix is None else len(prefix)
        different = dict.fromkeys(tuple(row.prompt[before:]) for row in batch)
        places = {prompt: place for place, prompt in enumerate(different)}
        self._owners: Tensor | None = None
        """Which prompt a row continues, until every row has its own place in the cache."""
        if len(different) < len(batch):
            self._owners = torch.tensor([places[tuple(row.prompt[before:])] for row in batch], device=device)
        self._cache = new_cache(model.config, max(map(len, different)) + longest_room, prefix)
        self._open(list(different), before, padding, longest_room, device)

    def _open(
        self, prompts: Sequence[Sequence[int]], before: int, padding: int, longest_room: int, device: Any
    ) -> None:
        torch = self._torch
        lengths = [len(prompt) for prompt in prompts]
        longest = max(lengths)
        self._seen = before + longest
        self._tokens = torch.tensor(
            [[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device
        )
        self._mask: Tensor | None = None
        self._positions: Tensor | None = None
        if min(lengths) < longest:
            self._mask = torch.ones(len(prompts), self._seen + longest_room, dtype=torch.long, device=device)
            for row, length in enumerate(lengths):
                self._mask[row, before : self._seen - length] = 0
            self._positions = (self._mask[:, : self._seen].cumsum(-1) - 1).clamp(min=0)[:, before:]

    @property
    def rows(self) -> int:
        """How many are still being written."""
        return len(self._rows)

    def step(self) -> list[Written]:
        """One forward pass, one token for every row; the rows that are finished by it."""
        with self._torch.inference_mode():
            logits = self._forward()
            if self._owners is not None:
                logits = self._spread(logits, self._owners)
            if self._sampling.presence_penalty:
                logits = self._penalized(logits)
            tokens, logprobs = draw(logits, self._next_uniforms(), self._sampling)
            if self._present is not None:
                self._present.scatter_(1, tokens[:, None], True)
            self._written[self._rows, self._steps] = tokens
            self._logprobs[self._rows] += logprobs
            self._steps += 1
            stopped = self._stopped(tokens)
            finished = stopped
            if self._steps >= self._shortest_room:
                finished = stopped | (self._room[self._rows] <= self._steps)
            self._tokens = tokens[:, None]
            if self._positions is not None:
                self._positions = self._positions[:, -1:] + 1
            return self._finish(finished, stopped[finished].tolist()) if bool(finished.any()) else []

    def _forward(self) -> "Tensor":
        """Logits of the next token, [rows, vocabulary]."""
        more: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
        if self._mask is not None:
            more["attention_mask"] = self._mask[:, : self._seen]
            if "position_ids" in self._takes:
                more["position_ids"] = self._positions
        if self._prefix is not None and self._prefix.apart:
            more["prefix"] = self._prefix
        self._seen += 1
        output = self._model(input_ids=self._tokens, past_key_values=self._cache, use_cache=True, **more)
        if self._prefix is not None:
            self._prefix.check_seen()
        return output.logits[:, -1]

    def _spread(self, logits: "Tensor", owners: "Tensor") -> "Tensor":
        """From a row a prompt to a row a text."""
        spread_rows(self._cache, owners)
        if self._mask is not None:
            self._mask = self._mask[owners]
        if self._positions is not None:
            self._positions = self._positions[owners]
        self._owners = None
        return logits[owners]

    def _penalized(self, logits: "Tensor") -> "Tensor":
        """Less for what a row has written, whatever its prompt says."""
        if self._present is None:
            self._present = self._torch.zeros(logits.shape, dtype=self._torch.bool, device=logits.device)
        return logits.float() - self._sampling.presence_penalty * self._present

    def _next_uniforms(self) -> "Tensor | None":
        if self._sampling.temperature == 0:
            return None
        place = self._steps % UNIFORMS_AHEAD
        if place == 0:
            # One row a request of the batch, also of finished ones: what is left of them is not looked at.
            ahead = min(UNIFORMS_AHEAD, self._written.shape[1] - self._steps)
            numbers = uniforms(self._keys, self._steps, ahead).T.astype(np.float32)
            self._uniforms = self._torch.from_numpy(np.ascontiguousarray(numbers)).to(self._rows.device)
        assert self._uniforms is not None
        return self._uniforms[place, self._rows]

    def _stopped(self, tokens: "Tensor") -> "Tensor":
        ended = tokens == self._ends if len(self._ends) == 1 else self._torch.isin(tokens, self._ends)
        if self._stops is None:
            return ended
        tails = self._written[self._rows, max(0, self._steps - self._stops.reach) : self._steps].tolist()
        return ended | self._torch.tensor(self._stops.in_any(tails), device=ended.device)

    def _finish(self, finished: "Tensor", stopped: list[bool]) -> list[Written]:
        rows = self._rows[finished]
        results = [
            Written(row, tokens, logprob, STOP if stop else LENGTH)
            for row, tokens, logprob, stop in zip(
                rows.tolist(), self._written[rows, : self._steps].tolist(), self._logprobs[rows].tolist(), stopped,
                strict=True,
            )
        ]  # fmt: skip
        left = self.rows - len(results)
        holes = finished[:left].nonzero().squeeze(-1)
        movers = (~finished[left:]).nonzero().squeeze(-1) + left
        if left:
            drop_rows(self._cache, holes, movers, left)
            self._rows = _dropped(self._rows, holes, movers, left)
            self._tokens = _dropped(self._tokens, holes, movers, left)
            if self._present is not None:
                self._present = _dropped(self._present, holes, movers, left)
            if self._mask is not None and self._positions is not None:
                self._mask = _dropped(self._mask, holes, movers, left)
                self._positions = _dropped(self._positions, holes, movers, left)
        else:
            self._rows = rows[:0]
        return results


def accepted(model: Any) -> frozenset[str]:
    """Names of the arguments that the model's forward pass takes."""
    import inspect

    return frozenset(inspect.signature(model.forward).parameters)


def decode(decoding: Decoding) -> Iterator[list[Written]]:
    """All rows of a batch, in the order they finish, as lists of those that finish together."""
    while decoding.rows:
        if finished := decoding.step():
            yield finished


def _dropped(tensor: "Tensor", holes: "Tensor", movers: "Tensor", left: int) -> "Tensor":
    tensor[holes] = tensor[movers]
    return tensor[:left]
