"""How likely models find what an iteration keeps: what the M-step of expectation-maximization makes larger."""

from typing import cast

from flows.iteration import Steps
from flows.step import Model
from flows.training_set import TrainingSet
from tasks.engines.registry import EngineRef, says_likelihoods
from tasks.likelihood import likelihood


def log_likelihood(steps: Steps, iteration: int, model: Model, examples: TrainingSet, when: str) -> float | None:
    """The mean log-likelihood a token of what models wrote of a training set; None where the engine cannot say."""
    if not says_likelihoods(steps.config.engine):
        return None
    call = {
        "examples": examples.examples,
        "members": examples.members,
        "engine": EngineRef(steps.config.engine),
        "checkpoint_id": model.checkpoint_id,
        "weights_digest": model.weights_digest,
    }
    record = steps.loop.run(iteration, f"likelihood {when}", likelihood, [call])[0]
    return cast(float | None, record.output.facts["log_likelihood"])
