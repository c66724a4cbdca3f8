"""New instructions (Self-Instruct, section 2.2): the model goes on with a list of examples, and what is new enough is admitted.

Every proposal is an attempt at a problem of its own, which says which examples it was shown; `derivation` leads from it to them: to a
seed's problem, or to the attempt that wrote the machine-made one. Every instruction in it gets a verdict, so what was refused stays in
the ledger with its reason. An admitted one is a problem whose `source_attempt_id` is the proposal. Nobody checks whether it makes sense.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from storage.identity import digest, show
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Derivation, Problem, Verdict
from storage.tombstones import Tombstones
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED, LENGTH, Sampling
from tasks.engines.uniforms import keys_of, uniforms
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, comparison_code, engine_code, proposal_text
from tasks.prompts.chat import Chat
from tasks.prompts.instruct import instructions_in, proposal
from tasks.runtime import Runtime
from tasks.sample import unique_prompts
from tasks.verifiers.instruction_filter import EMPTY, FORGOTTEN, TRUNCATED, Refusal, refusal, too_similar
from tasks.verifiers.novelty import Nearest, Pool
from tasks.verifiers.root_words import root_of

SOURCE = "self_instruct"
"""What problems that a model wrote name as their source."""
VERIFIER = "self_instruct_instructions"
SEED, SHOWN = "seed", "shown"
"""The roles of what a proposal was prompted by: a seed's problem, or the attempt that an admitted instruction came from."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Which prompts of a round, and what each shows: so many human and machine-made examples, drawn by seed, round and place."""

    round: int
    first: int
    count: int
    human: int
    machine: int
    seed: int


@cached_task("propose instructions", engine=engine_code, template=proposal_text, chat=chat_code)
def propose_instructions(
    problems: Manifest,
    pool: Manifest,
    draw: Draw,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """One attempt for each prompt of the draw. `problems` are the human-written tasks, `pool` the machine-made ones so far."""
    human, machine = runtime.shards.read(problems, Problem), runtime.shards.read(pool, Problem)
    source = human[0].source
    asked: list[Asked] = []
    shown: list[list[Problem]] = []
    for place in range(draw.first, draw.first + draw.count):
        examples = examples_of(human, machine, draw, place)
        prompt = proposal(template, [one.question for one in examples], chat)
        told = {"round": draw.round, "place": place, "examples": [one.problem_id for one in examples]}
        posed = Problem.of(
            source, "proposal", "Come up with a series of tasks", None, info=told, licence=human[0].licence
        )
        asked.append(Asked(posed, prompt, 0))
        shown.append(examples)
    attempts = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "propose", runtime)
    failed = sum(attempt.finish_reason == FAILED for attempt in attempts)
    derivations = [
        Derivation(
            attempt.attempt_id, one.source_attempt_id or one.problem_id, SHOWN if one.source_attempt_id else SEED
        )
        for attempt, examples in zip(attempts, shown, strict=True)
        for one in examples
    ]
    output = Output(
        {
            "proposals": runtime.shards.write("problem", [one.problem for one in asked]),
            "attempts": runtime.shards.write("attempt", attempts),
            "prompts": runtime.shards.write("prompt", unique_prompts(asked)),
            "derivations": runtime.shards.write("derivation", list(dict.fromkeys(derivations))),
        },
        Accounting(asked=len(asked), ok=len(attempts) - failed, failed=failed),
        spent(attempts, engine),
    )
    seal(attempts, runtime)
    return output


