"""Rationalize: a second try at the problems that no attempt solved, with the gold answer as a hint (STaR, section 3.2).

What it makes is verified like any attempt, and the example that is trained on drops the hint.
"""

from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Derivation, Problem, Verdict
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED, Sampling
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, engine_code, hinted_text
from tasks.prompts.chat import Chat, prompt_of
from tasks.runtime import Runtime
from tasks.sample import unique_prompts
from tasks.verify import Outcomes, outcomes


@cached_task("rationalize", engine=engine_code, template=hinted_text, chat=chat_code)
def rationalize(
    problems: Manifest,
    attempts: Manifest,
    verdicts: Outcomes,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """One hinted attempt at every problem of the cell that has a wrong attempt and no right one.

    A problem whose attempts are all undecided or failed is left alone: nothing says that the model cannot solve it.
    """
    failures = unsolved(runtime.shards.read(attempts, Attempt), runtime.shards.read(verdicts.verdicts, Verdict))
    rows = runtime.shards.read(problems, Problem)
    asked = [
        Asked(problem, prompt_of(template, problem, hinted=True, chat=chat), 0)
        for problem in rows
        if problem.problem_id in failures and problem.gold is not None
    ]
    hinted = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "rationalize", runtime)
    failed = sum(attempt.finish_reason == FAILED for attempt in hinted)
    derivations = [
        Derivation(attempt.attempt_id, parent, "rationalizes")
        for attempt in hinted
        for parent in failures[attempt.problem_id]
    ]
    output = Output(
        {
            "attempts": runtime.shards.write("attempt", hinted),
            "prompts": runtime.shards.write("prompt", unique_prompts(asked)),
            "derivations": runtime.shards.write("derivation", derivations),
        },
        Accounting(asked=len(asked), ok=len(hinted) - failed, failed=failed),
        spent(hinted, engine),
    )
    seal(hinted, runtime)
    return output


def unsolved(attempts: list[Attempt], verdicts: list[Verdict]) -> dict[str, list[str]]:
    """Problem id to its wrong attempts' ids, for problems without a right attempt."""
    outcome = outcomes(verdicts)
    solved = {attempt.problem_id for attempt in attempts if outcome[attempt.attempt_id][0] is True}
    failures: dict[str, list[str]] = {}
    for attempt in attempts:
        if attempt.problem_id not in solved and outcome[attempt.attempt_id][0] is False:
            failures.setdefault(attempt.problem_id, []).append(attempt.attempt_id)
    return failures
