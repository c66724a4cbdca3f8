"""The course that a loop takes, whatever its method: the base scored, iterations until there is nothing to gain, the last model tested.

A method says what one iteration is: `iterate(steps, n, base, model)` makes the next model from the one before, with iterations
counted from 1. Dev is looked at in every iteration, test for the base and the last model only. Where a method's models can do more than answer,
`measure(steps, n, model)` says what that is worth on dev. After every iteration its health is looked at (`flows.health`), which can end the
loop or send it back to a good model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flows.allowance import Allowance
from flows.health import Watch
from flows.iteration import Steps
from flows.method_config import config_class
from flows.methods import loop_of_method
from flows.protocol import AnyLoop
from flows.ranking import ranked
from flows.request import Request, session
from flows.step import Model
from flows.stopping import on_plateau
from flows.zpd import check_zone


@dataclass(frozen=True, slots=True)
class Made:
    """What an iteration made: its model, and its figures for the ledger, MLflow and the report."""

    model: Model
    summary: dict[str, Any]


Iterate = Callable[[Steps, int, Model, Model], Made]
Measure = Callable[[Steps, int, Model], dict[str, Any]]


def run_each(method: str, request: Request) -> list[str]:
    """A flow's body: the method's loop for the request's configuration, or for each of its arms; the run ids."""
    with session(method, request) as runs:
        for config in runs.configurations(config_class(method)):
            with runs.loop(config) as loop:
                loop_of_method(method)(loop)
        return runs.run_ids


def improve(loop: AnyLoop, iterate: Iterate, measure: Measure | None = None) -> None:
    """A loop from its base to its last test."""

    def measured(n: int, model: Model) -> dict[str, Any]:
        return measure(steps, n, model) if measure else {}

    steps, config = Steps(loop), loop.config
    base = steps.base()
    dev = steps.evaluate(0, base, "dev")
    check_zone(steps, base, dev)
    tested, also = steps.evaluate(0, base, "test"), steps.evaluate_also(0, base)
    curve, place = [loop.close(0, base, dev, measured(0, base))], 0
    watch, allowance = Watch(steps, [base], [dev]), Allowance(config, steps.answered(base, "dev"))
    for n in range(1, config.iterations + 1):
        if (problems := allowance.problems()) == 0:
            loop.listener.said(f"{allowance.spent:,} tokens were generated in {n - 1} iterations; stopping here")
            break
        steps.problem_count, before = problems, loop.tokens
        made = iterate(steps, n, base, watch.models[place])
        spent = loop.tokens - before
        allowance.spend(spent, problems)
        dev, picked = steps.evaluate(n, made.model, "dev"), ranked(steps, n, base, made.model)
        health = watch.look(n, place, made.model, dev, made.summary)
        further = picked | measured(n, made.model) | {"iteration_tokens": spent, "health": health.facts}
        curve.append(loop.close(n, made.model, dev, made.summary | further))
        place = health.place
        if health.stops:
            break
        if on_plateau(curve, config.stop.plateau_iterations):
            loop.listener.said(
                f"dev accuracy has not moved for {config.stop.plateau_iterations} iterations; stopping here"
            )
            break
    chosen = best(curve, watch.good()) if config.final == "best" else watch.good()[-1]
    if chosen != len(curve) - 1:
        why = "did best on dev" if config.final == "best" else "is the last good one"
        loop.listener.said(f"iteration {chosen} {why}; it is the model that is tested and handed over")
    model = watch.models[chosen]
    final, also_final = steps.evaluate(chosen, model, "test"), steps.evaluate_also(chosen, model)
    loop.final_test(tested, final, (also, also_final) if also and also_final else None)


def best(curve: Sequence[dict[str, Any]], places: Sequence[int] | None = None) -> int:
    """The place with the highest dev accuracy (among `places`), the last of equals; the last place where nothing was decided."""
    scores = [-1.0 if one["held_out_accuracy"] is None else one["held_out_accuracy"] for one in curve]
    return max(places if places is not None else range(len(scores)), key=lambda place: (scores[place], place))
