"""Verdicts that no longer hold, and everything that stood on them: what a reverification brings to light.

    >>> flips(lineage, run_id)[0]
    Flip(attempt_id='8d1f…', verifier='sums', was_version='sums@3f2a91c0', was=True, now_version='sums@9b04d7e1', now=False, …)
    >>> consequences(lineage, run_id).checkpoints
    [TaintedCheckpoint(checkpoint_id='51e0…', examples=12, unsupported=9, descendants=3)]

A verdict no longer holds when the newest version of its verifier that judged the same attempt comes to another outcome. Not
covered: what would have been generated otherwise (a failure that now passes was rationalized for nothing).
"""

from dataclasses import dataclass

from storage.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Flip:
    """An attempt whose outcome changed. None is undecided; `split` is the problem's."""

    attempt_id: str
    verifier: str
    was_version: str
    was: bool | None
    now_version: str
    now: bool | None
    problem_id: str | None
    split: str | None
    question: str | None
    gold: str | None
    text: str | None
    was_answer: str | None
    now_answer: str | None
    was_reason: str | None
    now_reason: str | None
    written_by: str | None


@dataclass(frozen=True, slots=True)
class Tainted:
    """An example in a training set whose evidence no longer holds; `other_evidence` counts what still speaks for it, `promotions`
    how often its checkpoint, or one made from that, was promoted.
    """

    mix_id: str
    example_id: str
    origin: str
    problem_id: str
    attempt_id: str
    verifier: str
    was_version: str
    was: bool | None
    now_version: str
    now: bool | None
    other_evidence: int
    training_id: str | None
    checkpoint_id: str | None
    promotions: int


@dataclass(frozen=True, slots=True)
class TaintedMix:
    """A training set with such examples. `unsupported`: those for which nothing else speaks; `rows`: its size."""

    mix_id: str
    examples: int
    unsupported: int
    rows: int
    training_id: str | None


@dataclass(frozen=True, slots=True)
class TaintedCheckpoint:
    """A checkpoint that was trained on such examples. `descendants`: the later checkpoints made from it."""

    checkpoint_id: str
    examples: int
    unsupported: int
    descendants: int


@dataclass(frozen=True, slots=True)
class TaintedEvaluation:
    """An evaluation with items whose verdict no longer holds: `gained` would count as passed now, `lost` no more."""

    evaluation_id: str
    checkpoint_id: str
    split: str
    items: int
    gained: int
    lost: int
    n: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class TaintedPromotion:
    """A promotion (or rollback, or move by hand) of a checkpoint that stands on such examples, or on such an evaluation."""

    event_seq: int
    action: str
    model_name: str
    alias: str
    version: int | None
    checkpoint_id: str
    examples: int
    items: int


@dataclass(frozen=True, slots=True)
class Consequences:
    """What stood on verdicts that no longer hold."""

    examples: list[Tainted]
    mixes: list[TaintedMix]
    checkpoints: list[TaintedCheckpoint]
    evaluations: list[TaintedEvaluation]
    promotions: list[TaintedPromotion]


JUDGED = "attempt_id in (select v.attempt_id from v_output o join verdict v on v.verdict_id = o.id where o.run_id = ?)"
"""The attempts that a run judged; the parameter is its id."""


def flips(lineage: Lineage, run_id: str) -> list[Flip]:
    """The changed outcomes among what a run judged, those that were trained on or scored as passed first."""
    return lineage.read(
        Flip, "v_flip", JUDGED, [run_id], "was desc nulls last, verifier, was_version, question, attempt_id"
    )


def taint(lineage: Lineage, run_id: str) -> list[Tainted]:
    """The examples in training sets that stood on a changed outcome among what a run judged."""
    return lineage.read(Tainted, "v_taint", JUDGED, [run_id], "mix_id, example_id, attempt_id, was_version")


def consequences(lineage: Lineage, run_id: str) -> Consequences:
    """Everything that stood on a changed outcome among what a run judged."""
    examples = taint(lineage, run_id)
    counted = (
        "(select {by}, count(distinct example_id) as examples, "
        "count(distinct example_id) filter (where other_evidence = 0) as unsupported from v_taint "
        f"where {JUDGED} and {{by}} is not null group by {{by}})"
    )
    mixes = (
        f"(select t.*, m.rows, f.training_id from {counted.format(by='mix_id')} t join mix m using (mix_id) "
        "left join training f using (mix_id))"
    )
    checkpoints = (
        "(select t.*, (select count(distinct a.checkpoint_id) from v_checkpoint_ancestry a where a.depth > 0 and "
        f"a.ancestor_id = t.checkpoint_id) as descendants from {counted.format(by='checkpoint_id')} t)"
    )
    evaluations = (
        "(select t.evaluation_id, e.checkpoint_id, e.split, count(distinct t.problem_id) as items, "
        "count(distinct t.problem_id) filter (where t.now) as gained, "
        "count(distinct t.problem_id) filter (where t.was) as lost, e.n, e.accuracy "
        f"from (select * from v_evaluation_taint where {JUDGED}) t join evaluation e using (evaluation_id) "
        "group by all)"
    )
    found_mixes = lineage.read(TaintedMix, mixes, "true", [run_id], "examples desc, mix_id, training_id")
    found_checkpoints = lineage.read(TaintedCheckpoint, checkpoints, "true", [run_id], "examples desc, checkpoint_id")
    found_evaluations = lineage.read(TaintedEvaluation, evaluations, "true", [run_id], "items desc, evaluation_id")
    found_promotions = lineage.read(
        TaintedPromotion,
        "v_promotion_taint",
        "checkpoint_id in (select a.checkpoint_id from v_checkpoint_ancestry a where a.ancestor_id in (select unnest(?::uuid[]))) "
        "or checkpoint_id in (select unnest(?::uuid[]))",
        [[one.checkpoint_id for one in found_checkpoints], [one.checkpoint_id for one in found_evaluations]],
        "event_seq",
    )
    return Consequences(examples, found_mixes, found_checkpoints, found_evaluations, found_promotions)
