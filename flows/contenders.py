"""Who takes part in a comparison: a loop a method and seed, on the same problems, base and held-out set, with the same budget.

Methods need different settings, so one preset says what they share and, in tables `[methods.rest_em]`, what differs for each. What
has to be the same is looked at before anything runs, and so is whether a method can use the problem set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.config import LoopConfig
from flows.methods import LOOPS
from flows.refs import check, refs_of
from flows.resolving import methods_of, presets, resolve
from storage.errors import UserMistake
from tasks.problems.registry import load as load_problems

SAME = ("problems", "engine", "chat", "model", "evaluation")
"""Settings that have to be equal in all loops; so do the prompts and the verifier that they come to."""
UNSCORED = {"self_instruct": "it makes its own instructions, and nobody says which of its answers are right"}
"""Methods that cannot be compared by accuracy, and why."""
OF_ONE = "methods"
"""How a setting of one method is written: `methods.rest_em.samples`."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One loop of a comparison."""

    method: str
    seed: int
    config: LoopConfig

    @property
    def name(self) -> str:
        return f"{self.method}, seed {self.seed}"


def contenders(
    methods: Sequence[str], preset: str | None, budget_tokens: int, seeds: int, settings: Mapping[str, Any]
) -> list[Contender]:
    """Every loop, seed by seed; raises UserMistake for what cannot be compared. `settings` are by dotted name."""
    _check_methods(methods)
    if preset is None:
        raise UserMistake(f"a comparison needs a preset with settings for {', '.join(methods)}; {_fitting(methods)}")
    if preset not in presets():
        raise UserMistake(f"no preset {preset!r}; {_fitting(methods)}")
    if missing := [method for method in methods if method not in methods_of(presets()[preset])]:
        raise UserMistake(
            f"preset {preset!r} is for {', '.join(methods_of(presets()[preset]))} and says nothing for {missing[0]}: give it a table "
            f"[methods.{missing[0]}] with the settings that differ; {_fitting(methods)}"
        )
    if budget_tokens < 1 or seeds < 1:
        raise UserMistake(f"{budget_tokens} tokens and {seeds} seeds cannot be compared; give at least one of each")
    if unknown := [name for name in settings if name.startswith(f"{OF_ONE}.") and name.split(".")[1] not in methods]:
        raise UserMistake(f"{unknown[0]!r} is for none of the methods that are compared: {', '.join(methods)}")
    found = [
        Contender(method, seed, resolve(method, preset, _settings(method, seed, budget_tokens, settings)))
        for seed in range(seeds)
        for method in methods
    ]
    if found[0].config.arms:
        raise UserMistake(f"preset {preset!r} has arms of its own; compare with one that is a single run")
    for one in found[: len(methods)]:
        _check_gold(one)
        check(one.config)
        _check_same(found[0], one)
    return found


def _settings(method: str, seed: int, budget_tokens: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A method's settings: those for all, those for it alone, and what a comparison decides."""
    own = f"{OF_ONE}.{method}."
    shared = {name: value for name, value in settings.items() if not name.startswith(f"{OF_ONE}.")}
    mine = {name.removeprefix(own): value for name, value in settings.items() if name.startswith(own)}
    decided = {"seed": seed, "name": f"{method}, seed {seed}", "stop.iteration_tokens": budget_tokens}
    return shared | mine | decided


def _check_methods(methods: Sequence[str]) -> None:
    for method in methods:
        if method in UNSCORED:
            raise UserMistake(
                f"{method} cannot be compared by accuracy: {UNSCORED[method]}; there are: {', '.join(_comparable())}"
            )
        if method not in LOOPS:
            raise UserMistake(f"no method {method!r}; those that can be compared are: {', '.join(_comparable())}")
    if len(set(methods)) != len(methods) or len(methods) < 2:
        given = ", ".join(methods) or "nothing"
        raise UserMistake(f"a comparison is of two methods or more, each named once; given: {given}")


def _comparable() -> list[str]:
    return [method for method in sorted(LOOPS) if method not in UNSCORED]


def _fitting(methods: Sequence[str]) -> str:
    names = [name for name, one in presets().items() if set(methods) <= set(methods_of(one))]
    return f"presets for these methods: {', '.join(names) or 'none yet'}"


def _check_gold(one: Contender) -> None:
    """STaR shows the gold answer as a hint, so there has to be one."""
    if getattr(one.config, "rationalize_iterations", 0) == 0:
        return
    train = load_problems(one.config.problems).take("train", 0, 1)
    if train and train[0].gold is None:
        raise UserMistake(
            f"{one.config.problems} has no gold answers, and {one.method} shows them as hints; set "
            f"methods.{one.method}.rationalize_iterations=0, or name a problem set that has them"
        )


def _check_same(first: Contender, other: Contender) -> None:
    """The same problems, prompts, verifier, base and held-out problems."""
    pairs: dict[str, tuple[object, object]] = {
        name: (getattr(first.config, name), getattr(other.config, name)) for name in SAME
    }
    mine, its = refs_of(first.config), refs_of(other.config)
    pairs |= {"template": (mine.template, its.template), "verifier": (mine.verifier, its.verifier)}
    for name, (expected, given) in pairs.items():
        if expected != given:
            raise UserMistake(
                f"{name} is not the same for {first.method} and {other.method}, so they cannot be compared: {expected!s:.120} "
                f"and {given!s:.120}"
            )
