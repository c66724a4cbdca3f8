"""Pair up: right answers against wrong ones of the same problem, for preference training (Iterative RPO, V-STaR).

Both sides stand under the problem's direct prompt. A right answer may be a rationalized one, a wrong one is always the model's
own: what it writes with the answer before it is not what it has to unlearn. An answer that was cut off has no end to learn and
stays out, as does a text that was judged both right and wrong.

Of a problem's right and wrong answers, each text once, the k-th pair takes the k-th of either, starting over in the shorter
(Pang et al. 2024, section 2: "iterating over both simultaneously"), so that as many answers as can be are used; no pair comes
twice. A problem without a right or without a wrong answer gives none.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import lcm

from storage.errors import UserMistake
from storage.identity import content_id
from storage.manifest import Accounting, Output
from storage.records import Attempt, Example, ExampleEvidence, Mix, MixMember, Problem, Verdict
from tasks.caching import cached_task
from tasks.composition import RATIONALIZED
from tasks.engines.protocol import FAILED, LENGTH
from tasks.ingredients import chat_code, template_text
from tasks.prompts.chat import Chat, prompt_of
from tasks.prompts.render import completion
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.training.pairs import CHOSEN, REJECTED
from tasks.verify import outcomes


@dataclass(frozen=True, slots=True)
class PairRule:
    """How many pairs a problem gives at most (0: all there are), and what shuffles them."""

    per_problem: int = 10
    seed: int = 0


@dataclass(slots=True)
class Sides:
    """The different right and wrong answers to one problem, by example id, in the order in which they came."""

    right: dict[str, None] = field(default_factory=dict)
    wrong: dict[str, None] = field(default_factory=dict)

    def pairs(self, most: int) -> list[tuple[str, str]]:
        """So many pairs of a right and a wrong answer."""
        right = [one for one in self.right if one not in self.wrong]
        wrong = [one for one in self.wrong if one not in self.right]
        return paired(right, wrong, most)


def paired(right: Sequence[str], wrong: Sequence[str], most: int) -> list[tuple[str, str]]:
    """The first `most` of all pairs (0: all), going through both sides at once.

    >>> paired("ab", "xyz", 4)
    [('a', 'x'), ('b', 'y'), ('a', 'z'), ('b', 'x')]
    """
    if not right or not wrong:
        return []
    count = len(right) * len(wrong)
    round_ = lcm(len(right), len(wrong))  # after so many pairs the first one would come again: go on one further
    return [
        (right[place % len(right)], wrong[(place + place // round_) % len(wrong)])
        for place in range(min(count, most or count))
    ]


@cached_task("pair up", template=template_text, chat=chat_code)
def pair_up(
    judged: tuple[Judged, ...], template: str, rule: PairRule, runtime: Runtime, chat: Chat | None = None
) -> Output:
    """The pairs of one iteration, in training order; raises UserMistake when no problem was answered both ways."""
    counts: Counter[str] = Counter()
    sides: dict[str, Sides] = {}
    for cell in judged:
        runtime.check_cancelled()
        for one in _answers(cell, template, chat, counts, runtime):
            group = sides.setdefault(one.evidence.problem_id, Sides())
            (group.right if one.right else group.wrong)[one.example.example_id] = None
    pairs = [pair for group in sides.values() for pair in group.pairs(rule.per_problem)]
    if not pairs:
        raise UserMistake(_no_pair(counts, sides))
    random.Random(rule.seed).shuffle(pairs)
    used = ({chosen for chosen, _ in pairs}, {rejected for _, rejected in pairs})
    examples, evidence = runtime.shards.writer("example"), runtime.shards.writer("example_evidence")
    written: set[str] = set()
    taken = 0
    for cell in judged:
        runtime.check_cancelled()
        for one in _answers(cell, template, chat, Counter(), runtime):
            if one.example.example_id not in used[not one.right]:
                continue
            taken += 1
            for key, row, writer in (
                (one.example.example_id, one.example, examples), (one.evidence.evidence_id, one.evidence, evidence)
            ):  # fmt: skip
                if key not in written:
                    written.add(key)
                    writer.add([row])
    members = [
        (example, role, number) for number, pair in enumerate(pairs) for example, role in zip(pair, (CHOSEN, REJECTED), strict=True)
    ]  # fmt: skip
    mix_id = content_id("mix", members=[[example, role, 1.0, number] for example, role, number in members])
    rows = [MixMember(mix_id, place, *member) for place, member in enumerate(members)]
    asked = sum(counts.values())
    return Output(
        {
            "examples": examples.finish(),
            "evidence": evidence.finish(),
            "members": runtime.shards.write("mix_member", rows),
            "mix": runtime.shards.write("mix", [Mix(mix_id, len(rows), original_rows=0, generated_rows=len(rows))]),
        },
        Accounting(
            asked,
            ok=taken,
            rejected=asked - taken - counts["undecided"] - counts[FAILED],
            undecided=counts["undecided"],
            failed=counts[FAILED],
        ),
        {
            "mix_id": mix_id,
            "rows": len(rows),
            "rows_by_origin": {CHOSEN: len(pairs), REJECTED: len(pairs)},
            "self_share": 1.0,
            "self_share_by_characters": 1.0,
            "pairs": len(pairs),
            "paired_problems": sum(bool(group.pairs(1)) for group in sides.values()),
            "cut_off": counts["cut off"],
        },
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """An attempt that may be a side of a pair."""

    right: bool
    example: Example
    evidence: ExampleEvidence


def _answers(
    cell: Judged, template: str, chat: Chat | None, counts: Counter[str], runtime: Runtime
) -> Iterator[_Answer]:
    """The answers of a cell that can be sides, in the attempts' order; what became of each attempt is added to `counts`."""
    problem_of = {problem.problem_id: problem for problem in runtime.shards.iterate(cell.problems, Problem)}
    outcome = outcomes(runtime.shards.iterate(cell.verdicts, Verdict))
    for attempt in runtime.shards.iterate(cell.attempts, Attempt):
        passed, verdict_id = outcome[attempt.attempt_id]
        fate = _fate(attempt, passed, cell.origin)
        counts[fate] += 1
        if fate in (CHOSEN, REJECTED):
            prompt = prompt_of(template, problem_of[attempt.problem_id], chat=chat).text
            example = Example.of(prompt, completion(template, attempt.text))
            evidence = ExampleEvidence(
                example.example_id, attempt.problem_id, cell.origin, attempt.attempt_id, verdict_id
            )
            yield _Answer(fate == CHOSEN, example, evidence)


def _fate(attempt: Attempt, passed: bool | None, origin: str) -> str:
    if attempt.finish_reason == FAILED:
        return FAILED
    if passed is None:
        return "undecided"
    if attempt.finish_reason == LENGTH:
        return "cut off"
    if not attempt.text or (not passed and origin == RATIONALIZED):
        return "no side"
    return CHOSEN if passed else REJECTED


def _no_pair(counts: Counter[str], sides: dict[str, Sides]) -> str:
    right = sum(bool(group.right) for group in sides.values())
    wrong = sum(bool(group.wrong) for group in sides.values())
    return (
        f"no problem has a right and a wrong answer to pair: of {sum(counts.values())} attempts {counts[CHOSEN]} are right "
        f"(at {right} problems), {counts[REJECTED]} wrong (at {wrong}), {counts['cut off']} cut off, {counts['undecided']} "
        f"undecided, {counts[FAILED]} failed; raise samples and sampling.temperature, or set training.objective = sft"
    )
