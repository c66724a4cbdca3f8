"""What the ledger says for and against a checkpoint: the same items answered by it and by another, looks at them, what they touch.

>>> paired(lineage, evaluation_id, other_id)
Paired(n=1000, gained=63, lost=21, undecided=4, accuracy=0.871, other_accuracy=0.829)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.contamination import Contaminated, contamination
from storage.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Paired:
    """Two evaluations on the items they have in common and that both decided. `gained`: right now, wrong for the other.

    `undecided` counts common items that either left open; they are in no other figure. The accuracies are weighted as evaluations are.
    """

    n: int
    gained: int
    lost: int
    undecided: int
    accuracy: float
    other_accuracy: float

    @property
    def effect(self) -> float:
        """The difference of the accuracies, as a share."""
        return self.accuracy - self.other_accuracy


@dataclass(frozen=True, slots=True)
class Looks:
    """How often these test items were looked at: distinct evaluations, and the checkpoints they were of."""

    evaluations: int
    checkpoints: int


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A greedy answer as it was recorded: the prompt as the engine was given it, and what came."""

    prompt: str
    text: str
    engine: str
    sampling: str


@dataclass(frozen=True, slots=True)
class Met:
    """The examples of a training set that meet an evaluation's problems; `kind` is the plainest way in which one does."""

    mix_id: str
    evaluation_id: str
    examples: int
    problems: int
    kind: str


def paired(lineage: Lineage, evaluation_id: str, other_id: str) -> Paired:
    """The two evaluations item by item; with nothing in common, all zero."""
    query = (
        "with item as (select a.weight, a.passed, b.passed as other from v_evaluation_item a join v_evaluation_item b "
        "on b.evaluation_id = $other and b.problem_id = a.problem_id where a.evaluation_id = $one), "
        "decided as (from item where passed is not null and other is not null) "
        "select count(*), count(*) filter (where passed and not other), count(*) filter (where other and not passed), "
        "(select count(*) from item) - count(*), coalesce(sum(weight) filter (where passed) / sum(weight), 0), "
        "coalesce(sum(weight) filter (where other) / sum(weight), 0) from decided"
    )
    return Paired(*lineage.rows(query, {"one": evaluation_id, "other": other_id})[0])


def looks(lineage: Lineage, evaluation_id: str) -> Looks:
    """How often problems of this evaluation were looked at as a test so far, itself among them."""
    query = (
        "select count(distinct i.evaluation_id), count(distinct e.checkpoint_id) from evaluation_item i "
        "join evaluation e using (evaluation_id) where i.evaluation_id in (select evaluation_id from v_test_look) and i.problem_id in "
        "(select problem_id from evaluation_item where evaluation_id = ?)"
    )
    return Looks(*lineage.rows(query, [evaluation_id])[0])


def mixes_behind(lineage: Lineage, checkpoint_id: str) -> list[str]:
    """Every training set in a checkpoint's history, its own first."""
    return list(
        dict.fromkeys(one.mix_id for one in lineage.checkpoint_ancestry(checkpoint_id) if one.mix_id is not None)
    )


def met(lineage: Lineage, mixes: Sequence[str], evaluations: Sequence[str]) -> list[Met]:
    """Where training sets give away evaluations; empty where none does."""
    found: list[Met] = []
    for mix_id in mixes:
        for evaluation_id in evaluations:
            rows = contamination(lineage, mix_id, evaluation_id)
            if rows:
                found.append(_met(mix_id, evaluation_id, rows))
    return found


def _met(mix_id: str, evaluation_id: str, rows: Sequence[Contaminated]) -> Met:
    plainest = min(rows, key=lambda one: ("exact", "normalised", "ngram").index(one.kind)).kind
    return Met(
        mix_id, evaluation_id, len({one.example_id for one in rows}), len({one.problem_id for one in rows}), plainest
    )


def tainted_examples(lineage: Lineage, checkpoint_id: str) -> int:
    """How many examples in a checkpoint's history stand on a verdict that no longer holds."""
    query = (
        "select count(distinct t.example_id) from v_taint t join v_checkpoint_ancestry a on a.ancestor_id = t.checkpoint_id "
        "where a.checkpoint_id = ?"
    )
    return lineage.rows(query, [checkpoint_id])[0][0]


def tainted_items(lineage: Lineage, evaluations: Sequence[str]) -> int:
    """How many evaluated problems have a verdict that no longer holds."""
    query = "select count(*) from v_evaluation_taint where evaluation_id in (select unnest(?::uuid[]))"
    return lineage.rows(query, [list(evaluations)])[0][0]


def recorded_answers(lineage: Lineage, evaluation_id: str, count: int) -> list[RecordedAnswer]:
    """Greedy answers of an evaluation, spread evenly over its items in the order of their ids; failed ones are left out."""
    query = (
        "with answered as (select p.text as prompt, a.text, a.engine, a.sampling, "
        "row_number() over (order by i.problem_id) - 1 as place, count(*) over () as n from evaluation_item i "
        "join attempt a using (attempt_id) join prompt p using (prompt_id) where i.evaluation_id = $one and "
        "a.finish_reason <> 'failed' and (a.sampling::json->>'temperature')::double = 0) "
        "select prompt, text, engine, sampling from answered "
        "where place % greatest(1, n // $count) = 0 order by place limit $count"
    )
    return [RecordedAnswer(*row) for row in lineage.rows(query, {"one": evaluation_id, "count": count})]
