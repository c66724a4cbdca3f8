"""The step `balance`: the temperature at which an iteration samples, chosen on a few of its problems (B-STaR)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.step import Model, joined
from storage.manifest import Manifest
from tasks.balance import Probe, balance
from tasks.engines.protocol import Sampling
from tasks.pose import pick_first
from tasks.sample import sample

if TYPE_CHECKING:
    from flows.iteration import Steps


@dataclass(frozen=True, slots=True)
class Balanced:
    """How an iteration samples, from which reward on it keeps (None: what is right), and what is said of both."""

    sampling: Sampling
    threshold: float | None
    summary: dict[str, Any]


def balanced(steps: "Steps", iteration: int, model: Model, problems: Manifest) -> Balanced:
    """The best of the temperatures tried; without a probe, the one of the settings."""
    config, plain = steps.config.balance, steps.drawing()
    if config.by == "none":
        return Balanced(plain, None, {})
    few = {"problems": problems, "count": config.problems}
    part = steps.loop.run(iteration, "probe problems", pick_first, [few])[0].output.manifests["problems"]
    probes: list[Probe] = []
    for temperature in config.temperatures:
        how = replace(plain, temperature=temperature)
        call = steps.writing(part, model) | {"sampling": how, "first_sample": 0, "samples": config.samples}
        attempts = steps.loop.run(iteration, f"probe at {temperature:g}", sample, [call])
        verdicts = steps.judge(iteration, f"probe verify at {temperature:g}", [part], attempts, steps.kept_by)
        probes.append(Probe(temperature, joined(attempts, "attempts"), joined(verdicts, "verdicts")))
    call = {"probes": tuple(probes), "thresholds": config.thresholds, "wanted": config.wanted}
    facts = steps.loop.run(iteration, "balance", balance, [call])[0].output.facts
    sampling = replace(plain, temperature=facts["temperature"])
    if waits := facts.get("waits"):  # a rehearsal: what is sampled depends on this step
        sampling = replace(sampling, stop=(*plain.stop, str(waits)))
    threshold = facts["threshold"]
    assert threshold is None or isinstance(threshold, float)
    told = {"temperature": facts["temperature"], "balance_score": facts["score"], "balance_threshold": threshold}
    return Balanced(sampling, threshold, told)
