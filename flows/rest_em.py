"""ReST-EM: self-training as expectation-maximization (Singh et al. 2023, arXiv 2312.06585).

  E-step: sample K answers to every problem from M(n-1); those that are right stand for the posterior over rationales. At most
          `mix.cap_per_problem` of a problem are kept, so that easy problems do not fill the set.
  M-step: fine-tune the base, not M(n-1), to make what was kept more likely; loss on the answer alone.

No rationalization (in the paper it raises false positives), no human data. The model that is used is the one that does best on
dev: on APPS the paper's second iteration got worse on held-out data while its train accuracy rose.

Its evidence lower bound is not computed; what is measured is its proxy, the mean log-likelihood of what the E-step kept, under the model that
wrote it, the base that the M-step starts from, and the model that the M-step made.

Departures: `restart = previous`, `pool = all` and original data in the mix are options that the paper does not have.
"""

from prefect import flow

from flows import course
from flows.iteration import Steps
from flows.likelihoods import log_likelihood
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import RestEmConfig
from flows.protocol import AnyLoop
from flows.request import RestEmRequest, run_name
from flows.step import Model
from flows.training_set import mixed


@flow(name="rest-em", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def rest_em(request: RestEmRequest) -> list[str]:
    """Expectation-maximization: sample many answers, keep some right ones of each problem, fine-tune the base on them, again.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("rest_em", request)


def improve(loop: AnyLoop) -> None:
    """ReST-EM's loop."""
    course.improve(loop, iterate)


def iterate(steps: Steps, n: int, base: Model, model: Model) -> course.Made:
    """One E-step and one M-step."""
    config = steps.settings(RestEmConfig)
    gathered = steps.sample(n, model, steps.problems(n))
    examples = steps.mix(n, gathered)
    start = base if config.restart == "base" else model
    trained = steps.finetune(n, start, examples)
    likelihoods = {
        "log_likelihood_written": log_likelihood(steps, n, model, examples, "written"),
        "log_likelihood_before": log_likelihood(steps, n, start, examples, "before"),
        "log_likelihood_after": log_likelihood(steps, n, trained, examples, "after"),
    }
    return course.Made(trained, gathered.summary | mixed(examples) | likelihoods)
