"""What each task will give back as far as anybody can say before it runs: manifests in name only, counts as ranges.

A promised manifest names no shard of the disk but the step that will write it, so whatever takes it depends on that step.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from storage.manifest import Accounting, Manifest, Output
from tasks.training.child import kind_of

PROMISE = re.compile(r"promised:([^:\"]+):")
"""How a promise is written: `promised:<iteration> <step>:<what tells it from others>`."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of counts, seconds or tokens, both ends included."""

    low: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, other: "Span") -> "Span":
        return Span(self.low * other.low, self.high * other.high)

    def at_least(self, low: float) -> "Span":
        """The range without what is below `low`."""
        return Span(max(low, self.low), max(low, self.high))


NOTHING = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Promise:
    """A step that will run: `step` is its iteration and title, `key` tells it from others of that name."""

    step: str
    key: str

    @property
    def text(self) -> str:
        return f"promised:{self.step}:{self.key}"

    def manifest(self, table: str, rows: float) -> Manifest:
        return Manifest(table, (f"{self.text}:{table}",), round(rows))


Expectation = Callable[[Mapping[str, Any], Promise, float], Output]
"""From a task's arguments, the promise, and how many rows it will be asked at most, to its output."""


def _attempts(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    tables = {"attempts": "attempt", "prompts": "prompt", "derivations": "derivation"}
    return _output(promise, asked, tables, {"tokens": 0})


def _verdicts(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    return _output(promise, asked, {"verdicts": "verdict"}, {"outcomes": promise.text})


def _mix(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    tables = {"examples": "example", "evidence": "example_evidence", "members": "mix_member", "mix": "mix"}
    facts = {
        "mix_id": promise.text,
        "rows": 0,
        "rows_by_origin": {},
        "self_share": 1.0,
        "self_share_by_characters": 1.0,
    }
    return _output(promise, asked, tables, facts)


def _checkpoint(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    facts = {"checkpoint_id": promise.text, "weights_digest": promise.text, "kind": _kind(call)}
    return _output(promise, asked, {"training": "training", "checkpoint": "checkpoint"}, facts)


def _taken_in(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    facts = {"checkpoint_id": promise.text, "weights_digest": promise.text, "kind": "full"}
    return _output(promise, asked, {"checkpoint": "checkpoint"}, facts)


def _score(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    facts = {"n": asked, "accuracy": None, "ci_low": None, "ci_high": None, "strata": {}, "undecided": 0, "passed": 0}
    return _output(
        promise, asked, {"evaluation": "evaluation", "items": "evaluation_item"}, {**facts, "split": call["split"]}
    )


def _likelihood(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    return _output(promise, asked, {}, {"log_likelihood": None})


def _problems(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    return _output(promise, asked, {"problems": "problem", "verdicts": "verdict"}, {})


def _balance(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    facts = {"temperature": call["probes"][0].temperature, "threshold": None, "score": None, "waits": promise.text}
    return _output(promise, asked, {}, facts)


def _weighed(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    unknown = dict.fromkeys(("refined", "majority", "gap", "recovery", "all_wrong", "recovered"))
    return _output(promise, asked, {}, {**unknown, "equal_tokens": {"gap": None}})


def _checks(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    tables = {"problems": "problem", "attempts": "attempt", "prompts": "prompt", "derivations": "derivation"}
    return _output(promise, asked, tables, {"tokens": 0})


def _agreement(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    return _output(promise, asked, {}, {"constraints": {}})


def _health(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    unknown = dict.fromkeys(("mean_tokens", "mean_characters", "train_changes", "dev_changes"))
    return _output(promise, asked, {}, {**unknown, "pass_at": [], "unsound": {}})


def _trust(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    return _output(promise, asked, {}, {"false_accepts": None})


def _proposals(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    tables = {"proposals": "problem", "attempts": "attempt", "prompts": "prompt", "derivations": "derivation"}
    return _output(promise, asked, tables, {"tokens": 0})


def _admitted(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    """None of them, so that every round that may come is planned."""
    del call
    facts = {"admitted": 0, "refused": {}, "mean_nearest": None, "verbs": [], "nouns": []}
    return _output(promise, asked, {"verdicts": "verdict", "problems": "problem"}, facts)


def _searched(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    del call
    tables = {
        "attempts": "attempt", "steps": "attempt", "prompts": "prompt", "derivations": "derivation", "nodes": "node"
    }  # fmt: skip
    return _output(
        promise,
        asked,
        tables,
        {"tokens": 0, "nodes": 0, "solutions": 0, "valued": 0, "rounds": 0, "gated": 0, "closed": 0},
    )


def _value_set(call: Mapping[str, Any], promise: Promise, asked: float) -> Output:
    output = _mix(call, promise, asked)
    output.facts.update({"trees": 0, "best_right": 0, "summed_right": 0, "any_right": 0})
    return output


EXPECTED: dict[str, Expectation] = {
    "propose_instructions": _proposals,
    "admit_instructions": _admitted,
    "classify_instructions": _attempts,
    "make_instances": _attempts,
    "admit_instances": _admitted,
    "mix_instructions": _mix,
    "sample": _attempts,
    "rationalize": _attempts,
    "verify": _verdicts,
    "mix": _mix,
    "collect": _mix,
    "finetune": _checkpoint,
    "score": _score,
    "take_in": _taken_in,
    "likelihood": _likelihood,
    "pair_up": _mix,
    "propose": _attempts,
    "admit": _problems,
    "settle": _problems,
    "choose": _problems,
    "pick_first": _problems,
    "balance": _balance,
    "rank": _verdicts,
    "pick": _likelihood,
    "critique": _attempts,
    "refine": _attempts,
    "weigh_refinements": _weighed,
    "check": _checks,
    "agreement": _agreement,
    "health": _health,
    "trust": _trust,
    "search": _searched,
    "value_set": _value_set,
}
"""Task to what it is expected to give back. Problems are posed for real: that is quick, and everything depends on them."""

QUICK = frozenset({"choose", "pick_first"})
"""Tasks that are done for real as well, where all that they take is there."""


def waits_for(text: str) -> tuple[str, ...]:
    """The steps whose promises stand in an argument's canonical JSON, each once, in order."""
    return tuple(dict.fromkeys(PROMISE.findall(text)))


def _kind(call: Mapping[str, Any]) -> str:
    return kind_of(call["recipe"])


def _output(promise: Promise, asked: float, tables: Mapping[str, str], facts: Mapping[str, Any]) -> Output:
    manifests = {role: promise.manifest(table, asked) for role, table in tables.items()}
    return Output(manifests, Accounting(round(asked), ok=round(asked)), dict(facts))
