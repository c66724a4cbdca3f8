"""How fast a new instruction is compared with 50,000 others, and whether that is ROUGE-L: `python -m benchmarks.novelty`.

The pool is made of the words of seed tasks (`self_instruct/seed_tasks.jsonl` of the data folder, else our own), as long as those are and
with their words as frequent, since no real pool of that size is here: half of the candidates are fresh, half are instructions of the
pool with some words changed, so that both verdicts come. The speed is that of `Pool.admit`, which says of each candidate in turn whether
it is new, and what is nearest; the pool's own making is not counted. The plain definition is `rouge_score`'s RougeScorer, one pair
after the other.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.gold_answers import data_folder
from tasks.problems.seed_tasks import OWN, read
from tasks.problems.source import read_jsonl
from tasks.verifiers.novelty import Pool
from tasks.verifiers.rouge import f_measure, words

THRESHOLD = 0.7
POOL, CANDIDATES, PAIRS, WHOLE, FEW = 50_000, 2_000, 2_000, 20, 2_000


@dataclass(frozen=True, slots=True)
class Novelty:
    """`per_second` candidates by so many threads, and by a second of processor time; `plain_per_second`: through RougeScorer, from a few.

    `unequal`: pairs of `pairs` whose verdict is another, or whose score differs at all; `nearest_unequal`: candidates of `whole` for which
    RougeScorer finds another highest score in a pool.
    """

    pool: int
    candidates: int
    admitted: int
    threads: int
    per_second: float
    per_processor_second: float
    plain_per_second: float
    pairs: int
    above: int
    unequal: int
    whole: int
    nearest_unequal: int

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        return (
            f"{self.candidates:,} candidates against {self.pool:,} instructions: {self.per_second:,.0f} a second with {self.threads} threads, "
            f"{self.per_processor_second:,.0f} a second of processor time ({self.admitted:,} admitted). RougeScorer, one pair after the other: "
            f"{self.plain_per_second:.2g} a second. Of {self.pairs:,} random pairs ({self.above:,} above {THRESHOLD}) {self.unequal} have another "
            f"verdict or score than by RougeScorer; of {self.whole} candidates' nearest in {FEW:,} texts, {self.nearest_unequal}. "
            "Measured by `python -m benchmarks.novelty`."
        )


def measure(
    pool: int = POOL, candidates: int = CANDIDATES, pairs: int = PAIRS, threads: int = 2, seed: int = 0
) -> Novelty:
    """Speed on so many, and agreement with the definition on so many pairs."""
    draw = random.Random(seed)
    texts = instructions(pool, draw)
    asked = [
        changed(draw.choice(texts), draw) if draw.random() < 0.5 else one for one in instructions(candidates, draw)
    ]
    there = Pool(texts, threads)
    began, used = time.perf_counter(), time.process_time()
    said = there.admit(asked, THRESHOLD)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    differ, above = agreement(texts, scorer, pairs, draw)
    few = texts[:FEW]
    began = time.perf_counter()
    plain = [max(_plain(scorer, other, one) for other in few) for one in asked[:WHOLE]]
    plain_seconds = (time.perf_counter() - began) * len(texts) / len(few)
    nearest = Pool(few, threads).nearest(asked[:WHOLE])
    return Novelty(
        len(texts), len(asked), sum(one.admitted for one in said), threads, len(asked) / seconds, len(asked) / used, WHOLE / plain_seconds, pairs, above,
        differ, WHOLE, sum(one.score != other for one, other in zip(nearest, plain, strict=True)),
    )  # fmt: skip


def agreement(texts: Sequence[str], scorer: RougeScorer, pairs: int, draw: random.Random) -> tuple[int, int]:
    """Of random pairs, half of them alike: how many are scored otherwise than by definition, and how many are above the threshold."""
    differ = above = 0
    for _ in range(pairs):
        one = draw.choice(texts)
        other = changed(one, draw) if draw.random() < 0.5 else draw.choice(texts)
        plain, ours = _plain(scorer, other, one), f_measure(words(one), words(other))
        (admitted,) = Pool([other]).admit([one], THRESHOLD)
        differ += plain != ours or (plain > THRESHOLD) is admitted.admitted or plain != admitted.nearest.score
        above += plain > THRESHOLD
    return differ, above


def instructions(count: int, draw: random.Random) -> list[str]:
    """Texts with the words, and of the lengths, of real instructions; the words that come once stand for thousands that do."""
    folder = data_folder()
    path = folder / "self_instruct" / "seed_tasks.jsonl" if folder else OWN
    seeds = read(read_jsonl(path if path.is_file() else OWN))
    split = [seed.instruction.split() for seed in seeds]
    bag = [word for one in split for word in one]
    return [
        " ".join(
            f"{word}{draw.randrange(300)}" if len(word) > 6 else word
            for word in draw.choices(bag, k=len(draw.choice(split)))
        )
        for _ in range(count)
    ]


def changed(text: str, draw: random.Random) -> str:
    """The same with up to half of its words taken out, put elsewhere or replaced."""
    found = text.split()
    for _ in range(draw.randrange(1 + len(found) // 2)):
        place = draw.randrange(len(found))
        match draw.randrange(3):
            case 0 if len(found) > 1:
                del found[place]
            case 1:
                found.insert(draw.randrange(len(found)), found.pop(place))
            case _:
                found[place] = f"Another{draw.randrange(50)},"
    return " ".join(found)


def _plain(scorer: RougeScorer, target: str, prediction: str) -> float:
    return scorer.score(target, prediction)["rougeL"].fmeasure


def main() -> None:
    """Measure, and say what came out."""
    sys.stdout.write(f"{measure().sentence}\n")


if __name__ == "__main__":
    main()
