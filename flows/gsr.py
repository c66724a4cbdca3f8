"""GSR, generative self-refinement: one model that solves, and that makes one better solution from several (arXiv 2509.00084).

For n = 1..N, with M(0) the base:
  1. sample `samples` candidates for every problem from M(n-1), side by side;
  2. one refinement from M(n-1), over the problem and its candidates; with `critique = text` it first writes what is wrong with them,
     and the refinement is made after that;
  3. keep the candidates that are right (problem → solution), and the refinements that are right (problem + candidates → refined
     solution), also where every candidate was wrong;
  4. M(n) is the base (`restart = base`) fine-tuned on both.

What it is for is measured on dev after every iteration: one refinement against a majority vote of the same candidates, and against
vote and choice over as many samples as the refinement's tokens would have bought (`tasks.refinement_gap`).

Departures: in the paper a stronger teacher wrote the refinements, once; here they are the model's own, those that were verified, and the loop
goes on. On dev the refinement is greedy, in training it is drawn as the candidates are. The written critique is an option.
"""

from prefect import flow

from flows import course
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import GsrConfig
from flows.protocol import AnyLoop
from flows.refinement import add_refinements, on_dev
from flows.request import GsrRequest, run_name
from flows.step import Model
from flows.training_set import mixed
from tasks.composition import REFINED


@flow(name="gsr", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def gsr(request: GsrRequest) -> list[str]:
    """Self-refinement: sample candidates, refine them into one answer, fine-tune on what is right of both, weigh it on dev, again.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("gsr", request)


def improve(loop: AnyLoop) -> None:
    """GSR's loop."""
    course.improve(loop, iterate, on_dev)


def iterate(steps: Steps, n: int, base: Model, model: Model) -> course.Made:
    """One iteration: M(n) from M(n-1)'s candidates and its refinements of them."""
    config = steps.settings(GsrConfig)
    gathered = steps.sample(n, model, steps.problems(n))
    if config.train_on != "direct":
        add_refinements(steps, n, model, gathered)
    if config.train_on == "refined":
        gathered.judged = [one for one in gathered.judged if one.origin == REFINED]
    examples = steps.mix(n, gathered)
    start = base if config.restart == "base" else model
    return course.Made(steps.finetune(n, start, examples), gathered.summary | mixed(examples))
