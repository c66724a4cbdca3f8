"""Is this the right model for this task? A base measured on some held-out problems before anything is trained.

It answers them greedily, eight times at the loop's temperature, and where that was wrong once more with the answer as a hint;
`flows.zone` judges what came of it. The cells are those of any loop: a loop on the same problems finds them there.

A loop asks for less: it has answered its dev problems anyway, and only a base below the zone is asked for samples and hints.
"""

from typing import Any

from prefect import flow
from pydantic import Field

from flows.budget import BudgetReached
from flows.config import LoopConfig
from flows.expected import waits_for
from flows.held_out import Answered
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.protocol import AnyLoop
from flows.refs import check, settled
from flows.request import Request, session
from flows.resolving import presets
from flows.step import Model, accounting_of
from flows.validation import merged, validated
from flows.zone import ENOUGH, Tally, Zone, judge, percent
from storage.errors import UserMistake
from storage.records import Attempt, Problem, Verdict
from tasks.caching import StepRecord
from tasks.engines.protocol import Sampling
from tasks.rationalize import rationalize
from tasks.sample import sample
from tasks.verify import Outcomes, outcomes

METHOD = "zpd"
SAMPLES = 8
WARM = 0.7
"""The temperature of eight samples where the loop's own is 0: greedy ones would all be the same."""


class OutsideZone(BudgetReached):
    """The base is clearly outside the zone, and the run was told to stop there."""


class ZpdRequest(Request):
    """A model and a task. What is not given is as the preset says."""

    engine: str | None = Field(default=None, description="what generates text, with its options")
    problems: str | None = Field(default=None, description="a problem set, e.g. gsm8k")
    model: str | None = Field(default=None, description="a checkpoint, a folder, a GGUF file, or a name on the hub")
    template: str | None = Field(default=None, description="prompt templates; own: the problem set's")
    verifier: str | None = Field(default=None, description="what judges an attempt; own: the problem set's")
    chat: str | None = Field(default=None, description="auto, on or off")
    max_tokens: int | None = Field(default=None, description="longest answer, in tokens")
    count: int = Field(default=ENOUGH, ge=1, description="how many held-out problems")

    def settings(self) -> dict[str, Any]:
        """A loop's settings, of which only those that decide how problems are answered are used."""
        known = set(LoopConfig.model_fields) - {"arms", "name", "audit"}
        preset = presets().get(self.preset or "", {"config": {}})["config"]
        given = {
            "engine": self.engine, "problems": self.problems, "model.source": self.model, "template": self.template,
            "verifier": self.verifier, "chat": self.chat, "sampling.max_tokens": self.max_tokens,
            "evaluation.max_tokens": self.max_tokens, "evaluation.dev_problems": self.count,
        }  # fmt: skip
        kept = {name: value for name, value in preset.items() if name in known}
        return merged(kept, {name: value for name, value in given.items() if value is not None})

    def configuration(self) -> LoopConfig:
        """Raises UserMistake for a preset that does not exist and for settings that do not fit."""
        if self.preset is not None and self.preset not in presets():
            raise UserMistake(f"no preset {self.preset!r}; there are: {', '.join(presets())}")
        return validated(LoopConfig, self.settings(), METHOD)


def run_name() -> str:
    """What a measurement is called in the Prefect UI."""
    from prefect.runtime import flow_run

    request = flow_run.parameters.get("request")
    given = request if isinstance(request, ZpdRequest) else ZpdRequest.model_validate(request or {})
    settings = given.configuration()
    return f"zpd of {settings.model.source} on {settings.problems}"


