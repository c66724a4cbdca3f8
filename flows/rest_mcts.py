"""ReST-MCTS*: self-training by process-reward guided tree search (Zhang et al. 2024, arXiv 2406.03816).

Before the first iteration the value model V(0) learns from plain samples of the base. For n = 1..N, with M(0) the base:
  1. search a tree for every problem with M(n-1), guided by V(n-1) (`tasks.tree` has the algorithm);
  2. verify the trees' complete solutions;
  3. M(n) is M(n-1) fine-tuned on those that are right;
  4. infer what each step of the trees was worth from where it led, and train V(n) from V(n-1) on right and wrong ones alike.

Departures: the paper's V(0) is trained on a set with annotated or deliberately wrong steps; here nothing but the verifier is asked. What a
roll-out writes stays in the tree as a look ahead: it is not selected, but a complete solution that it came to is one. A tree that
ends without a complete solution is written on greedily from its best place.
"""

from prefect import flow

from flows import course
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import RestMctsConfig
from flows.protocol import AnyLoop
from flows.request import RestMctsRequest, run_name
from flows.searching import draw, first_value, fit, grow, values_of
from flows.step import Model
from flows.training_set import mixed


@flow(name="rest-mcts", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def rest_mcts(request: RestMctsRequest) -> list[str]:
    """Tree search with a learned process value: search, verify, mix, fine-tune, infer the steps' values, train the value model, again.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("rest_mcts", request)


def improve(loop: AnyLoop) -> None:
    """ReST-MCTS*'s loop."""
    course.improve(loop, Iterations().iterate)


class Iterations:
    """The iterations of one loop; beside the policy, the value model goes from one to the next."""

    def __init__(self) -> None:
        self.value: Model | None = None

    def iterate(self, steps: Steps, n: int, base: Model, model: Model) -> course.Made:
        """Steps 1-4."""
        config = steps.settings(RestMctsConfig)
        value = self.value or warmed_up(steps, base)
        problems = steps.problems(n)
        found = grow(steps, n, model, value, problems)
        examples = steps.mix(n, found.gathered)
        trained = steps.finetune(n, base if config.restart == "base" else model, examples)
        values = values_of(steps, n, found.trees)
        self.value, facts = fit(steps, n, value, values)
        shown = {name: values.facts[name] for name in ("trees", "any_right", "best_right", "summed_right")}
        summary = {
            "value_rows": values.facts["rows"],
            "value_loss": facts.get("final_loss"),
            "value_checkpoint_id": self.value.checkpoint_id,
        }
        return course.Made(trained, found.gathered.summary | mixed(examples) | shown | summary)


def warmed_up(steps: Steps, base: Model) -> Model:
    """The first value model: from plain samples of the base at the first problems of the first iteration."""
    count = min(steps.settings(RestMctsConfig).value.problems, steps.config.problems_per_iteration)
    problems = steps.pose(1, "train", 0, count, "value problems")
    drawn = draw(steps, 1, base, problems)
    values = values_of(steps, 1, drawn.trees, "first value set")
    return fit(steps, 1, first_value(steps, base), values, "fit first value")[0]