@cached_task("admit instructions", threshold=comparison_code)
def admit_instructions(
    attempts: Manifest, seeds: Manifest, pool: Manifest, threshold: float, cell_rows: int, runtime: Runtime
) -> Output:
    """The instructions of a round's proposals that every filter lets pass, in the order in which they were written.

    `seeds` are all human-written tasks, held-out ones included: nothing near those is admitted either. A proposal that was cut off is
    dropped whole. `cell_rows` says in what pieces the following steps work through the admitted ones.
    """
    told = digest(comparison_code(threshold), threshold)
    written = [one for row in runtime.shards.read(attempts, Attempt) for one in _written(row, runtime.tombstones)]
    known = {one.question: one.problem_id for part in (seeds, pool) for one in runtime.shards.iterate(part, Problem)}
    candidates = [one.problem for one in written if one.problem]
    compared = iter(Pool(known, runtime.threads).admit([one.question for one in candidates], threshold))
    verdicts: list[Verdict] = []
    admitted: list[Problem] = []
    nearest: list[Nearest] = []
    refused: Counter[str] = Counter()
    for one in written:
        why, score = one.refused, None
        if one.problem:
            said = next(compared)
            score = said.nearest.score
            if said.admitted:
                admitted.append(one.problem)
                nearest.append(said.nearest)
                known[one.problem.question] = one.problem.problem_id
            else:
                why = too_similar(score, show("prb", known[said.nearest.text]))
        if why and not one.failed:
            refused[why.filter] += 1
        verdicts.append(
            Verdict.of(
                one.attempt_id, VERIFIER, told, None if one.failed else why is None, aspect=one.aspect, score=score,
                answer=one.text, reason=why.text if why else None,
            )
        )  # fmt: skip
    failed = sum(one.failed for one in written)
    rejected = len(written) - len(admitted) - failed
    accounting = Accounting(len(written), ok=len(admitted), rejected=rejected, failed=failed)
    facts: dict[str, object] = {"admitted": len(admitted), "refused": dict(sorted(refused.items()))}
    return Output(
        {
            "verdicts": runtime.shards.write("verdict", verdicts),
            "problems": runtime.shards.write("problem", admitted, cell_rows),
        },
        accounting,
        facts | diversity([one.question for one in admitted], nearest),
    )


def examples_of(human: Sequence[Problem], machine: Sequence[Problem], draw: Draw, place: int) -> list[Problem]:
    """The examples of one prompt, shuffled: machine-made ones as far as there are any, human ones in the place of those missing."""
    wanted = draw.human + draw.machine
    own = min(draw.machine, len(machine))
    numbers = _numbers(draw, place, 2 * wanted)
    chosen = [machine[at] for at in drawn(numbers[:own], len(machine))]
    chosen += [human[at] for at in drawn(numbers[own:wanted], len(human))]
    return [chosen[at] for at in drawn(numbers[wanted:][: len(chosen)], len(chosen))]


def drawn(numbers: Sequence[float], size: int) -> list[int]:
    """As many different places of `size` as there are uniform numbers: the beginning of a shuffle."""
    moved: dict[int, int] = {}
    found: list[int] = []
    for place, number in enumerate(numbers):
        other = place + int(number * (size - place))
        found.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return found


def diversity(instructions: Sequence[str], nearest: Sequence[Nearest]) -> dict[str, object]:
    """How varied a round is: the mean ROUGE-L with the nearest other, and how many verbs and objects (by rule, see `root_words`)."""
    roots = [root_of(text) for text in instructions]
    return {
        "mean_nearest": sum(one.score for one in nearest) / len(nearest) if nearest else None,
        "verbs": sorted({root.verb for root in roots if root.verb}),
        "nouns": sorted({root.noun for root in roots if root.noun}),
    }


@dataclass(frozen=True, slots=True)
class _Written:
    """An instruction of a proposal, with the problem it would be; or refused, as a proposal is that has none to read (without a text)."""

    attempt_id: str
    aspect: str
    text: str | None
    problem: Problem | None = None
    refused: Refusal | None = None
    failed: bool = False


def _written(attempt: Attempt, tombstones: Tombstones) -> list[_Written]:
    """What stands in a proposal, in order."""
    whole = attempt.attempt_id, "proposal", None, None
    if attempt.finish_reason == FAILED:
        return [_Written(*whole, Refusal(FAILED, attempt.error or "no reason given"), failed=True)]
    if attempt.finish_reason == LENGTH:
        return [_Written(*whole, Refusal(TRUNCATED, "it reached max_tokens, so all of it is dropped"))]
    found = instructions_in(attempt.text)
    if not found:
        return [_Written(*whole, Refusal(EMPTY, "there is no instruction in it"))]
    return [_one(attempt.attempt_id, f"instruction {number}", text, tombstones) for number, text in enumerate(found, 1)]


def _one(attempt_id: str, aspect: str, text: str, tombstones: Tombstones) -> _Written:
    if why := refusal(text):
        return _Written(attempt_id, aspect, text, refused=why)
    problem = Problem.of(SOURCE, "train", text, None, info={"input": ""}, source_attempt_id=attempt_id)
    if tombstones.bar_problem(problem):
        return _Written(attempt_id, aspect, None, refused=Refusal(FORGOTTEN, "it must not be kept"))
    return _Written(attempt_id, aspect, text, problem)


def _numbers(draw: Draw, place: int, count: int) -> list[float]:
    """Uniform numbers of one prompt, from the counter-based generator."""
    key = digest("self-instruct examples", draw.seed, draw.round, place)
    return uniforms(keys_of([key]), 0, count)[0].tolist()
