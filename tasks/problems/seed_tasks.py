"""Human-written tasks that Self-Instruct starts from: `seed_tasks:FILE.jsonl,dev=20,test=25`.

`seed_tasks:self_instruct` are the paper's own 175, from `self_instruct/seed_tasks.jsonl` in the data folder (STARLOOP_DATA_DIR), and
`seed_tasks` alone are 30 short ones of ours, for demonstrations. One row:

    {"instruction": "Give a synonym.", "instances": [{"input": "quick", "output": "fast"}], "is_classification": false}

Train seeds are shown to the model; dev and test ones are not, and an answer to each
(to its first instance) is compared with the reference in words, which says how near it is and not whether it is right. Which seeds
are held out is decided by their text, so that another row moves few. `id` and `name` may be there; other fields are mistakes.
"""

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import UserMistake
from storage.identity import digest
from storage.records import Problem
from tasks.problems.listed import ListedProblems, Read, key_of
from tasks.problems.source import DATA_DIR, Numbered, Source, file_of, read_jsonl, text

OWN = Path(__file__).with_name("seed_tasks.jsonl")
"""Short tasks of our own, for demonstrations."""
PAPER = "self_instruct"
FIELDS = frozenset({"id", "name", "instruction", "instances", "is_classification"})
HELD_OUT = {"dev": 20, "test": 25}
FEWEST = 8
"""So many examples stand in a prompt before there are machine-made ones."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One row: an instruction with what it is applied to and what comes out, at least one of each."""

    instruction: str
    instances: tuple[tuple[str, str], ...]
    classification: bool


class SeedTasks(ListedProblems):
    """Seed tasks in their splits. `seeds_instructions` is what tells a set that Self-Instruct can start from."""

    seeds_instructions = True

    def __init__(self, name: str, licence: str, seeds: Sequence[Seed], held_out: Mapping[str, int]) -> None:
        self.seeds = seeds
        splits = split(seeds, held_out)
        self._shown = {key_of(seed.instruction) for seed in splits["train"]}

        def reader(part: str) -> Read:
            return lambda: [_problem(name, part, seed, 0, licence) for seed in splits[part]]

        super().__init__(name, licence, "self_instruct", "rouge_l", {part: reader(part) for part in splits})
        texts = "".join(
            text for seed in seeds for text in (seed.instruction, *(part for one in seed.instances for part in one))
        )
        self.alphabet = "".join(sorted((set(string.printable[:95]) | set(texts)) - {"\n"})) + "\n"
        """Of the seeds, with all that a keyboard has: what is written from them may hold what they do not."""

    def corpus(self, start: int, count: int) -> list[Problem]:
        """Every instance of the train seeds as a worked example: a base of our own can learn how such tasks look."""
        found = [
            _problem(self.name, "train", seed, place, self.licence)
            for seed in self.seeds
            if key_of(seed.instruction) in self._shown
            for place in range(len(seed.instances))
        ]
        return found[start : start + count]


def load(options: str) -> SeedTasks:
    """The tasks of a file, checked row by row; UserMistake names the row of the first one that does not fit."""
    name, rest = _name_and_numbers(options)
    held_out = (HELD_OUT if name else dict.fromkeys(HELD_OUT, 4)) | _numbers(rest)
    path = _file(name)
    seeds = read(read_jsonl(path))
    left = len(seeds) - sum(held_out.values())
    if left < FEWEST:
        raise UserMistake(
            f"{path} has {len(seeds)} tasks, and with dev={held_out['dev']} and test={held_out['test']} held out {max(0, left)} "
            f"are left to show; give at least {FEWEST + sum(held_out.values())}, or hold out fewer"
        )
    licence = "Apache-2.0" if name in ("", PAPER) else ""
    return SeedTasks(f"seed_tasks:{options}" if options else "seed_tasks", licence, seeds, held_out)


