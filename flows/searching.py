"""The steps of a tree search that `flows.iteration.Steps` does not have: the search itself, and the value model's training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.config import OWN
from flows.gathered import Gathered, judged_of, outcomes_of
from flows.iteration import Steps
from flows.method_config import RestMctsConfig
from flows.step import Model, accounting_of
from flows.training_set import TrainingSet, training_set_of
from storage.errors import UserMistake
from storage.manifest import Manifest
from tasks.caching import StepRecord
from tasks.composition import SAMPLED
from tasks.engines.protocol import Sampling
from tasks.engines.registry import EngineRef
from tasks.finetune import finetune
from tasks.forest import Search
from tasks.pose import cells
from tasks.pretrained import take_in
from tasks.search import search
from tasks.training.recipe import VALUE
from tasks.tree import SearchRule
from tasks.value_model import Trees, value_set


@dataclass(frozen=True, slots=True)
class Searched:
    """What trees came to: their solutions as attempts with verdicts, and the trees themselves."""

    gathered: Gathered
    trees: tuple[Trees, ...]


def search_of(config: RestMctsConfig) -> Search:
    """How the configuration wants trees to be grown."""
    chosen = config.search
    rule = SearchRule(
        chosen.exploration, chosen.branch, chosen.rollout_steps, chosen.alpha, chosen.end_gate, chosen.rounds,
        chosen.max_steps,
    )  # fmt: skip
    return Search(rule, Sampling(**config.sampling.model_dump()), config.step_delimiter, chosen.step_tokens)


def grow(steps: Steps, iteration: int, model: Model, value: Model, problems: Manifest) -> Searched:
    """A tree for every problem, and a verdict for each of its solutions."""
    config = steps.settings(RestMctsConfig)
    valued_by = {
        "value_engine": EngineRef(config.value.engine),
        "value_checkpoint_id": value.checkpoint_id,
        "value_weights_digest": value.weights_digest,
    }
    return _searched(steps, iteration, "search", "verify", model, problems, search_of(config), valued_by)


def draw(steps: Steps, iteration: int, model: Model, problems: Manifest) -> Searched:
    """Plain samples, step by step, as trees: what the first value model learns from."""
    config = steps.settings(RestMctsConfig)
    how = search_of(config)
    how = replace(how, rule=replace(how.rule, branch=config.value.samples))
    return _searched(steps, iteration, "draw", "verify drawn", model, problems, how, {})


def first_value(steps: Steps, base: Model) -> Model:
    """What the value model starts from: the loop's base, or the model that the configuration names, taken in."""
    source = steps.settings(RestMctsConfig).value.source
    if source == OWN:
        if base.kind == "adapter":
            raise UserMistake(
                "the loop starts from an adapter, which cannot become a value model; name a causal model in value.source, "
                "or merge the adapter with `starloop merge`"
            )
        return base
    facts = steps.loop.run(0, "take in value", take_in, [{"model": steps.loop.find_model(source)}])[0].output.facts
    return Model(str(facts["checkpoint_id"]), str(facts["weights_digest"]))


def values_of(steps: Steps, iteration: int, trees: tuple[Trees, ...], title: str = "value set") -> TrainingSet:
    """What each step of the trees was worth, as a training set."""
    call = {"trees": trees, "template": steps.template, "seed": steps.config.seed, "chat": steps.chat}
    return training_set_of(steps.loop.run(iteration, title, value_set, [call])[0])


def fit(
    steps: Steps, iteration: int, start: Model, values: TrainingSet, title: str = "fit value"
) -> tuple[Model, dict[str, Any]]:
    """The next value model, and its training's facts."""
    training = steps.settings(RestMctsConfig).value.training
    call = {
        "base_checkpoint_id": start.checkpoint_id,
        "architecture": None,
        "examples": values.examples,
        "members": values.members,
        "mix_id": values.mix_id,
        "recipe": replace(training.recipe(training.steps_in(iteration)), objective=VALUE),
        "seed": steps.config.seed,
    }
    facts = steps.loop.run(iteration, title, finetune, [call])[0].output.facts
    return Model(str(facts["checkpoint_id"]), str(facts["weights_digest"]), str(facts["kind"])), dict(facts)


def _searched(
    steps: Steps, iteration: int, title: str, judging: str, model: Model, problems: Manifest, how: Search, more: dict[str, Any]
) -> Searched:  # fmt: skip
    parts = cells(problems, steps.loop.runtime.shards)
    calls = [steps.writing(part, model) | {"how": how} | more for part in parts]
    grown = steps.loop.run(iteration, title, search, calls)
    verdicts = steps.judge(iteration, judging, parts, grown)
    total = accounting_of(verdicts)
    decided = total.ok + total.rejected
    gathered = Gathered(problems, judged_of(SAMPLED, parts, grown, verdicts), outcomes_of(verdicts))
    gathered.summary = {
        "attempts": total.asked,
        "correct": total.ok,
        "undecided": total.undecided,
        "failed": total.failed,
        "rationalized_attempts": 0,
        "rationalized_correct": 0,
        "train_accuracy": total.ok / decided if decided else None,
        "sampled_tokens": _sum(grown, "tokens"),
        "nodes": _sum(grown, "nodes"),
        "values_read": _sum(grown, "valued"),
        "search_rounds": _sum(grown, "rounds"),
        "trees_at_the_gate": _sum(grown, "gated"),
        "trees_without_solution": accounting_of(grown).undecided,
    }
    return Searched(gathered, trees_of(parts, grown, verdicts))


def trees_of(
    parts: Sequence[Manifest], grown: Sequence[StepRecord], verdicts: Sequence[StepRecord]
) -> tuple[Trees, ...]:
    """The trees of a step, cell by cell."""
    return tuple(
        Trees(part, one.output.manifests["nodes"], one.output.manifests["steps"], one.output.manifests["attempts"],
              judged.output.manifests["verdicts"])
        for part, one, judged in zip(parts, grown, verdicts, strict=True)
    )  # fmt: skip


def _sum(records: Sequence[StepRecord], name: str) -> int:
    return sum(int(str(record.output.facts[name])) for record in records)
