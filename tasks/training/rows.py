"""The rows of a training: the mix's members joined with their examples, in the mix's order."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from storage.errors import TrainingFault


@dataclass(frozen=True, slots=True)
class Row:
    """One place in the mix, with the text that is trained on."""

    position: int
    example_id: str
    prompt: str
    completion: str
    role: str = ""

    @property
    def name(self) -> str:
        """How a fault names it."""
        return f"row {self.position} of the mix (exm_{self.example_id})"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row as the model sees it: prompt, completion and EOS; the first `prompt_tokens` of them carry no loss."""

    example_id: str
    input_ids: list[int]
    prompt_tokens: int

    @property
    def labels(self) -> list[int]:
        """The input ids with the prompt masked out (-100), unshifted as `transformers` wants them."""
        return [-100] * self.prompt_tokens + self.input_ids[self.prompt_tokens :]

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss; the very first of a row has nothing before it to be predicted from."""
        return len(self.input_ids) - max(self.prompt_tokens, 1)


PAIRED = ("chosen", "rejected")
"""The roles of a pair's sides. What is rejected is never to be imitated."""


def read_rows(examples: Sequence[str], members: Sequence[str], paired: bool = False) -> list[Row]:
    """The mix in the order of its positions; a member of a pair is refused unless they are `paired`.

    Raises TrainingFault for an empty mix, a member without an example, a position used twice or left out, and a
    weight other than 1 (which the trainer cannot honour).
    """
    places = columns(members, ("position", "example_id", "role", "weight"))
    if not places:
        raise TrainingFault("the training set is empty: the mix has no members, so there is nothing to train on")
    texts = {_hex(row["example_id"]): row for row in columns(examples, ("example_id", "prompt", "completion"))}
    places.sort(key=lambda place: place["position"])
    rows: list[Row] = []
    for expected, place in enumerate(places):
        example_id = _hex(place["example_id"])
        if place["position"] != expected:
            raise TrainingFault(f"the mix has position {place['position']} where {expected} should come; it is damaged")
        if place["weight"] != 1.0:
            raise TrainingFault(
                f"member {expected} of the mix (exm_{example_id}) has weight {place['weight']}, "
                "but fine-tuning takes only 1; repeat the member or leave it out instead"
            )
        if place["role"] in PAIRED and not paired:
            raise TrainingFault(
                f"member {expected} of the mix (exm_{example_id}) is a pair's {place['role']} side, and completions of both "
                "would be imitated; set training.objective = dpo"
            )
        if example_id not in texts:
            raise TrainingFault(f"member {expected} of the mix, exm_{example_id}, is in none of the example shards")
        text = texts[example_id]
        rows.append(Row(expected, example_id, text["prompt"], text["completion"], place["role"]))
    return rows


def columns(paths: Iterable[str], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """These columns of Parquet shards, row by row. Raises TrainingFault for a shard that cannot be read."""
    import pyarrow.lib
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            # One thread and no dataset layer: this runs in a forked process, where a thread pool must not be shared.
            with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as shard:
                rows.extend(shard.read(columns=list(names), use_threads=False).to_pylist())
        except (OSError, pyarrow.lib.ArrowException) as error:
            raise TrainingFault(f"the shard {path} cannot be read ({error}); check the store") from error
    return rows


def _hex(identity: Any) -> str:
    """An id as 32 hex digits, from a UUID, its 16 bytes or its text."""
    match identity:
        case uuid.UUID():
            return identity.hex
        case bytes():
            return identity.hex()
        case _:
            return str(identity).replace("-", "")
