"""The steps `rank`: a verifier trained on all right and wrong answers so far, which picks among several on dev (V-STaR)."""

from typing import TYPE_CHECKING, Any

from flows.step import Model, joined
from flows.training_set import training_set_of
from storage.errors import UserMistake
from storage.manifest import Manifest
from tasks.engines.registry import EngineRef
from tasks.pair_up import pair_up
from tasks.pose import cells
from tasks.rank import WAYS, Ranker, pick, rank
from tasks.sample import sample

if TYPE_CHECKING:
    from flows.iteration import Steps


def ranked(steps: "Steps", iteration: int, base: Model, model: Model) -> dict[str, Any]:
    """For the iteration's summary: what its model's answers are worth by each way of picking; nothing where it is off."""
    config = steps.config.rank
    if config.by == "none" or not steps.history:
        return {}
    verifier = _verifier(steps, iteration, base)
    if verifier is None:
        return {}
    against = config.by == "ratio"
    ranker = Ranker(
        verifier.checkpoint_id,
        verifier.weights_digest,
        base.checkpoint_id if against else None,
        base.weights_digest if against else None,
    )
    problems: Manifest = steps.pose(iteration, "dev", 0, config.problems, "rank problems")
    parts = cells(problems, steps.loop.runtime.shards)
    calls = [
        steps.writing(part, model) | {"sampling": steps.drawing(), "first_sample": 0, "samples": config.samples}
        for part in parts
    ]
    attempts = steps.loop.run(iteration, "rank sample", sample, calls)
    verdicts = steps.judge(iteration, "rank verify", parts, attempts)
    calls = [
        {
            "attempts": one.output.manifests["attempts"],
            "prompts": one.output.manifests["prompts"],
            "ranker": ranker,
            "engine": EngineRef(steps.config.engine),
        }
        for one in attempts
    ]
    scores = steps.loop.run(iteration, "audit by rank", rank, calls)
    call = {
        "attempts": joined(attempts, "attempts"),
        "verdicts": joined(verdicts, "verdicts"),
        "scores": joined(scores, "verdicts"),
    }
    facts: dict[str, Any] = dict(steps.loop.run(iteration, "pick", pick, [call])[0].output.facts)
    told = {f"ranked_{name}": facts[name]["accuracy"] for name in WAYS if name in facts}
    return {"ranked": {"by": config.by, "of": config.samples, **facts, "verifier": verifier.checkpoint_id}, **told}


def _verifier(steps: "Steps", iteration: int, base: Model) -> Model | None:
    """The verifier after this iteration, trained from the base; None where no problem was answered both ways."""
    config, training = steps.config.rank, steps.config.training
    call = steps.pairing(steps.history, config.pairs_per_problem)
    try:
        pairs = training_set_of(steps.loop.run(iteration, "rank pair up", pair_up, [call])[0])
    except UserMistake as none:
        steps.loop.listener.said(f"iteration {iteration}: no verifier to rank with; {none}")
        return None
    how = {"objective": "dpo", "dpo_beta": config.beta, "learning_rate": config.learning_rate}
    return steps.train(
        iteration, "rank train", base, None, pairs, training.model_copy(update=how), config.steps, steps.config.seed
    )
