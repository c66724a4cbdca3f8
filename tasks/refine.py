"""Refine: one attempt made from several at the same problem, and before it, where one is asked for, a critique of them.

The model is shown the problem and the candidates, and neither the gold answer nor any verdict: a refinement can be made of a problem
that nobody has solved. It is verified like any attempt, and trained on under the prompt that it was made from. A critique is an
attempt as well, with no verdict.

Candidates stand in the order of their sample indexes; one whose generation failed is not shown. Of what is left of a problem's
attempts when all failed there is nothing to refine, and it is left alone.
"""

from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Derivation, Problem
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED, Sampling
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, critique_text, engine_code, refine_text
from tasks.prompts.chat import Chat, in_chat
from tasks.prompts.render import render_critique, render_refinement
from tasks.runtime import Runtime
from tasks.sample import unique_prompts

REFINES, CRITIQUES, FOLLOWS = "refines", "critiques", "follows"
"""What a refinement does to its candidates, a critique to its candidates, and a refinement to its critique."""


@cached_task("critique", engine=engine_code, template=critique_text, chat=chat_code)
def critique(
    problems: Manifest,
    attempts: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """One critique of every problem's attempts, derived from each of them."""
    candidates = by_problem(runtime.shards.read(attempts, Attempt))
    asked = [
        Asked(problem, in_chat(chat, render_critique(template, problem, texts_of(candidates[problem.problem_id]))), 0)
        for problem in runtime.shards.read(problems, Problem)
        if problem.problem_id in candidates
    ]
    written = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "critique", runtime)
    derivations = [
        Derivation(one.attempt_id, parent.attempt_id, CRITIQUES)
        for one in written
        for parent in candidates[one.problem_id]
    ]
    return _output(asked, written, derivations, engine, runtime)


@cached_task("refine", engine=engine_code, template=refine_text, chat=chat_code)
def refine(
    problems: Manifest,
    attempts: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    critiques: Manifest | None = None,
    chat: Chat | None = None,
) -> Output:
    """One refinement of every problem's attempts, derived from each of them and from the critique of them.

    A problem whose critique failed is refined without it.
    """
    candidates = by_problem(runtime.shards.read(attempts, Attempt))
    said = by_problem(runtime.shards.read(critiques, Attempt)) if critiques else {}
    asked = [
        Asked(
            problem, in_chat(chat, render_refinement(template, problem, texts_of(shown), "".join(texts_of(heard)))), 0
        )
        for problem in runtime.shards.read(problems, Problem)
        if (shown := candidates.get(problem.problem_id)) is not None
        for heard in [said.get(problem.problem_id, [])]
    ]
    written = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "refine", runtime)
    derivations = [
        Derivation(one.attempt_id, parent.attempt_id, role)
        for one in written
        for role, parents in ((REFINES, candidates), (FOLLOWS, said))
        for parent in parents.get(one.problem_id, [])
    ]
    return _output(asked, written, derivations, engine, runtime)


def by_problem(attempts: list[Attempt]) -> dict[str, list[Attempt]]:
    """The attempts that did not fail, by problem, in the order of their sample indexes."""
    found: dict[str, list[Attempt]] = {}
    for attempt in sorted(attempts, key=lambda one: one.sample_index):
        if attempt.finish_reason != FAILED:
            found.setdefault(attempt.problem_id, []).append(attempt)
    return found


def texts_of(attempts: list[Attempt]) -> list[str]:
    """What they say, in order."""
    return [attempt.text for attempt in attempts]


def _output(
    asked: list[Asked], written: list[Attempt], derivations: list[Derivation], engine: str, runtime: Runtime
) -> Output:
    failed = sum(attempt.finish_reason == FAILED for attempt in written)
    output = Output(
        {
            "attempts": runtime.shards.write("attempt", written),
            "prompts": runtime.shards.write("prompt", unique_prompts(asked)),
            "derivations": runtime.shards.write("derivation", derivations),
        },
        Accounting(asked=len(asked), ok=len(written) - failed, failed=failed),
        spent(written, engine),
    )
    seal(written, runtime)
    return output
