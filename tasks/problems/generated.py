"""Any generator of the package reasoning-gym: `reasoning_gym:leg_counting`, `reasoning_gym:chain_sum,min_terms=2,max_terms=3`.

    Problem(source='reasoning_gym:leg_counting', split='train', question='Your task is to count how many legs …', gold='187',
            info={'generator': 'leg_counting', 'options': {}, 'index': 1003, 'seed': 20260101, …})

A generator makes item i from a seed and i alone, and the item of seed s + 1 at i is that of seed s at i + 1: so splits are ranges
of indexes under one seed, never seeds. Test is 0 to 499, dev 500 to 999, train from 1000 on without end; a small generator
says the same again, so train does without what dev and test ask, and dev without what test asks.

Some generators (graph_color) have many right answers and name none: their problems have no gold answer, and are verified all the
same, but cannot be rationalized. Options are those of the generator's own configuration, each a number, true, false or a word.
"""

import json
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.listed import key_of
from tasks.problems.protocol import check_split

SEED = 20_260_101
HELD_OUT = {"test": range(500), "dev": range(500, 1000)}
TRAIN_FROM = 1000
ENDLESS = 2**31
COUNTS = {"acre": 4_000, "gsm_symbolic": 1_000_000, "list_functions": 1_000_000, "word_ladder": 20_000}
"""Generators that plan all their items ahead: these have an end."""
UNREPEATABLE = frozenset({"isomorphic_strings", "polynomial_multiplication", "ransom_note"})
"""Generators that go through sets of words, in an order that every process has for itself: its item 7 is not another's."""
STRIDE = 1_000_003
TRIES = 50
LICENCE = "Apache-2.0"
INSTALL = "pip install reasoning-gym"


@lru_cache(maxsize=16)
def load(options: str) -> "GeneratedProblems":
    """The problems of one generator. What is held out is made once a process: of a slow generator it takes a minute."""
    name, _, rest = options.partition(",")
    return GeneratedProblems(name, _settings(name, rest), f"reasoning_gym:{options}")


class GeneratedProblems:
    """The problem set `reasoning_gym:<generator>`. Train is a stream; dev and test have at most 500 problems each."""

    licence = LICENCE
    template = "reasoning_gym"
    verifier = "reasoning_gym"

    def __init__(self, generator: str, settings: dict[str, Any], name: str) -> None:
        self.name, self._generator, self._settings = name, generator, settings
        self._count = COUNTS.get(generator, ENDLESS)
        self._items = items_of(generator, json.dumps(settings), self._count)
        self._lists: dict[str, list[Problem]] = {}

    def size(self, split: str) -> int | None:
        """How many problems dev and test have; None for train, which has no end (but of the generators in `COUNTS`)."""
        check_split(split)
        if split != "train":
            return len(self._listed(split))
        return None if self._count == ENDLESS else self._count - TRAIN_FROM

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        """Position p of train is item 1000 + p, or where that asks what is held out, the first of STRIDE further on that does not."""
        check_split(split)
        if split != "train":
            return self._listed(split)[start : start + count]
        return [self._trained(place) for place in range(start, min(start + count, self._count - TRAIN_FROM))]

    def _trained(self, place: int) -> Problem:
        for further in range(place, place + TRIES * STRIDE, STRIDE):
            index = TRAIN_FROM + further % (self._count - TRAIN_FROM)
            (problem,) = self.made("train", range(index, index + 1))
            if key_of(problem.question) not in self._barred:
                return problem
        raise UserMistake(
            f"{self.name} asks hardly anything that is not held out; give it options that make more different problems"
        )

    def corpus(self, start: int, count: int) -> list[Problem]:
        """None: a generator gives answers and no worked solutions."""
        del start, count
        return []

    def _listed(self, split: str) -> list[Problem]:
        """The problems of dev or test, each question once, and none of dev that test has."""
        if split not in self._lists:
            barred = self._keys("test") if split == "dev" else set[str]()
            kept: dict[str, Problem] = {}
            for problem in self.made(split, HELD_OUT[split]):
                if key_of(problem.question) not in barred:
                    kept.setdefault(key_of(problem.question), problem)
            self._lists[split] = list(kept.values())
        return self._lists[split]

    def _keys(self, split: str) -> set[str]:
        return {key_of(problem.question) for problem in self._listed(split)}

    @cached_property
    def _barred(self) -> set[str]:
        return self._keys("test") | self._keys("dev")

    def made(self, split: str, indexes: range) -> Iterator[Problem]:
        """The problems that these items are, as problems of a split, held out or not."""
        for index in indexes:
            item = self._items[index]
            gold = None if item["answer"] is None else str(item["answer"]).strip() or None
            info = {
                "generator": self._generator,
                "options": self._settings,
                "index": index,
                "seed": SEED,
                "size": self._count,
            }
            yield Problem.of(self.name, split, str(item["question"]).strip(), gold, info=info, licence=LICENCE)


@lru_cache(maxsize=16)
def items_of(generator: str, settings: str, count: int) -> Any:
    """The package's own data set: items by index, and `score_answer`. `settings` is JSON."""
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise UserMistake(f"reasoning_gym:{generator} needs the package reasoning-gym; {INSTALL}") from None
    if generator not in DATASETS:
        near = [name for name in sorted(DATASETS) if generator and generator[:4] in name] or sorted(DATASETS)
        raise UserMistake(f"reasoning-gym has no generator {generator!r}; it has: {', '.join(near)}")
    if generator in UNREPEATABLE:
        raise UserMistake(
            f"reasoning_gym:{generator} makes other problems in every process, so none could be judged again; take another generator"
        )
    try:
        return reasoning_gym.create_dataset(generator, size=count, seed=SEED, **json.loads(settings))
    except (TypeError, ValueError, AssertionError) as mistake:
        raise UserMistake(f"reasoning_gym:{generator} does not take {settings}: {mistake}") from mistake


def _settings(generator: str, options: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if not equals or name in {"seed", "size"}:
            raise UserMistake(
                f"reasoning_gym:{generator} has no option {option!r}; give the generator's own, such as min_terms=2, but not seed or size"
            )
        try:
            chosen[name] = json.loads(value)
        except ValueError:
            chosen[name] = value
    return chosen
