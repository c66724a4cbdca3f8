"""ReST: reinforced self-training (Gulcehre et al. 2023, arXiv 2308.08998).

For each Grow step:
  1. sample a data set from the policy, and add it to the original data;
  2. Improve, once a threshold, with thresholds that rise and a learning rate that falls: keep what has a reward above the threshold, and
     fine-tune the policy on it.

An iteration is a Grow step with all of its Improve steps; one set of samples serves them all.

Departures: the reward is any number a verifier gives, or the model's own likelihood, where the paper has a learned reward model; the
loss is the likelihood of what was kept (the paper's own choice among several). How much original data is in every mix is
`mix.self_share`, so that it can decay. `restart = base` begins every Grow's Improve steps at the base.
"""

from prefect import flow

from flows import course
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import LIKELIHOOD, VERIFIER, RestConfig
from flows.protocol import AnyLoop
from flows.request import RestRequest, run_name
from flows.step import Model
from flows.training_set import mixed
from tasks.rewards import Threshold


@flow(name="rest", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def rest(request: RestRequest) -> list[str]:
    """Grow and Improve: sample once, then train on ever better samples with ever smaller steps.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("rest", request)


def improve(loop: AnyLoop) -> None:
    """ReST's loop."""
    course.improve(loop, iterate)


def iterate(steps: Steps, n: int, base: Model, model: Model) -> course.Made:
    """One Grow step, and the Improve steps that its samples serve."""
    config = steps.settings(RestConfig)
    gathered = steps.sample(n, model, steps.problems(n))
    rewarded = gathered
    for verifier in config.further_verifiers:
        rewarded = steps.judge_again(n, "reward", gathered, verifier)
    reward = LIKELIHOOD if config.reward == LIKELIHOOD else VERIFIER
    policy = base if config.restart == "base" else model
    summary, improved = gathered.summary, []
    for place, above in enumerate(config.thresholds):
        threshold = Threshold(reward, above, config.threshold_kind)
        examples = steps.mix(n, rewarded, threshold=threshold, title=f"mix {place + 1}")
        slower = config.learning_rate_decay**place
        policy = steps.finetune(n, policy, examples, slower=slower, title=f"fine-tune {place + 1}")
        summary = summary | mixed(examples)
        improved.append(
            {"threshold": examples.facts.get("threshold", above), "kept": summary["kept"], "checkpoint_id": policy.checkpoint_id}
        )  # fmt: skip
    return course.Made(policy, summary | {"improve_steps": improved})
