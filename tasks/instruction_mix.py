"""The training set of Self-Instruct: every admitted instance in a form drawn for it, and the seeds' own instances beside them.

The loss is on the output alone. That an instance was admitted says that it has the form of an answer, and not that it is one.
"""

import json
from collections import Counter
from collections.abc import Iterator

from storage.errors import UserMistake
from storage.identity import digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Example, ExampleEvidence, Problem, Verdict
from tasks.caching import cached_task
from tasks.composition import ORIGINAL, Candidate, Composition
from tasks.engines.uniforms import keys_of, uniforms
from tasks.ingredients import chat_code, trained_text
from tasks.prompts.chat import Chat
from tasks.prompts.instruct import TRAINED, trained
from tasks.rewards import Judged
from tasks.runtime import Runtime


@cached_task("mix instructions", template=trained_text, chat=chat_code)
def mix_instructions(
    judged: tuple[Judged, ...],
    originals: Manifest | None,
    template: str,
    longest: int,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """Members in training order; `originals` are worked seeds. What has more than `longest` characters, prompt and all, is left out.

    Raises UserMistake when no instance is left.
    """
    composition = Composition(runtime.shards)
    counts: Counter[str] = Counter()
    for cell in judged:
        runtime.check_cancelled()
        composition.offer(list(_candidates(cell, template, chat, longest, seed, counts, runtime)))
    if not composition.kept:
        raise UserMistake(
            f"no instance is left to train on: of {counts['verdicts']} that were read {counts['refused']} were refused and {counts['long']} "
            f'are longer than {longest} characters; look at the refusals with `starloop sql "select reason, count(*) from verdict '
            'where not passed group by 1"`, or start from a larger model or more rounds'
        )
    given = [] if originals is None else runtime.shards.read(originals, Problem)
    composition.include(
        [
            one
            for problem in given
            for one in [_seeded(problem, template, chat, seed)]
            if len(one.example.prompt) + len(one.example.completion) <= longest
            and not runtime.tombstones.has("example", one.example.example_id)
        ]
    )
    kept = composition.kept
    accounting = Accounting(
        counts["verdicts"], ok=kept, rejected=counts["verdicts"] - kept - counts["failed"], failed=counts["failed"]
    )
    return composition.seal(accounting, seed)


def form_of(seed: int, instruction: str, given: str, output: str) -> str:
    """The form that an instance is trained in, drawn by what it says."""
    (number,) = uniforms(keys_of([digest("self-instruct form", seed, instruction, given, output)]), 0, 1)[0].tolist()
    return TRAINED[int(number * len(TRAINED))]


def _candidates(
    cell: Judged, template: str, chat: Chat | None, longest: int, seed: int, counts: Counter[str], runtime: Runtime
) -> Iterator[Candidate]:
    problem_of = {one.problem_id: one for one in runtime.shards.iterate(cell.problems, Problem)}
    answers = {one.attempt_id: one.problem_id for one in runtime.shards.iterate(cell.attempts, Attempt)}
    for verdict in runtime.shards.iterate(cell.verdicts, Verdict):
        counts["verdicts"] += 1
        if not verdict.passed or verdict.answer is None:
            counts["failed" if verdict.passed is None else "refused"] += 1
            continue
        says = json.loads(verdict.answer)
        problem = problem_of[answers[verdict.attempt_id]]
        example = _example(template, chat, problem.question, says["input"], says["output"], seed)
        if len(example.prompt) + len(example.completion) > longest:
            counts["long"] += 1
        elif not runtime.tombstones.has("example", example.example_id):
            evidence = ExampleEvidence(
                example.example_id, problem.problem_id, cell.origin, verdict.attempt_id, verdict.verdict_id
            )
            yield Candidate(example, evidence)


def _seeded(problem: Problem, template: str, chat: Chat | None, seed: int) -> Candidate:
    example = _example(
        template, chat, problem.question, json.loads(problem.info)["input"], problem.rationale or "", seed
    )
    return Candidate(example, ExampleEvidence(example.example_id, problem.problem_id, ORIGINAL))


def _example(template: str, chat: Chat | None, instruction: str, given: str, output: str, seed: int) -> Example:
    prompt = trained(template, form_of(seed, instruction, given, output), instruction, given, chat)
    return Example.of(prompt, output if chat else f" {output}")
