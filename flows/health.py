"""Whether a loop is still well: each iteration's figures beside limits, and what follows where one is passed.

    {"check": "lost_share", "value": 0.27, "limit": 0.2, "action": "warn", "said": "27 % of the dev problems that the model before solved are lost"}

`tasks.health` counts; this compares with iteration 1, with the model before and with the limits in `config.health`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.cases import case_table, cases_of
from flows.ceiling import Audited, ceiling
from flows.config import Action
from flows.gathered import judged_of
from flows.held_out import Answered
from flows.iteration import Steps
from flows.refs import limits
from flows.step import Model
from storage.errors import UserMistake
from tasks.health import health
from tasks.rewards import Judged
from tasks.trust import Labelled, LabelledCase, trust
from tasks.verifiers.registry import judges_in

OF_THE_WRITER = frozenset({"pass_at_k_drop", "length_drift", "undecided_share", "gap"})
"""Checks on what an iteration's attempts show: of the model that wrote them, and so of the one trained on them. The others are on the
iteration's own model.
"""
SAID = {
    "pass_at_k_drop": "pass@K is {value:.1%} below that of iteration 1: it sharpens what it had and loses the rest",
    "length_drift": "attempts are {value:.0%} away from the mean length of iteration 1",
    "undecided_share": "{value:.1%} of the attempts could not be judged",
    "lost_share": "{value:.1%} of the dev problems that the model before solved are lost",
    "false_positive_share": "{value:.1%} of the audited attempts that passed are unsound",
    "gap": "train accuracy has grown {value:.1%} further above dev accuracy than it was in iteration 1",
}
"""Check to its sentence."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A limit that was passed."""

    check: str
    value: float
    limit: float
    action: Action
    said: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What an iteration's figures come to: whether the loop ends here, and the place of the model that the next one starts from."""

    facts: dict[str, Any]
    stops: bool
    place: int