@flow(name="zpd", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def zpd(request: ZpdRequest) -> str:
    """Measure whether a model is in the zone of a task; returns the id of the run, whose facts hold the verdict.

    Args:
        request: the model and the task
    """
    with session(METHOD, request) as runs:
        config = settled(request.configuration(), runs.home)
        check(config, splits=("dev",))
        with runs.loop(config) as loop:
            measure(loop)
        return runs.run_ids[0]


def measure(loop: AnyLoop) -> Zone:
    """Everything that is asked of a base, and the verdict on it."""
    steps = Steps(loop)
    base = steps.base()
    facts = steps.evaluate(0, base, "dev")
    zone, counts = _judged(steps, base, facts, everything=True)
    _tell(loop, zone, counts)
    return zone


def check_zone(steps: Steps, base: Model, dev: dict[str, Any]) -> None:
    """What a loop does first, with the base's score on dev: says where it lies. Raises OutsideZone where it is told to stop there."""
    loop, wish = steps.loop, steps.config.zpd
    if wish == "off" or dev["accuracy"] is None:
        return
    if not _has_gold(steps, base):
        loop.listener.said("the zone is not checked: the problems have no gold answers")
        return
    zone, counts = _judged(steps, base, dev, everything=False)
    _tell(loop, zone, counts)
    measured = counts.get("tried_8", 1)  # nothing, where samples are only planned or none could be judged
    if zone.stops and wish == "stop" and measured:
        raise OutsideZone(f"stopped before training: {' '.join(zone.advice)} --set zpd=warn goes on all the same")


def _judged(steps: Steps, base: Model, dev: dict[str, Any], *, everything: bool) -> tuple[Zone, dict[str, Any]]:
    """The zone, and the counts it was judged from. Samples and hints are asked for where they can change something."""
    greedy = Tally(right=dev["passed"], wrong=dev["n"] - dev["passed"] - dev["undecided"], undecided=dev["undecided"])
    if not everything and judge(greedy).verdict != "below":
        return judge(greedy), {"n": dev["n"], "undecided": dev["undecided"]}
    answered = _first(steps.answered(base, "dev"))
    solved, tried, samples = _sampled(steps, base, answered)
    turned, failed, hints = _hinted(steps, base, answered)
    tally = Tally(greedy.right, greedy.wrong, greedy.undecided, solved, tried, turned, failed)
    done = [*answered.attempts, *samples, *hints]
    return judge(tally), {
        "n": dev["n"],
        "undecided": dev["undecided"],
        "solved_in_8": solved,
        "tried_8": tried,
        "rationalized": turned,
        "failed": failed,
        "tokens": sum(int(str(record.output.facts["tokens"])) for record in done),
        "seconds": round(sum(record.work_s for record in done), 1),
    }


def _sampled(steps: Steps, base: Model, answered: Answered) -> tuple[int, int, list[StepRecord]]:
    """How many of the problems one of eight samples solves, and of how many something was decided."""
    config = steps.config
    warm: dict[str, Any] = config.sampling.model_dump() | {"temperature": config.sampling.temperature or WARM}
    calls = [
        steps.writing(part, base) | {"sampling": Sampling(**warm), "first_sample": 0, "samples": SAMPLES}
        for part in answered.parts
    ]
    attempts = steps.loop.run(0, "zone sample", sample, calls)
    verdicts = steps.judge(0, "zone verify", answered.parts, attempts)
    best: dict[str, bool] = {}
    for problem, passed in _outcomes(steps, attempts, verdicts):
        if passed is not None:
            best[problem] = best.get(problem, False) or passed
    return sum(best.values()), len(best), attempts


def _hinted(steps: Steps, base: Model, answered: Answered) -> tuple[int, int, list[StepRecord]]:
    """How many of the wrong answers the hint turned right, and of how many something was decided."""
    config = steps.config
    calls = [
        steps.writing(part, base)
        | {
            "attempts": record.output.manifests["attempts"],
            "verdicts": Outcomes(judged.output.manifests["verdicts"], str(judged.output.facts["outcomes"])),
            "sampling": Sampling(**config.sampling.model_dump()),
        }
        for part, record, judged in zip(answered.parts, answered.attempts, answered.verdicts, strict=True)
    ]
    attempts = steps.loop.run(0, "zone rationalize", rationalize, calls)
    if not accounting_of(attempts).asked:
        return 0, 0, attempts
    verdicts = steps.judge(0, "zone verify rationalized", answered.parts, attempts)
    decided = [passed for _, passed in _outcomes(steps, attempts, verdicts) if passed is not None]
    return sum(decided), len(decided), attempts


def _outcomes(
    steps: Steps, attempts: list[StepRecord], verdicts: list[StepRecord]
) -> list[tuple[str, bool | None]]:  # fmt: skip
    """Problem and outcome of every attempt; none of a plan's, which are only promised."""
    if any(waits_for(shard) for record in verdicts for shard in record.output.manifests["verdicts"].shards):
        return []
    shards = steps.loop.runtime.shards
    found: list[tuple[str, bool | None]] = []
    for written, judged in zip(attempts, verdicts, strict=True):
        outcome = outcomes(shards.read(judged.output.manifests["verdicts"], Verdict))
        rows = shards.read(written.output.manifests["attempts"], Attempt)
        found += [(row.problem_id, outcome[row.attempt_id][0]) for row in rows]
    return found


def _first(answered: Answered) -> Answered:
    """Whole cells up to about as many problems as are enough."""
    count, rows = 0, 0
    while count < len(answered.parts) and rows < ENOUGH:
        rows += answered.parts[count].rows
        count += 1
    return Answered(answered.parts[:count], answered.attempts[:count], answered.verdicts[:count])


def _has_gold(steps: Steps, base: Model) -> bool:
    shards = steps.loop.runtime.shards
    parts = steps.answered(base, "dev").parts
    return any(problem.gold is not None for part in parts for problem in shards.iterate(part, Problem))


def _tell(loop: AnyLoop, zone: Zone, counts: dict[str, Any]) -> None:
    """Into the run's facts, and to whoever watches."""
    accuracy = "no verdict" if zone.accuracy is None else percent(zone.accuracy)
    within = f"[{percent(zone.interval.low)}, {percent(zone.interval.high)}]"
    loop.listener.said(f"zone: {zone.verdict}, the base is right in {accuracy} {within}. {zone.advice[0]}")
    loop.place(
        {
            "verdict": zone.verdict,
            "sure": zone.sure,
            "stops": zone.stops,
            "accuracy": zone.accuracy,
            "ci_low": zone.interval.low,
            "ci_high": zone.interval.high,
            "pass_at_8": zone.pass_at_8,
            "rationalization_rate": zone.rationalization_rate,
            "advice": list(zone.advice),
            **counts,
        }
    )
