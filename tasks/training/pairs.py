"""The rows of a preference training: pairs of a chosen and a rejected completion of one prompt.

    Pair(0, chosen=Row(0, "5f…", "12+3=", "A15"), rejected=Row(1, "9a…", "12+3=", "A16"))

Checked before the first step, beside what holds for every row (see `tasks.training.preflight`): a pair has one of each, both
answer the same prompt in the same tokens, they differ, and neither is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.errors import TrainingFault
from tasks.training.preflight import tokenise
from tasks.training.recipe import Recipe
from tasks.training.rows import PAIRED, Row, TokenRow, columns, read_rows

CHOSEN, REJECTED = PAIRED


@dataclass(frozen=True, slots=True)
class Pair:
    """Two places in the mix that belong together."""

    number: int
    chosen: Row
    rejected: Row


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A pair as the model sees it; both rows begin with the same prompt."""

    chosen: TokenRow
    rejected: TokenRow

    @property
    def plain(self) -> dict[str, list[int]]:
        """As TRL takes it: the prompt once, and each completion with its EOS."""
        prompt = self.chosen.prompt_tokens
        return {
            "prompt_ids": self.chosen.input_ids[:prompt],
            "chosen_ids": self.chosen.input_ids[prompt:],
            "rejected_ids": self.rejected.input_ids[prompt:],
        }

    @property
    def longest(self) -> int:
        """Tokens of the longer side: what a batch with it is padded to."""
        return max(len(self.chosen.input_ids), len(self.rejected.input_ids))

    @property
    def tokens(self) -> int:
        return len(self.chosen.input_ids) + len(self.rejected.input_ids)

    @property
    def trained_tokens(self) -> int:
        return self.chosen.trained_tokens + self.rejected.trained_tokens


def read_pairs(examples: Sequence[str], members: Sequence[str]) -> list[Pair]:
    """The pairs of a mix in the order of their first places.

    Raises TrainingFault as `read_rows` does, and for a member outside of any pair, a pair that is not one chosen and one
    rejected, two prompts in a pair, and a pair that says the same twice.
    """
    rows = read_rows(examples, members, paired=True)
    number = {place["position"]: place["pair"] for place in columns(members, ("position", "pair"))}
    sides: dict[int, dict[str, Row]] = {}
    for row in rows:
        pair = number[row.position]
        if pair is None or row.role not in (CHOSEN, REJECTED):
            raise TrainingFault(f"{row.name} is {row.role}, in no pair; preference training takes pairs alone")
        if row.role in sides.setdefault(pair, {}):
            raise TrainingFault(f"pair {pair} of the mix has two {row.role} sides; it is damaged")
        sides[pair][row.role] = row
    return [_pair(pair, both) for pair, both in sides.items()]


def tokenise_pairs(pairs: Sequence[Pair], tokenizer: Any, recipe: Recipe, chat: str | None = None) -> list[TokenPair]:
    """The pairs as tokens. Raises TrainingFault, before anything is trained, for whatever could not be learned from."""
    chosen = tokenise([pair.chosen for pair in pairs], tokenizer, recipe, chat)
    rejected = tokenise([pair.rejected for pair in pairs], tokenizer, recipe, chat)
    found = [TokenPair(*both) for both in zip(chosen, rejected, strict=True)]
    for pair, tokens in zip(pairs, found, strict=True):
        prompts = [row.input_ids[: row.prompt_tokens] for row in (tokens.chosen, tokens.rejected)]
        if prompts[0] != prompts[1]:
            raise TrainingFault(f"the sides of pair {pair.number} begin with other tokens; nothing was trained")
        if tokens.chosen.input_ids == tokens.rejected.input_ids:
            raise TrainingFault(f"the sides of pair {pair.number} are the same tokens; leave it out of the mix")
    return found


def check_holds(trainer: Any, expected: Sequence[TokenPair]) -> None:
    """Raises TrainingFault unless the trainer holds exactly the expected pairs, in order: none dropped, none cut."""
    held = trainer.train_dataset.with_format("arrow")[:]
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    kept = [dict(zip(names, row, strict=True)) for row in zip(*(held[name].to_pylist() for name in names), strict=True)]
    if len(kept) != len(expected):
        raise TrainingFault(f"the trainer kept {len(kept)} of {len(expected)} pairs; nothing was trained")
    for index, (row, pair) in enumerate(zip(kept, expected, strict=True)):
        if row != pair.plain:
            raise TrainingFault(
                f"pair {index} is not what was asked for once the trainer holds it; nothing was trained"
            )


def _pair(number: int, sides: dict[str, Row]) -> Pair:
    if missing := [role for role in (CHOSEN, REJECTED) if role not in sides]:
        raise TrainingFault(f"pair {number} of the mix has no {missing[0]} side; it is damaged")
    pair = Pair(number, sides[CHOSEN], sides[REJECTED])
    if pair.chosen.prompt != pair.rejected.prompt:
        raise TrainingFault(
            f"the sides of pair {number} answer different prompts, {pair.chosen.prompt!r:.60} and "
            f"{pair.rejected.prompt!r:.60}; pair answers of one problem"
        )
    if pair.chosen.completion == pair.rejected.completion:
        raise TrainingFault(
            f"both sides of pair {number} are {pair.chosen.completion!r:.60}; a text is not better than itself, leave it out"
        )
    return pair
