"""Methods compared at equal cost: the same problems, base and held-out set, and as many generated tokens for each method and seed.

Each loop is an ordinary run of its method, with everything that one leaves behind; what they come to together is worked out from
the ledger and kept as facts of a run that groups them. The same command goes on from where it was; a larger budget goes on from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from prefect import flow
from pydantic import Field

from flows.config import StopConfig
from flows.contenders import Contender, contenders
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.methods import loop_of_method
from flows.request import Request, Runs, session
from flows.tracker import Tracker
from storage.answers import Run
from storage.comparison import Marks, marks_of, pair, standing
from storage.errors import StarloopError
from storage.identity import content_id
from storage.lineage import Lineage

METHOD = "compare"
BASE = "the base"
COUNTED = (
    "Counted are the tokens that models generated while iterations were made: samples, hinted retries, refinements. Not counted are the "
    "base, dev and test answers, what is only measured, and all prompts."
)


class CompareRequest(Request):
    """Methods on one preset, with a budget of generated tokens for each method and seed."""

    methods: tuple[str, ...] = Field(description="the methods, e.g. star and rest_em")
    budget_tokens: int = Field(description="tokens that the iterations of each loop may generate")
    seeds: int = Field(default=3, description="how many seeds: 0, 1, 2, …")
    changes: dict[str, Any] = Field(
        default_factory=dict,
        description="settings that are different, by dotted name; methods.rest_em.samples is for that method alone",
    )

    def settings(self) -> dict[str, Any]:
        """All of it, as the ledger keeps it."""
        return self.model_dump(mode="json", exclude={"home"})

    def contenders(self) -> list[Contender]:
        """Raises UserMistake for what cannot be compared."""
        return contenders(self.methods, self.preset, self.budget_tokens, self.seeds, self.changes)


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender's run as it ended; `why` says what kept it from its test."""

    contender: Contender
    run: Run
    why: str = ""

    @property
    def evaluation_id(self) -> str | None:
        """Of the final test."""
        return (self.run.facts.get("final_test") or {}).get("evaluation_id")


def run_name() -> str:
    """What a comparison is called in the Prefect UI."""
    from prefect.runtime import flow_run

    request = flow_run.parameters.get("request")
    given = request if isinstance(request, CompareRequest) else CompareRequest.model_validate(request or {})
    return f"compare {', '.join(given.methods)} on {given.preset}"


