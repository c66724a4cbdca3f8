"""Mix: which examples are trained on, from where, in what ratio; measured and recorded.

An example is the direct prompt with the completion; a rationalized attempt becomes one under its problem's direct prompt,
so the hint is nowhere in what is trained on. A refinement is trained on under the prompt that it was made from. The same text
from two attempts is one example with two pieces of evidence.

Cell by cell: one cell's rows are in memory at a time, and of those before it their ids.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from storage.errors import UserMistake
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Example, ExampleEvidence, Problem, Prompt, Verdict
from tasks.caching import cached_task
from tasks.composition import ORIGINAL, Candidate, Composition
from tasks.engines.protocol import FAILED
from tasks.equations import path_of
from tasks.ingredients import chat_code, template_text
from tasks.prompts.chat import Chat, example_prompt, in_chat, prompt_of
from tasks.prompts.render import completion
from tasks.rewards import Judged, Threshold, absolute, reward_of, scores_of
from tasks.runtime import Runtime
from tasks.selection import Limits, within
from tasks.verify import outcomes

BATCH_ROWS = 5_000
"""Problems that become examples at once, where no cell says how many."""


@dataclass(frozen=True, slots=True)
class MixRule:
    """What is kept. `self_share` is the wanted share of self-generated rows; originals fill the rest.

    `keep`: correct (passed), or everything (the control without a filter; undecided and failed ones stay out all
    the same); a `threshold` decides in its place. `cap_per_problem` 0 keeps all. `dedupe`: exact (the same text once) or equations (one
    text for each list of equations of a problem). `select`: all, or top1 (of each problem the one with the highest reward).
    """

    keep: str = "correct"
    self_share: float = 1.0
    cap_per_problem: int = 0
    seed: int = 0
    dedupe: str = "exact"
    select: str = "all"
    threshold: Threshold | None = None

    @property
    def limits(self) -> Limits:
        return Limits(self.cap_per_problem, paths=self.dedupe == "equations", best=self.select == "top1")


@cached_task("mix", template=template_text, chat=chat_code)
def mix(
    judged: tuple[Judged, ...],
    originals: Manifest | None,
    template: str,
    rule: MixRule,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """The training set of one iteration, in training order; raises UserMistake when nothing is left to train on."""
    threshold = rule.threshold and absolute(rule.threshold, judged, runtime)

    def candidates(counts: Counter[str]) -> Iterator[list[Candidate]]:
        for cell in judged:
            runtime.check_cancelled()
            yield list(_candidates(cell, template, chat, rule, threshold, counts, runtime))

    # With a limit, what a later cell says again decides what of an earlier one is kept: so a first pass looks at ids only.
    chosen = within(candidates(Counter()), rule.limits) if rule.limits.any else None
    composition = Composition(runtime.shards)
    counts: Counter[str] = Counter()
    for rows in candidates(counts):
        composition.offer(rows if chosen is None else chosen.those_of(rows))
    counts["ok"] -= (dropped := counts["ok"] - composition.kept)
    counts["rejected"] += dropped
    if not composition.kept:
        raise UserMistake(_nothing_left(counts, dropped, threshold))
    if originals:
        wanted = round(composition.kept * (1 - rule.self_share) / rule.self_share)
        _include(
            composition, runtime.shards.iterate(originals, Problem, stop=wanted), template, chat, ORIGINAL, runtime
        )
    accounting = Accounting(sum(counts.values()), counts["ok"], counts["rejected"], counts["undecided"], counts[FAILED])
    output = composition.seal(accounting, rule.seed)
    return output if threshold is None else replace(output, facts={**output.facts, "threshold": threshold.above})


@cached_task("collect", template=template_text, chat=chat_code)
def collect(
    problems: Manifest,
    template: str,
    origin: str,
    answers_only: bool,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """A training set from problems as they came: worked examples (a corpus), or with `answers_only` their bare gold answers.

    What a corpus says twice is trained on twice: how often something is written is part of what it teaches.
    """
    composition = Composition(runtime.shards)
    rows = runtime.shards.iterate(problems, Problem)
    kept = _include(composition, rows, template, chat, origin, runtime, answers_only=answers_only)
    return composition.seal(Accounting(asked=problems.rows, ok=kept, rejected=problems.rows - kept), seed)


def _include(
    composition: Composition, problems: Iterable[Problem], template: str, chat: Chat | None, origin: str, runtime: Runtime,
    *, answers_only: bool = False,
) -> int:  # fmt: skip
    """Adds examples that no model wrote, those that were forgotten aside; how many."""
    rest, count = iter(problems), 0
    while batch := list(islice(rest, BATCH_ROWS)):
        documents = [_document(template, chat, problem, origin, answers_only) for problem in batch]
        kept = [one for one in documents if not runtime.tombstones.has("example", one.example.example_id)]
        composition.include(kept)
        count += len(kept)
    return count


def _document(template: str, chat: Chat | None, problem: Problem, origin: str, answers_only: bool) -> Candidate:
    """A problem that says what its writer was shown comes with it, but for the bare answer. A turn of a chat begins without a space."""
    shown = prompt_of(template, problem, chat=chat) if answers_only else example_prompt(template, problem, chat)
    text = completion(template, problem, rationale=not answers_only)
    example = Example.of(shown.text, text if chat is None else text.lstrip())
    return Candidate(example, ExampleEvidence(example.example_id, problem.problem_id, origin))


def _candidates(
    cell: Judged, template: str, chat: Chat | None, rule: MixRule, threshold: Threshold | None, counts: Counter[str], runtime: Runtime
) -> Iterator[Candidate]:  # fmt: skip
    """The candidates of a cell, in the attempts' order; what became of each attempt is added to `counts`."""
    problem_of = {problem.problem_id: problem for problem in runtime.shards.iterate(cell.problems, Problem)}
    verdicts = list(runtime.shards.iterate(cell.verdicts, Verdict))
    outcome = outcomes(verdicts)
    scores = scores_of(verdicts) if threshold or rule.limits.best else {}
    prompts = {one.prompt_id: one for one in runtime.shards.iterate(cell.prompts, Prompt)} if cell.prompts else {}
    for attempt in runtime.shards.iterate(cell.attempts, Attempt):
        passed, verdict_id = outcome[attempt.attempt_id]
        reward = reward_of(threshold.reward if threshold else "verifier", attempt, scores)
        fate = _fate(attempt, passed, reward, rule.keep, threshold)
        if fate == "ok":
            if cell.prompts is None:
                prompt = prompt_of(template, problem_of[attempt.problem_id], chat=chat)
            else:
                prompt = in_chat(chat if cell.bare else None, prompts[attempt.prompt_id])
            example = Example.of(prompt.text, completion(template, attempt.text))
            evidence = ExampleEvidence(
                example.example_id, attempt.problem_id, cell.origin, attempt.attempt_id, verdict_id
            )
            if runtime.tombstones.has("example", example.example_id):
                fate = "rejected"
            else:
                path = path_of(example.completion) if rule.limits.paths else ""
                yield Candidate(example, evidence, reward or 0.0, path)
        counts[fate] += 1


def _fate(attempt: Attempt, passed: bool | None, reward: float | None, keep: str, threshold: Threshold | None) -> str:
    if attempt.finish_reason == FAILED:
        return FAILED
    if threshold is not None:
        return "undecided" if reward is None else "ok" if reward > threshold.above else "rejected"
    if passed is None:
        return "undecided"
    return "ok" if passed or keep == "everything" else "rejected"


def _nothing_left(counts: Counter[str], dropped: int, threshold: Threshold | None) -> str:
    asked = sum(counts.values())
    filtered = (
        "did not pass the verifier"
        if threshold is None
        else f"have no {threshold.reward} reward above {threshold.above:g}"
    )
    reasons = [
        f"{counts['rejected'] - dropped} {filtered}",
        f"{counts['undecided']} are undecided",
        f"{counts[FAILED]} failed to generate",
        f"{dropped} fell to the cap or were duplicates",
    ]
    return (
        f"the training set came out empty: of {asked} attempts {', '.join(reasons)}; "
        "check the verifier with `starloop preview`, or start from a model or a problem set nearer to its abilities"
    )
