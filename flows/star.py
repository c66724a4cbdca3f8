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

from flows.config import StarConfig
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.protocol import AnyLoop
from flows.request import StarRequest, run_name, session
from flows.step import Model
from flows.stopping import on_plateau
from flows.training_set import TrainingSet, mixed
from flows.zpd import check_zone
from storage.manifest import Manifest


@flow(name="star", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def star(request: StarRequest) -> list[str]:
    """Self-training with rationalization: sample, verify, rationalize, mix, fine-tune, evaluate, again.

    Args:
        request: a preset, and what of it should be different
    """
    with session("star", request) as runs:
        for config in runs.configurations(StarConfig):
            with runs.loop(config) as loop:
                improve(loop, config)
        return runs.run_ids


def improve(loop: AnyLoop, config: StarConfig) -> None:
    """STaR's loop."""
    steps = Steps(loop)
    base = model = steps.base()
    dev = steps.evaluate(0, base, "dev")
    check_zone(steps, base, dev)
    tested, also = steps.evaluate(0, base, "test"), steps.evaluate_also(0, base)
    curve = [loop.close(0, base, dev, {})]
    for n in range(1, config.iterations + 1):
        problems = steps.problems(n)
        examples, summary = training_set(steps, config, n, model, problems)
        model = steps.finetune(n, base if config.restart == "base" else model, examples)
        curve.append(loop.close(n, model, steps.evaluate(n, model, "dev"), summary | mixed(examples)))
        if on_plateau(curve, config.stop.plateau_iterations):
            loop.listener.said(
                f"dev accuracy has not moved for {config.stop.plateau_iterations} iterations; stopping here"
            )
            break
    last = len(curve) - 1
    final, also_final = steps.evaluate(last, model, "test"), steps.evaluate_also(last, model)
    loop.final_test(tested, final, (also, also_final) if also and also_final else None)


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