@dataclass
class Watch:
    """One loop's health. Models are named by their place: 0 is the base, n what iteration n made."""

    steps: Steps
    models: list[Model]
    devs: list[dict[str, Any]]
    bad: set[int] = field(default_factory=set)
    """Places of the models that a check sent the loop back from."""
    _first: dict[str, Any] = field(default_factory=dict)
    _went_back_to: int | None = None
    _audited: Audited | None = None

    def good(self) -> list[int]:
        """Places of the models that are not bad, in order."""
        return [place for place in range(len(self.models)) if place not in self.bad]

    def look(
        self, iteration: int, writer: int, model: Model, dev: dict[str, Any], summary: Mapping[str, Any]
    ) -> Finding:
        """Judge an iteration: `writer` is the place of the model that wrote its attempts, `summary` the method's own figures."""
        facts = self._measured(iteration, writer, model)
        self.models.append(model)
        self.devs.append(dev)
        figures = facts | self._compared(facts, writer, summary)
        if iteration == 1:
            self._first, self._audited = figures, audited(self.steps)
        if self._audited and (found := self._ceiling()):
            figures["ceiling"] = found
        signs = [self._sign(name, *limits(self.steps.config.health)[name], figures) for name in SAID]
        passed = [one for one in signs if one is not None]
        for one in passed:
            self.steps.loop.listener.said(f"iteration {iteration}: {one.said} (the limit is {one.limit:g})")
        return self._finding(iteration, writer, figures, passed)

    def _measured(self, iteration: int, writer: int, model: Model) -> dict[str, Any]:
        """What the task counts."""
        steps = self.steps
        gathered = [one for one in steps.history if one.iteration == iteration]
        before = [] if steps.config.fresh_problems else [one for one in steps.history if one.iteration == iteration - 1]
        call = {
            "judged": tuple(part for one in gathered for part in one.judged),
            "audited": tuple(part for one in gathered for part in one.audited),
            "before": tuple(part for one in before for part in one.judged if part.origin == "sampled"),
            "dev": answers(steps.answered(model, "dev")),
            "dev_before": answers(steps.answered(self.models[writer], "dev")),
        }
        return dict(steps.loop.run(iteration, "health", health, [call])[0].output.facts)

    def _compared(self, facts: Mapping[str, Any], writer: int, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The figures that look at more than this iteration; None where there is nothing to compare with."""
        first = self._first or facts
        train, dev = summary.get("train_accuracy"), self.devs[writer]["accuracy"]
        gap = None if train is None or dev is None else train - dev
        at_first = first.get("train_dev_gap", gap)
        kept = summary.get("kept")
        return {
            "pass_at_k_drop": pass_at_k_drop(first["pass_at"], facts["pass_at"]),
            "length_drift": length_drift(first, facts),
            "lost_share": lost_share(facts["dev_changes"]),
            "train_lost_share": lost_share(facts["train_changes"]),
            "false_positive_share": false_positive_share(facts["unsound"]),
            "rationalized_share": summary.get("rationalized_kept", 0) / kept if kept else None,
            "train_dev_gap": gap,
            "gap": None if gap is None or at_first is None else gap - at_first,
        }

    def _ceiling(self) -> dict[str, Any] | None:
        """From the share that the verifier accepts of what the base wrote in iteration 1: its pass@1."""
        assert self._audited is not None
        accepted = self._first["pass_at"][0] if self._first["pass_at"] else None
        found = None if accepted is None else ceiling(accepted, self._audited)
        return None if found is None else found.as_json() | {"cases": self._audited.wrong + self._audited.right}

    def _sign(self, check: str, limit: float, action: Action, figures: Mapping[str, Any]) -> Sign | None:
        value = figures.get(check)
        if action == "off" or value is None or value <= limit:
            return None
        return Sign(check, round(value, 6), limit, action, SAID[check].format(value=value))

    def _finding(self, iteration: int, writer: int, figures: dict[str, Any], passed: Sequence[Sign]) -> Finding:
        back = [one for one in passed if one.action == "back"]
        place, stops = len(self.models) - 1, any(one.action == "stop" for one in passed)
        if back:
            self.bad |= condemned(place, writer, [one.check for one in back])
            place = self.good()[-1]
            self.steps.history[:] = [one for one in self.steps.history if one.iteration not in self.bad]
            figures["back_to"] = place
            stops = stops or self._went_back_to == place  # from there it went wrong a second time
            self.steps.loop.listener.said(f"back to {'the base' if place == 0 else f'iteration {place}'}")
        self._went_back_to = figures.get("back_to")
        if stops:
            self.steps.loop.listener.said("stopping here: the loop is no longer well")
        return Finding(figures | {"signs": [asdict(one) for one in passed]}, stops, place)


def condemned(place: int, writer: int, checks: Sequence[str]) -> set[int]:
    """Places of the models that are bad by these checks: the iteration's own, and for what its attempts show the one that wrote them. A
    base is never bad.
    """
    return {place, writer} - {0} if set(checks) & OF_THE_WRITER else {place}


def pass_at_k_drop(first: Sequence[float], now: Sequence[float]) -> float | None:
    """How far pass@K fell, at the largest K that both have; None where a problem has one attempt only."""
    k = min(len(first), len(now))
    return first[k - 1] - now[k - 1] if k > 1 else None


def length_drift(first: Mapping[str, Any], now: Mapping[str, Any]) -> float | None:
    """The distance of the mean lengths, as a share of the first: in tokens where both are counted, else in characters."""
    for unit in ("mean_tokens", "mean_characters"):
        if first[unit] and now[unit] is not None:
            return abs(now[unit] / first[unit] - 1)
    return None


def lost_share(changes: Mapping[str, int] | None) -> float | None:
    """Of the problems that were solved before, those that are not any more."""
    return changes["lost"] / changes["solved_before"] if changes and changes["solved_before"] else None


def false_positive_share(unsound: Mapping[str, Mapping[str, int]]) -> float | None:
    """Of what passed and was audited, what the audit fails; over all origins."""
    judged = sum(one["judged"] for one in unsound.values())
    return sum(one["wrong"] for one in unsound.values()) / judged if judged else None


def answers(answered: Answered) -> tuple[Judged, ...]:
    """A split's answers with their verdicts."""
    return tuple(judged_of("held-out", answered.parts, answered.attempts, answered.verdicts))


def audited(steps: Steps) -> Audited | None:
    """What the verifier did on its table of labelled cases; None where it has none, or a model would have to be asked."""
    try:
        table = cases_of(case_table(steps.verifier.partition(":")[0]))
    except UserMistake:
        return None
    quick = [case for case in table if case.passed is not None and not case.hangs and not case.repeat[1]]
    if judges_in(steps.verifier) or not quick:
        return None
    labelled = Labelled(tuple(LabelledCase(case.attempt(), case.problem(), bool(case.passed)) for case in quick))
    call = {"labelled": labelled, "verifier": steps.verifier}
    facts: Any = steps.loop.run(1, "audit verifier", trust, [call])[0].output.facts
    if facts["false_accepts"] is None:
        return None
    return Audited(facts["false_accepts"], facts["wrong_cases"], facts["false_rejects"], facts["right_cases"])