@flow(name="compare", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def compare(request: CompareRequest) -> str:
    """Compare methods on the same problems at equal generated tokens; returns the id of the run that holds the result.

    Args:
        request: the methods, a preset with settings for each, the budget and the seeds
    """
    chosen = request.contenders()
    settings = request.settings()
    with session(METHOD, request) as runs:
        name, run_id = run_name_of(request), content_id("group", method=METHOD, settings=settings)
        with runs.group(name, settings, run_id, _shared_limits(chosen)) as facts:
            tracker = Tracker(runs.runtime, run_id, f"{request.preset}-{METHOD}", candidates=False)
            tracker.loop(name, METHOD, request.preset, settings)
            entries = _work_through(runs, chosen)
            with runs.lineage() as lineage:
                done = [Entry(one, lineage.run(entry), why) for one, entry, why in entries]
                facts["comparison"] = comparison(lineage, done, request.budget_tokens)
            state = "stopped" if runs.stopped else "completed"
            for warning in _track(tracker, done, facts["comparison"], state):
                runs.listener.said(warning)
        return run_id


def run_name_of(request: CompareRequest) -> str:
    """What a comparison is called in lists."""
    return f"{' / '.join(request.methods)}, {request.budget_tokens:,} tokens, {request.seeds} seeds"


def comparison(lineage: Lineage, entries: Sequence[Entry], budget_tokens: int) -> dict[str, Any]:
    """The table and the tests, plain JSON."""
    tested = [one for one in entries if one.evaluation_id]
    found: dict[str, Any] = {
        "budget_tokens": budget_tokens,
        "counted": COUNTED,
        "base": None,
        "methods": [],
        "pairs": [],
    }
    marks: dict[str, list[Marks]] = {}
    weights: dict[str, float] = {}
    if tested:
        base, weights = marks_of(lineage, tested[0].run.facts["base_test"]["evaluation_id"])
        marks[BASE] = [base]
        found["base"] = _standing(marks[BASE], weights)
    for method in dict.fromkeys(one.contender.method for one in entries):
        mine = [one for one in entries if one.contender.method == method]
        marks[method] = []
        for one in mine:
            if one.evaluation_id:
                decided, known = marks_of(lineage, one.evaluation_id)
                marks[method].append(decided)
                weights = known | weights
        found["methods"].append(
            {"method": method, "test": _standing(marks[method], weights), "curve": curve(lineage, mine)}
            | {"loops": [_loop(lineage, one) for one in mine]}
        )
    sides = [name for name in marks if marks[name]]
    for place, first in enumerate(sides):
        for other in sides[:place]:
            if both := pair(first, other, marks[first], marks[other]):
                found["pairs"].append(both.as_json())
    return found


def curve(lineage: Lineage, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Dev accuracy over the tokens generated, in the mean over seeds: a point for the base and for every iteration that all seeds have."""
    looks = []
    for one in entries:
        spent, figures = 0, {}
        evaluated = {
            scored.iteration: scored.evaluation.evaluation_id
            for scored in lineage.evaluations(one.run.run_id)
            if scored.step == "evaluate dev"
        }
        for row in lineage.iterations(one.run.run_id):
            if row.iteration <= one.run.facts.get("iterations", 0) and row.iteration in evaluated:
                spent += row.figures.get("iteration_tokens", 0)
                figures[row.iteration] = (spent, evaluated[row.iteration])
        looks.append(figures)
    points = []
    for iteration in sorted(set.intersection(*(set(one) for one in looks)) if looks else ()):
        known = [marks_of(lineage, look[iteration][1]) for look in looks]
        weights = {key: weight for _, weighed in known for key, weight in weighed.items()}
        score = _standing([marks for marks, _ in known], weights)
        if score is not None:
            points.append({"iteration": iteration, "tokens": mean(look[iteration][0] for look in looks), **score})
    return points


def _work_through(runs: Runs, chosen: Sequence[Contender]) -> list[tuple[Contender, str, str]]:
    """Every loop's run id with what went wrong, seed by seed; one that fails leaves the others be."""
    entries = []
    for one in chosen:
        why = ""
        runs.listener.said(one.name)
        before = len(runs.run_ids)
        try:
            with runs.loop(one.config, one.method) as loop:
                loop_of_method(one.method)(loop)
        except StarloopError as fault:
            runs.runtime.check_cancelled()
            if len(runs.run_ids) == before:
                raise
            runs.listener.said(f"{one.name} failed: {fault}")
            why = str(fault)
        entries.append((one, runs.run_ids[-1], why))
        if runs.stopped:
            break
    return entries


def _shared_limits(chosen: Sequence[Contender]) -> StopConfig:
    """The limits of time and tokens in the preset hold for all loops together."""
    return chosen[0].config.stop


def _standing(marks: Sequence[Marks], weights: Mapping[str, float]) -> dict[str, Any] | None:
    found = standing(marks, weights)
    return None if found is None else asdict(found)


def _loop(lineage: Lineage, one: Entry) -> dict[str, Any]:
    """One contender's line. `tokens` are those that count."""
    facts = one.run.facts
    done = [row for row in lineage.iterations(one.run.run_id) if row.iteration <= facts.get("iterations", 0)]
    return {
        "seed": one.contender.seed,
        "run_id": one.run.run_id,
        "state": one.run.state,
        "why": one.why or facts.get("why") or "",
        "iterations": max((row.iteration for row in done), default=0),
        "tokens": sum(row.figures.get("iteration_tokens", 0) for row in done),
        "all_tokens": facts.get("tokens"),
        "base_accuracy": facts.get("base_accuracy"),
        "accuracy": facts.get("final_accuracy"),
        "wall_s": facts.get("wall_s"),
    }


def _track(tracker: Tracker, entries: Sequence[Entry], found: Mapping[str, Any], state: str) -> list[str]:
    """MLflow: this comparison as a run, with a child a loop; what kept it from being told."""
    loops = {line["run_id"]: line for method in found["methods"] for line in method["loops"]}
    for number, one in enumerate(entries):
        line = loops[one.run.run_id]
        metrics = {name: line[name] for name in ("accuracy", "base_accuracy", "tokens", "iterations", "wall_s")}
        params: dict[str, object] = {"method": one.contender.method, "seed": one.contender.seed}
        tracker.contender(number, one.contender.name, one.run.run_id, params, metrics)
    scores = {
        f"{name}_{method['method']}": method["test"][name]
        for method in found["methods"] if method["test"] for name in ("accuracy", "low", "high")
    }  # fmt: skip
    scores |= {f"p_{one['first']}_against_{one['other']}".replace(" ", "_"): one["p_value"] for one in found["pairs"]}
    base = found["base"] or {}
    return tracker.finish(state, {"base_accuracy": base.get("accuracy")}, len(entries), scores)
