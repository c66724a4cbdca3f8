"""Anyone's data set on the Hugging Face hub: `hub:openai/gsm8k,config=main,train=train,test=test,gold=answer`.

Beside the field map and the settings of `mapped`, options say which of its splits are ours: `train=`, `dev=`, `test=` (by default
train, validation and test, where it has them), its `config` and its `revision`. A folder that the `datasets` library can load
serves as well. Where train and test are there and dev is not, `dev=train` takes every twentieth train row.
"""

from collections.abc import Iterator

from storage.errors import UserMistake
from tasks.problems.mapped import MappedProblems, Mapping
from tasks.problems.protocol import SPLITS
from tasks.problems.source import Numbered, hub_rows, hub_splits

USUAL = {"train": "train", "dev": "validation", "test": "test"}
EVERY = 20
SPLIT = "starloop split"
"""The field that says which split a row belongs to; no data set has one of that name."""


def load(options: str) -> MappedProblems:
    """The set, checked row by row; UserMistake names the row of the first one that does not fit."""
    name, *rest = options.split(",")
    ours = {"train": "", "dev": "", "test": "", "config": "", "revision": ""}
    mapping = Mapping("hub", rest, ours)
    mapping.fields["split"] = SPLIT
    return MappedProblems(f"hub:{options}", name, _rows(name, mapping.settings), mapping)


def _rows(name: str, settings: dict[str, str]) -> Iterator[Numbered]:
    config, revision = settings["config"] or None, settings["revision"] or None
    there = hub_splits(name, config, revision)
    asked = {split: settings[split] or (USUAL[split] if USUAL[split] in there else "") for split in SPLITS}
    for split, theirs in asked.items():
        if theirs and theirs not in there:
            raise UserMistake(f"{name} has no split {theirs!r} to be our {split}; it has: {', '.join(there)}")
    if asked["test"] and asked["test"] in {asked["dev"], asked["train"]}:
        raise UserMistake(f"{name}: test must be a split of its own; it has: {', '.join(there)}")
    for split in SPLITS:
        if split == "dev" and asked["dev"] == asked["train"]:
            continue
        for place, numbered in enumerate(hub_rows(name, asked[split], config, revision) if asked[split] else ()):
            ours = "dev" if split == "train" and asked["dev"] == asked["train"] and place % EVERY == 0 else split
            yield Numbered(numbered.where, numbered.row | {SPLIT: ours})
