"""Mix: which examples are trained on, from where, in what ratio; asserted and recorded.

An example is the direct prompt with the completion; a rationalized attempt becomes one under its problem's direct prompt,
so the hint is nowhere in what is trained on. The same text from two attempts is one example with two pieces of evidence.
"""

import random
from collections import Counter
from dataclasses import dataclass

from storage.errors import UserMistake
from storage.identity import content_id
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Example, ExampleEvidence, Mix, MixMember, Problem, Verdict
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED
from tasks.ingredients import template_text
from tasks.prompts.render import completion, render
from tasks.runtime import Runtime
from tasks.verify import outcomes

SAMPLED, RATIONALIZED, ORIGINAL, CORPUS = "sampled", "rationalized", "original", "corpus"
GENERATED = (SAMPLED, RATIONALIZED)


@dataclass(frozen=True, slots=True)
class Judged:
    """Attempts with their verdicts, of one origin."""

    origin: str
    attempts: Manifest
    verdicts: Manifest


@dataclass(frozen=True, slots=True)
class MixRule:
    """What is kept. `self_share` is the wanted share of self-generated rows; originals fill the rest.

    `keep`: correct (passed), or everything (the control without a filter; undecided and failed ones stay out all
    the same). `cap_per_problem` 0 keeps all.
    """

    keep: str = "correct"
    self_share: float = 1.0
    cap_per_problem: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may be trained on, with the evidence for it."""

    example: Example
    evidence: ExampleEvidence


@cached_task("mix", template=template_text)
def mix(
    problems: Manifest,
    judged: tuple[Judged, ...],
    originals: Manifest | None,
    template: str,
    rule: MixRule,
    runtime: Runtime,
) -> Output:
    """The training set of one iteration, in training order; raises UserMistake when nothing is left to train on."""
    problem_of = {problem.problem_id: problem for problem in runtime.shards.read(problems, Problem)}
    counts: Counter[str] = Counter()
    generated: list[Candidate] = []
    for part in judged:
        outcome = outcomes(runtime.shards.read(part.verdicts, Verdict))
        for attempt in runtime.shards.read(part.attempts, Attempt):
            passed, verdict_id = outcome[attempt.attempt_id]
            fate = _fate(attempt, passed, rule.keep)
            if fate == "ok":
                example = Example.of(
                    render(template, problem_of[attempt.problem_id]).text, completion(template, attempt.text)
                )
                evidence = ExampleEvidence(
                    example.example_id, attempt.problem_id, part.origin, attempt.attempt_id, verdict_id
                )
                if runtime.tombstones.has("example", example.example_id):
                    fate = "rejected"
                else:
                    generated.append(Candidate(example, evidence))
            counts[fate] += 1
    kept = _capped(_unique(generated), rule.cap_per_problem)
    trained_on = {one.example.example_id for one in kept}
    evidence = [one for one in generated if one.example.example_id in trained_on]
    counts["ok"] -= (dropped := len(generated) - len(kept))
    counts["rejected"] += dropped
    if not kept:
        raise UserMistake(_nothing_left(counts, dropped))
    wanted = round(len(kept) * (1 - rule.self_share) / rule.self_share) if originals else 0
    worked = runtime.shards.read(originals, Problem)[:wanted] if originals and wanted else []
    original = _unforgotten(documents(template, worked, ORIGINAL), runtime)
    accounting = Accounting(sum(counts.values()), counts["ok"], counts["rejected"], counts["undecided"], counts[FAILED])
    return compose(kept + original, evidence + original, accounting, rule.seed, runtime)


@cached_task("collect", template=template_text)
def collect(problems: Manifest, template: str, origin: str, answers_only: bool, seed: int, runtime: Runtime) -> Output:
    """A training set from problems as they came: worked examples (a corpus), or with `answers_only` their bare gold answers.

    What a corpus says twice is trained on twice: how often something is written is part of what it teaches.
    """
    rows = runtime.shards.read(problems, Problem)
    candidates = _unforgotten(documents(template, rows, origin, answers_only=answers_only), runtime)
    accounting = Accounting(asked=len(rows), ok=len(candidates), rejected=len(rows) - len(candidates))
    return compose(candidates, candidates, accounting, seed, runtime)


def documents(template: str, problems: list[Problem], origin: str, *, answers_only: bool = False) -> list[Candidate]:
    """Examples that no model wrote. A problem that carries its own hint is shown with it, as its writer wrote it."""
    candidates: list[Candidate] = []
    for problem in problems:
        hinted = '"hint"' in problem.info and not answers_only
        example = Example.of(
            render(template, problem, hinted=hinted).text, completion(template, problem, rationale=not answers_only)
        )
        candidates.append(Candidate(example, ExampleEvidence(example.example_id, problem.problem_id, origin)))
    return candidates


def compose(
    members: list[Candidate], evidence: list[Candidate], accounting: Accounting, seed: int, runtime: Runtime
) -> Output:
    """Shuffle by seed, name by content, write."""
    order = list(members)
    random.Random(seed).shuffle(order)
    mix_id = content_id("mix", members=[[one.example.example_id, one.evidence.origin, 1.0] for one in order])
    rows = [MixMember(mix_id, place, one.example.example_id, one.evidence.origin) for place, one in enumerate(order)]
    origins = Counter(one.evidence.origin for one in order)
    size: Counter[str] = Counter()
    for one in order:
        size[one.evidence.origin] += len(one.example.completion)
    generated = sum(origins[origin] for origin in GENERATED)
    summary = Mix(mix_id, rows=len(order), original_rows=len(order) - generated, generated_rows=generated)
    write = runtime.shards.write
    return Output(
        {
            "examples": write("example", {one.example.example_id: one.example for one in order}.values()),
            "evidence": write("example_evidence", dict.fromkeys(one.evidence for one in evidence)),
            "members": write("mix_member", rows),
            "mix": write("mix", [summary]),
        },
        accounting,
        {
            "mix_id": mix_id,
            "rows": len(order),
            "rows_by_origin": dict(sorted(origins.items())),
            "self_share": generated / len(order),
            "self_share_by_characters": sum(size[origin] for origin in GENERATED) / max(1, sum(size.values())),
        },
    )


def _unforgotten(candidates: list[Candidate], runtime: Runtime) -> list[Candidate]:
    return [one for one in candidates if not runtime.tombstones.has("example", one.example.example_id)]


def _fate(attempt: Attempt, passed: bool | None, keep: str) -> str:
    if attempt.finish_reason == FAILED:
        return FAILED
    if passed is None:
        return "undecided"
    return "ok" if passed or keep == "everything" else "rejected"


def _capped(candidates: list[Candidate], cap: int) -> list[Candidate]:
    if not cap:
        return candidates
    seen: Counter[str] = Counter()
    kept: list[Candidate] = []
    for one in candidates:
        seen[one.evidence.problem_id] += 1
        if seen[one.evidence.problem_id] <= cap:
            kept.append(one)
    return kept


def _unique(candidates: list[Candidate]) -> list[Candidate]:
    return list({one.example.example_id: one for one in reversed(candidates)}.values())[::-1]


def _nothing_left(counts: Counter[str], dropped: int) -> str:
    asked = sum(counts.values())
    reasons = [
        f"{counts['rejected'] - dropped} did not pass the verifier",
        f"{counts['undecided']} are undecided",
        f"{counts[FAILED]} failed to generate",
        f"{dropped} fell to the cap or were duplicates",
    ]
    return (
        f"the training set came out empty: of {asked} attempts {', '.join(reasons)}; "
        "check the verifier with `starloop preview`, or start from a model or a problem set nearer to its abilities"
    )