def files(options: str) -> Sequence[Path]:
    """The file that is read, where no option names it."""
    name, _ = _name_and_numbers(options)
    return (_file(name),) if name in ("", PAPER) else ()


def read(rows: Iterable[Numbered]) -> list[Seed]:
    """The rows as seeds; raises UserMistake for the first that does not fit, with its number."""
    seeds: list[Seed] = []
    first: dict[str, str] = {}
    for numbered in rows:
        seed = _seed(numbered)
        key = key_of(seed.instruction)
        if key in first:
            raise UserMistake(f"{numbered.where} has the instruction of {first[key]} again; leave one of them out")
        first[key] = numbered.where
        seeds.append(seed)
    return seeds


def split(seeds: Sequence[Seed], held_out: Mapping[str, int]) -> dict[str, list[Seed]]:
    """Test, then dev, are those whose instruction's digest comes first; in each split the file's order."""
    ranks = {key: rank for rank, key in enumerate(sorted((key_of(one.instruction) for one in seeds), key=digest))}
    parts: dict[str, list[Seed]] = {"train": [], "dev": [], "test": []}
    for seed in seeds:
        rank = ranks[key_of(seed.instruction)]
        part = "test" if rank < held_out["test"] else "dev" if rank < held_out["test"] + held_out["dev"] else "train"
        parts[part].append(seed)
    return parts


def _seed(numbered: Numbered) -> Seed:
    row, where = numbered.row, numbered.where
    if unknown := sorted(set(row) - FIELDS):
        raise UserMistake(f"{where} has a field {unknown[0]!r}; a seed task has: {', '.join(sorted(FIELDS))}")
    instruction, listed = text(numbered, "instruction"), row.get("instances")
    if not isinstance(listed, list) or not listed:
        raise UserMistake(f"{where} has no list of instances; give at least one, as {{'input': …, 'output': …}}")
    instances: list[tuple[str, str]] = []
    for place, one in enumerate(listed, start=1):
        given = one.get("input", "") if isinstance(one, dict) else None
        output = one.get("output") if isinstance(one, dict) else None
        if not isinstance(given, str) or not isinstance(output, str) or not output.strip():
            raise UserMistake(f"{where}: instance {place} needs a text as input (it may be empty) and one as output")
        instances.append((given.strip(), output.strip()))
    classification = row.get("is_classification", False)
    if not isinstance(classification, bool):
        raise UserMistake(f"{where}: is_classification is {classification!r}; give true or false")
    return Seed(instruction.strip(), tuple(instances), classification)


def _problem(source: str, part: str, seed: Seed, place: int, licence: str) -> Problem:
    given, output = seed.instances[place]
    told: dict[str, object] = {"input": given, "is_classification": seed.classification}
    kind = "classification" if seed.classification else "other"
    return Problem.of(
        source, part, seed.instruction, output, info=told, rationale=output, stratum=kind, licence=licence
    )


def _name_and_numbers(options: str) -> tuple[str, list[str]]:
    parts = list(filter(None, options.split(",")))
    return (parts[0], parts[1:]) if parts and "=" not in parts[0] else ("", parts)


def _file(name: str) -> Path:
    if name != PAPER:
        return Path(name) if name else OWN
    found = file_of(Source(PAPER, ""), "seed_tasks")
    if found is None:
        raise UserMistake(
            f"the paper's seed tasks are read from {PAPER}/seed_tasks.jsonl in a data folder; set {DATA_DIR} to one (the file is data/"
            "seed_tasks.jsonl of github.com/yizhongw/self-instruct), or name a file of your own: seed_tasks:FILE.jsonl"
        )
    return found


def _numbers(options: Sequence[str]) -> dict[str, int]:
    given: dict[str, int] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in HELD_OUT or not equals or not value.isdigit() or int(value) < 1:
            raise UserMistake(
                f"seed_tasks has no option {option!r}; it has: dev=…, test=… (tasks held out, at least 1 each)"
            )
        given[name] = int(value)
    return given
