"""STaR: bootstrapping reasoning with reasoning (Zelikman et al. 2022, arXiv 2203.14465).

For n = 1..N, with M(0) the base:
  1. sample a rationale and an answer for every problem from M(n-1);
  2. for those answered wrongly, sample again with the gold answer as a hint (rationalization);
  3. keep what reaches the gold answer, direct or rationalized; the stored example drops the hint;
  4. M(n) is the base (`restart = base`) fine-tuned on what was kept, with a growing number of steps.

Departures: the paper samples near-greedily (temperature 0.01, top-p 0.9) with few-shot prompts; here temperature is a
setting and the embedded model needs no few-shot examples. The released code computes a mask for the rationale's loss and then
does not use it; here the loss is on the completion alone. `restart = previous` and `pool = all` are options the paper does not have.
"""

from typing import Any

from prefect import flow

from flows import course
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import StarConfig
from flows.protocol import AnyLoop
from flows.request import StarRequest, run_name
from flows.step import Model
from flows.training_set import TrainingSet, mixed
from storage.manifest import Manifest


@flow(name="star", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def star(request: StarRequest) -> list[str]:
    """Self-training with rationalization: sample, verify, rationalize, mix, fine-tune, evaluate, again.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("star", request)


def improve(loop: AnyLoop) -> None:
    """STaR's loop."""
    course.improve(loop, iterate)


def iterate(steps: Steps, n: int, base: Model, model: Model) -> course.Made:
    """One iteration: M(n) from M(n-1)'s answers."""
    config = steps.settings(StarConfig)
    problems = steps.problems(n)
    examples, summary = training_set(steps, config, n, model, problems)
    start = base if config.restart == "base" else model
    return course.Made(steps.finetune(n, start, examples), summary | mixed(examples))


def training_set(
    steps: Steps, config: StarConfig, n: int, model: Model, problems: Manifest
) -> tuple[TrainingSet, dict[str, Any]]:
    """Steps 1-3, or what a control trains on instead."""
    if config.train_on == "answers":
        return steps.answers(n, problems), {}
    if config.train_on == "corpus":
        return steps.corpus(n), {}
    gathered = steps.sample(n, model, problems)
    if config.rationalize_iterations == "all" or n <= config.rationalize_iterations:
        steps.rationalize(n, model, gathered)
    return steps.mix(n, gathered, keep=config.train_on), gathered.summary
