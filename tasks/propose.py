"""Propose: new problems from the model itself, and which of them are fit to learn from.

    Problem(source='sums:20', split='train', question='What is 6 + 13?', gold='19', source_attempt_id='att_…', …)

A request shows a few of the iteration's problems and asks for one more. What comes is admitted once, if it asks something of
the set's kind that is not in dev or test, nor in train as far as that has an end, nor among the problems already posed, all up to
the set's symmetry. Every text has a verdict of the verifier `proposal` that says why not.

A set that is `Proposable` gives the gold answer by its own program. Of others the gold answer is what most attempts say
(`settle`): nobody checks that it is right, and the problem says so in its `info`.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from storage.identity import digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Problem, Prompt, Verdict
from tasks.caching import cached_task
from tasks.code_digest import code_of
from tasks.engines.protocol import FAILED, Sampling
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, direct_text, engine_code, problems_code
from tasks.problems.listed import key_of
from tasks.problems.protocol import ProblemSet, Proposable
from tasks.problems.registry import load
from tasks.prompts.chat import Chat, prompt_of
from tasks.runtime import Runtime
from tasks.sample import unique_prompts

TEMPLATE = "propose"
VERIFIER = "proposal"
STRATUM = "proposed"
LONGEST = 2_000
"""Characters of a question that is taken for one."""
MOST_TRAIN = 100_000
"""Train splits up to here are read whole, to know what is in them."""


@cached_task("propose", engine=engine_code, template=direct_text, chat=chat_code)
def propose(
    problems: Manifest,
    count: int,
    shown: int,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """`count` requests for a new problem; each attempt stands at the first of the problems that its prompt shows."""
    known = runtime.shards.read(problems, Problem)
    asked = list(_requests(known, count, shown, template, seed, chat))
    attempts = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "propose", runtime)
    failed = sum(attempt.finish_reason == FAILED for attempt in attempts)
    output = Output(
        {
            "attempts": runtime.shards.write("attempt", attempts),
            "prompts": runtime.shards.write("prompt", unique_prompts(asked)),
        },
        Accounting(asked=len(asked), ok=len(attempts) - failed, failed=failed),
        spent(attempts, engine),
    )
    seal(attempts, runtime)
    return output


@cached_task("admit proposals", source=problems_code)
def admit(
    attempts: Manifest, known: Manifest, source: str, by_program: bool, cell_rows: int, runtime: Runtime
) -> Output:
    """The proposals that are new problems, one shard a cell; `known` are the problems posed so far. Without gold unless `by_program`."""
    problem_set = load(source)
    key = key_in(problem_set)
    where = dict(_taken(problem_set, key)) | {
        key(one.question): "already posed" for one in runtime.shards.iterate(known, Problem)
    }
    where |= dict(_held_out(problem_set, key))
    admitted: list[Problem] = []
    verdicts: list[Verdict] = []
    reasons: Counter[str] = Counter()
    code = digest(code_of(__name__).as_json(), problems_code(source))
    for attempt in runtime.shards.iterate(attempts, Attempt):
        problem = _read(attempt, problem_set, by_program)
        why = _why_not(attempt, problem, where, key)
        if problem is not None and runtime.tombstones.bar_problem(problem):
            why = "forgotten"
        reasons[why] += 1
        verdicts.append(Verdict.of(attempt.attempt_id, VERIFIER, code, not why, reason=why or None))
        if problem is not None and not why:
            where[key(problem.question)] = "proposed twice"
            admitted.append(problem)
    failed = reasons.pop("failed", 0)
    return Output(
        {"problems": in_cells(admitted, cell_rows, runtime), "verdicts": runtime.shards.write("verdict", verdicts)},
        Accounting(attempts.rows, ok=len(admitted), rejected=attempts.rows - len(admitted) - failed, failed=failed),
        {"reasons": {why: count for why, count in sorted(reasons.items()) if why}},
    )


def in_cells(problems: Iterable[Problem], cell_rows: int, runtime: Runtime) -> Manifest:
    """The problems, one shard a cell."""
    manifest, rest = Manifest("problem", (), 0), iter(problems)
    while cell := list(islice(rest, cell_rows)):
        manifest += runtime.shards.write("problem", cell)
    return manifest


def key_in(problem_set: ProblemSet) -> Callable[[str], str]:
    """What equal questions of a set have in common."""
    return problem_set.key if isinstance(problem_set, Proposable) else key_of


def question_of(text: str) -> str:
    """The question that a model wrote when asked for one: its first paragraph, without the word in front of it."""
    paragraphs = [part.strip() for part in text.strip().split("\n\n")]
    first = next((part for part in paragraphs if part), "")
    for word in ("problem:", "question:"):
        if first.lower().startswith(word):
            first = first[len(word) :].strip()
    kept: list[str] = []
    for line in first.splitlines():
        if line.lower().lstrip("*# ").startswith(("answer", "solution", "reasoning")):
            break
        kept.append(line)
    return "\n".join(kept).strip()


def _requests(
    known: list[Problem], count: int, shown: int, template: str, seed: int, chat: Chat | None
) -> Iterator[Asked]:
    for place in range(count):
        examples = random.Random(f"propose {seed} {place}").sample(known, min(shown, len(known)))
        text = "\n\n".join(f"Problem: {one.question}" for one in examples)
        prompt: Prompt = prompt_of(template, replace(examples[0], question=text, info="{}"), chat=chat)
        yield Asked(examples[0], prompt, place)


def _read(attempt: Attempt, problem_set: ProblemSet, by_program: bool) -> Problem | None:
    """The problem that a proposal asks, with its parent."""
    if by_program:
        assert isinstance(problem_set, Proposable)  # asked for only where it is
        problem = problem_set.asked(question_of(attempt.text))
        return problem and replace(problem, source_attempt_id=attempt.attempt_id)
    question = question_of(attempt.text)
    if not question or len(question) > LONGEST:
        return None
    return Problem.of(problem_set.name, "train", question, None, stratum=STRATUM, source_attempt_id=attempt.attempt_id)


def _why_not(attempt: Attempt, problem: Problem | None, where: dict[str, str], key: Callable[[str], str]) -> str:
    """Why a proposal is not admitted; nothing where it is."""
    if attempt.finish_reason == FAILED:
        return "failed"
    if problem is None:
        return "no problem of this kind"
    return where.get(key(problem.question), "")


def _taken(problem_set: ProblemSet, key: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    size = problem_set.size("train")
    if size is not None and size <= MOST_TRAIN:
        yield from ((key(one.question), "in train") for one in problem_set.take("train", 0, size))


def _held_out(problem_set: ProblemSet, key: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    for split in ("dev", "test"):
        size = problem_set.size(split)
        assert size is not None  # what is held out has an end
        yield from ((key(one.question), f"in {split}") for one in problem_set.take(split, 0, size))
