"""What an iteration trains on, with the figures that are shown of it."""

from dataclasses import dataclass
from typing import Any

from storage.manifest import Manifest
from tasks.caching import StepRecord
from tasks.composition import GENERATED, RATIONALIZED
from tasks.training.pairs import CHOSEN

OF_PAIRS = ("pairs", "paired_problems", "preference")
"""What is said of a training set of pairs beside the rest; `preference` is what the training did to their likelihoods."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A mix with its examples, as fine-tuning takes them."""

    mix_id: str
    examples: Manifest
    members: Manifest
    facts: dict[str, Any]


def training_set_of(record: StepRecord) -> TrainingSet:
    """What a `mix` or `collect` step made."""
    manifests, facts = record.output.manifests, record.output.facts
    return TrainingSet(str(facts["mix_id"]), manifests["examples"], manifests["members"], dict(facts))


def mixed(examples: TrainingSet) -> dict[str, Any]:
    """A training set's figures, for the iteration's summary."""
    origins: dict[str, int] = examples.facts["rows_by_origin"]
    return {
        "kept": sum(origins.get(origin, 0) for origin in (*GENERATED, CHOSEN)),
        "rationalized_kept": origins.get(RATIONALIZED, 0),
        "train_rows": examples.facts["rows"],
        "rows_by_origin": origins,
        "original_share": 1 - examples.facts["self_share"],
        "originals_missing": missing_originals(examples.facts),
        "self_share_by_characters": examples.facts["self_share_by_characters"],
        "mix_id": examples.mix_id,
        **{name: examples.facts[name] for name in OF_PAIRS if name in examples.facts},
        **({"preference_margin": shift["margin_after"]} if (shift := examples.facts.get("preference")) else {}),
    }


def missing_originals(facts: dict[str, Any]) -> int:
    """How many rows of original data a mix would need more to have the share of them that was wanted."""
    share = facts.get("self_share_wanted", 1.0)
    generated = round(facts["rows"] * facts["self_share"])
    return max(0, round(generated * (1 - share) / share) - (facts["rows"] - generated))
