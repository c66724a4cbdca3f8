"""A training set streams: what comes out is what came out when everything was a list in memory."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from storage.home import Home
from storage.id_tally import IdTally, id_array
from storage.identity import content_id, digest
from storage.manifest import Accounting
from storage.records import Example, ExampleEvidence, Mix, MixMember
from storage.shards import Shards
from tasks.composition import Candidate, Composition
from tasks.selection import Limits, within


@dataclass(frozen=True)
class Whole:
    """A training set by the plain algorithm, on lists."""

    mix_id: str
    members: list[tuple[str, str]]
    evidence: list[ExampleEvidence]
    sizes: Counter


def composed(generated: Sequence[Candidate], given: Sequence[Candidate], cap: int, seed: int) -> Whole:
    """What `Composition` has to agree with, as the first release wrote it."""
    once = list({one.example.example_id: one for one in reversed(generated)}.values())[::-1]
    seen: Counter[str] = Counter()
    kept = []
    for one in once:
        seen[one.evidence.problem_id] += 1
        if not cap or seen[one.evidence.problem_id] <= cap:
            kept.append(one)
    trained_on = {one.example.example_id for one in kept}
    evidence = [one for one in generated if one.example.example_id in trained_on]
    order = [*kept, *given]
    random.Random(seed).shuffle(order)
    sizes: Counter[str] = Counter()
    for one in order:
        sizes[one.evidence.origin] += len(one.example.completion)
    return Whole(
        content_id("mix", members=[[one.example.example_id, one.evidence.origin, 1.0] for one in order]),
        [(one.example.example_id, one.evidence.origin) for one in order],
        list(dict.fromkeys(one.evidence for one in [*evidence, *given])),
        sizes,
    )


def candidate(draw: random.Random, origins: Sequence[str], texts: int, problems: int) -> Candidate:
    example = Example.of("prompt", "x" * draw.randrange(5) + str(draw.randrange(texts)))
    problem = digest("problem", draw.randrange(problems))
    return Candidate(example, ExampleEvidence(example.example_id, problem, draw.choice(origins)))


@pytest.mark.parametrize("cap", [0, 1, 3])
@pytest.mark.parametrize("texts", [3, 40, 100_000])
def test_a_streamed_training_set_is_the_one_that_lists_give(tmp_path, cap, texts):
    draw = random.Random(f"{cap} {texts}")
    shards = Shards(Home.open(tmp_path))
    generated = [candidate(draw, ("sampled", "rationalized"), texts, 60) for _ in range(400)]
    given = [candidate(draw, ("original",), texts, 60) for _ in range(50)]
    whole = composed(generated, given, cap, seed=5)
    composition = Composition(shards)
    batches, rest = [], list(generated)
    while rest:
        size = draw.randrange(120)
        batches.append(rest[:size])
        rest = rest[size:]
    chosen = within(batches, Limits(cap)) if cap else None
    for batch in batches:
        composition.offer(chosen.those_of(batch) if chosen else batch)
    composition.include(given[:20])
    composition.include(given[20:])
    output = composition.seal(Accounting(450, 450), seed=5)
    members = shards.read(output.manifests["members"], MixMember)
    assert [(one.example_id, one.role) for one in members] == whole.members
    assert [one.position for one in members] == list(range(len(members)))
    assert output.facts["mix_id"] == whole.mix_id == members[0].mix_id
    assert shards.read(output.manifests["evidence"], ExampleEvidence) == whole.evidence
    examples = shards.read(output.manifests["examples"], Example)
    assert {one.example_id for one in examples} == {example_id for example_id, _ in whole.members}
    assert len(examples) == len({one.example_id for one in examples})
    counts = Counter(origin for _, origin in whole.members)
    assert output.facts["rows_by_origin"] == counts
    by_models = counts["sampled"] + counts["rationalized"]
    assert shards.read(output.manifests["mix"], Mix) == [
        Mix(whole.mix_id, len(whole.members), counts["original"], by_models)
    ]
    assert output.facts["self_share"] == by_models / len(members)
    assert output.facts["self_share_by_characters"] == pytest.approx(
        1 - whole.sizes["original"] / whole.sizes.total(), abs=1e-12
    )
    assert composition.kept == by_models


def test_a_training_set_does_not_depend_on_the_size_of_shards(tmp_path):
    """More members than a shard holds: each piece goes on where the last ended."""
    draw = random.Random(0)
    rows = [candidate(draw, ("corpus",), 50, 10) for _ in range(100)] * 700
    composition = Composition(Shards(Home.open(tmp_path)))
    composition.include(rows)
    output = composition.seal(Accounting(1, 1), seed=0)
    assert len(output.manifests["members"].shards) == 2
    whole = composed([], rows, 0, seed=0)
    assert output.facts["mix_id"] == whole.mix_id
    members = Shards(Home.open(tmp_path)).read(output.manifests["members"], MixMember)
    assert [(one.example_id, one.role) for one in members] == whole.members


def test_a_tally_counts_what_a_counter_counts():
    draw = random.Random(1)
    tally, counter = IdTally(), Counter[str]()
    ids = [digest(n) for n in range(200)] + ["0" * 32, "0" * 30 + "01", "01" + "0" * 30]  # zeros end no id early
    for size in (0, 1, 1000, 3, 0, 500, 20, 20, 20, 2000):
        batch = [draw.choice(ids) for _ in range(size)]
        expected = []
        for one in batch:
            expected.append(counter[one])
            counter[one] += 1
        assert tally.add(id_array(batch)).tolist() == expected
    assert len(tally) == len(counter)
    assert tally.times(id_array(ids)).tolist() == [counter[one] for one in ids]
    assert tally.add(id_array(ids)).sum() == counter.total()


def test_a_tally_holds_few_runs_however_many_batches_come():
    tally = IdTally()
    rows = np.random.default_rng(0).integers(0, 256, (300 * 64, 16), np.uint8).view("S16").ravel()
    for first in range(0, len(rows), 64):
        assert not tally.add(rows[first : first + 64]).any()
    assert len(tally._runs) <= 10
