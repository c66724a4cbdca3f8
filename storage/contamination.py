"""What a training set gives away: examples that meet an evaluation's problems, and examples that repeat each other.

    >>> contamination(lineage, mix_id, evaluation_id)
    [Contaminated(example_id='5f…', problem_id='0c…', kind='ngram', shared=21)]

Both are table macros of the ledger, so the same can be asked in SQL: `from contamination(mix_id, evaluation_id)`.
"""

from dataclasses import dataclass

from storage.lineage import Lineage

WORDS = 13
"""Words in a row that count as the same text: GPT-3, appendix C."""


@dataclass(frozen=True, slots=True)
class Contaminated:
    """An example that meets an evaluated problem. `kind`: exact, normalised or ngram; `shared`: runs of words in common."""

    example_id: str
    problem_id: str
    kind: str
    shared: int


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two examples of one training set that say nearly the same. `kind`: same words, or overlap.

    Of their runs of words, `jaccard` is what both have as a share of all, `containment` as a share of the smaller one's.
    """

    example_id: str
    other_id: str
    kind: str
    containment: float
    jaccard: float


def contamination(lineage: Lineage, mix_id: str, evaluation_id: str, words: int = WORDS) -> list[Contaminated]:
    """The examples of a training set that meet an evaluation's problems, the plainest first.

    Raises UserMistake for an id that names nothing.
    """
    given = [lineage.find(mix_id, ["mix"]).id, lineage.find(evaluation_id, ["evaluation"]).id]
    source = f"contamination(?::uuid, ?::uuid, n := {int(words)})"
    return lineage.read(Contaminated, source, "true", given, "kind, shared desc, example_id, problem_id")


def near_duplicates(lineage: Lineage, mix_id: str, words: int = 5, threshold: float = 0.8) -> list[NearDuplicate]:
    """The pairs of examples of a training set that say nearly the same, the nearest first; `threshold` is of `jaccard`.

    Raises UserMistake for an id that names nothing.
    """
    source = f"near_duplicates(?::uuid, n := {int(words)}, threshold := {float(threshold)})"
    given = [lineage.find(mix_id, ["mix"]).id]
    return lineage.read(NearDuplicate, source, "true", given, "jaccard desc, containment desc, example_id, other_id")
