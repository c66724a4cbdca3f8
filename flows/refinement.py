"""Refinement as steps of a loop: of the candidates that an iteration trains on, and on dev, where it is weighed against what the same
attempts and the same tokens give without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from flows.config import NONE
from flows.gathered import Gathered, judged_of
from flows.iteration import Steps
from flows.method_config import GsrConfig
from flows.step import Model, accounting_of
from storage.manifest import Manifest
from tasks.caching import StepRecord
from tasks.composition import REFINED
from tasks.engines.protocol import Sampling
from tasks.engines.registry import takes_messages
from tasks.pose import cells
from tasks.refine import critique, refine
from tasks.refinement_gap import Written, weigh_refinements
from tasks.sample import sample


@dataclass(frozen=True, slots=True)
class Samples:
    """Attempts and their verdicts, cell by cell."""

    attempts: list[StepRecord]
    verdicts: list[StepRecord]

    @property
    def written(self) -> tuple[Written, ...]:
        return tuple(
            Written(made.output.manifests["attempts"], judged.output.manifests["verdicts"])
            for made, judged in zip(self.attempts, self.verdicts, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Refinements(Samples):
    """The same, and the critiques that the refinements were made after; none without."""

    critiques: list[StepRecord]


def add_refinements(steps: Steps, iteration: int, model: Model, gathered: Gathered) -> None:
    """One refinement of every problem's candidates, verified like them; the mix trains on it under the prompt it was made from."""
    parts = cells(gathered.problems, steps.loop.runtime.shards)
    candidates = tuple(Written(one.attempts, one.verdicts) for one in gathered.judged)
    made = _refinements(steps, iteration, model, parts, candidates, _sampling(steps))
    weighed = _weighed(steps, iteration, "weigh refinements", gathered.problems, candidates, (), made)
    total = accounting_of(made.verdicts)
    gathered.judged += [
        replace(one, prompts=record.output.manifests["prompts"], bare=takes_messages(steps.config.engine))
        for one, record in zip(judged_of(REFINED, parts, made.attempts, made.verdicts), made.attempts, strict=True)
    ]
    gathered.summary |= {
        "attempts": gathered.summary["attempts"] + total.asked,
        "refined_attempts": total.asked,
        "refined_correct": total.ok,
        "all_wrong": weighed["all_wrong"],
        "recovered": weighed["recovered"],
        "undecided": gathered.summary["undecided"] + total.undecided,
        "failed": gathered.summary["failed"] + total.failed,
    }


def on_dev(steps: Steps, iteration: int, model: Model) -> dict[str, Any]:
    """What refinement is worth on dev, for the iteration's figures: N candidates, one greedy refinement of them, and as many more
    samples as its tokens buy.
    """
    config = steps.config
    answered = steps.answered(model, "dev")
    parts = answered.parts
    candidates = _sampled(steps, iteration, "candidates dev", model, parts, 0, config.samples)
    greedy = Sampling(temperature=0.0, max_tokens=config.evaluation.max_tokens, stop=config.sampling.stop)
    made = _refinements(steps, iteration, model, parts, candidates.written, greedy, " dev")
    bought = affordable(config.samples, _spent(candidates.attempts), _spent([*made.critiques, *made.attempts]))
    extra = _sampled(steps, iteration, "extra samples dev", model, parts, config.samples, bought)
    problems = sum(parts[1:], start=parts[0])
    greedily = Samples(answered.attempts, answered.verdicts).written
    weighed = _weighed(
        steps, iteration, "weigh refinements dev", problems, candidates.written, extra.written, made, greedily
    )
    return {
        "refined_accuracy": weighed["refined"],
        "majority_accuracy": weighed["majority"],
        "refinement_gap": weighed["gap"],
        "refinement_gap_at_equal_tokens": weighed["equal_tokens"]["gap"],
        "recovery": weighed["recovery"],
        "refinement": weighed,
    }


def affordable(samples: int, candidates: int, refinements: int) -> int:
    """How many more samples a problem the tokens of its refinement buy, rounded up, from the tokens of so many `samples`."""
    return max(1, ceil(samples * refinements / candidates)) if candidates else 1


def _sampled(
    steps: Steps, iteration: int, title: str, model: Model, parts: Sequence[Manifest], first: int, samples: int
) -> Samples:
    drawn = {"sampling": _sampling(steps), "first_sample": first, "samples": samples}
    attempts = steps.loop.run(iteration, title, sample, [steps.writing(part, model) | drawn for part in parts])
    return Samples(attempts, steps.judge(iteration, f"verify {title}", parts, attempts))


def _refinements(
    steps: Steps,
    iteration: int,
    model: Model,
    parts: Sequence[Manifest],
    candidates: Sequence[Written],
    sampling: Sampling,
    where: str = "",
) -> Refinements:
    """A critique of every problem's candidates, where the method is told to write one, and a refinement, with its verdict."""
    calls = [
        steps.writing(part, model) | {"attempts": one.attempts, "sampling": sampling}
        for part, one in zip(parts, candidates, strict=True)
    ]
    critiques: list[StepRecord] = []
    if steps.settings(GsrConfig).critique != NONE:
        critiques = steps.loop.run(iteration, f"critique{where}", critique, calls)
        calls = [
            call | {"critiques": one.output.manifests["attempts"]} for call, one in zip(calls, critiques, strict=True)
        ]
    attempts = steps.loop.run(iteration, f"refine{where}", refine, calls)
    return Refinements(attempts, steps.judge(iteration, f"verify refined{where}", parts, attempts), critiques)


def _weighed(
    steps: Steps,
    iteration: int,
    title: str,
    problems: Manifest,
    candidates: tuple[Written, ...],
    extra: tuple[Written, ...],
    made: Refinements,
    greedily: tuple[Written, ...] = (),
) -> dict[str, Any]:
    critiques = [record.output.manifests["attempts"] for record in made.critiques]
    call = {
        "problems": problems,
        "candidates": candidates,
        "extra": extra,
        "refined": made.written,
        "critiques": sum(critiques[1:], start=critiques[0]) if critiques else None,
        "greedy": greedily,
    }
    return dict(steps.loop.run(iteration, title, weigh_refinements, [call])[0].output.facts)


def _sampling(steps: Steps) -> Sampling:
    return Sampling(**steps.config.sampling.model_dump())


def _spent(records: Sequence[StepRecord]) -> int:
    """Tokens read and generated."""
    facts = [record.output.facts for record in records]
    return sum(int(str(one.get(name, 0))) for one in facts for name in ("tokens", "prompt_tokens"))
