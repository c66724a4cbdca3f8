"""After CARE-STaR: a constraint-aware self-taught reasoner (Li et al. 2025, Findings of ACL, 2025.findings-acl.1116).

As STaR, but a sample is kept only if it meets every constraint that applies to it, one verdict each:
  1. sample a rationale and an answer for every instruction from M(n-1);
  2. judge each constraint by itself; they are read from the instruction and graded by how hard they are to judge, and where a model can
     be asked (`self_check`), M(n-1) says of each whether its text meets it, beside the program: their agreement is reported;
  3. where no sample of a problem meets them all, sample again with the gold answer as a hint, and judge likewise;
  4. keep what meets them all, drop the hint, fine-tune.

Only the paper's abstract was at hand. From it: constraints differ in how hard they are to judge and get levels, reasoning distinguishes
them, what leads to accurate answers is rewarded, and it iterates. Inferred: the levels, the prompts, that the reward is a filter, the self-check.
"""

from typing import Any, cast

from prefect import flow

from flows import course
from flows.gathered import Gathered
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import CareStarConfig
from flows.protocol import AnyLoop
from flows.request import CareStarRequest, run_name
from flows.step import Model
from flows.training_set import mixed
from tasks.agreement import Checked, agreement, share_agreed
from tasks.self_check import VERIFIER, check


@flow(name="care-star", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def care_star(request: CareStarRequest) -> list[str]:
    """Self-training on what meets every constraint: sample, judge each, rationalize, mix, fine-tune, evaluate, again.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("care_star", request)


def improve(loop: AnyLoop) -> None:
    """CARE-STaR's loop."""
    course.improve(loop, iterate)


def iterate(steps: Steps, n: int, base: Model, model: Model) -> course.Made:
    """One iteration: M(n) from what of M(n-1)'s met all of its constraints."""
    config = steps.settings(CareStarConfig)
    gathered = steps.sample(n, model, steps.problems(n))
    constraints = judged_constraints(steps, config, n, model, gathered)
    if config.rationalize_iterations == "all" or n <= config.rationalize_iterations:
        steps.rationalize(n, model, gathered)
    examples = steps.mix(n, gathered)
    start = base if config.restart == "base" else model
    return course.Made(steps.finetune(n, start, examples), gathered.summary | constraints | mixed(examples))


def judged_constraints(
    steps: Steps, config: CareStarConfig, n: int, model: Model, gathered: Gathered
) -> dict[str, Any]:
    """How many of the sampled attempts met each constraint, and how far the model's own check agrees with the program's."""
    checked: list[Checked] = []
    if config.self_check == "on":
        calls = [
            steps.writing(one.problems, model, template=config.check_template)
            | {"attempts": one.attempts, "verdicts": one.verdicts}
            for one in gathered.judged
        ]
        replies = steps.loop.run(n, "check", check, calls)
        questions = [record.output.manifests["problems"] for record in replies]
        verdicts = steps.judge(n, "verify check", questions, replies, VERIFIER)
        checked = [
            Checked(problems, a.output.manifests["attempts"], v.output.manifests["verdicts"])
            for problems, a, v in zip(questions, replies, verdicts, strict=True)
        ]
    call = {"judged": tuple(gathered.judged), "checked": tuple(checked)}
    facts = steps.loop.run(n, "constraints", agreement, [call])[0].output.facts
    constraints = cast(dict[str, dict[str, int]], facts["constraints"])
    return {"constraints": constraints, "agreement": share_agreed(list(constraints.values()))}
