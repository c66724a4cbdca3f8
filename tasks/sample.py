"""Sample: attempts at the problems of one cell, from the checkpoint of this iteration."""

from storage.manifest import Accounting, Manifest, Output
from storage.records import Problem, Prompt
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED, Sampling
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, direct_text, engine_code
from tasks.prompts.chat import Chat, prompt_of
from tasks.runtime import Runtime


@cached_task("sample", engine=engine_code, template=direct_text, chat=chat_code)
def sample(
    problems: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    first_sample: int,
    samples: int,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """`samples` attempts (indexes from `first_sample`) at every problem of the cell, problem by problem."""
    asked = [
        Asked(problem, prompt, index)
        for problem in runtime.shards.read(problems, Problem)
        for prompt in [prompt_of(template, problem, chat=chat)]
        for index in range(first_sample, first_sample + samples)
    ]
    attempts = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "sample", runtime)
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


def unique_prompts(asked: list[Asked]) -> list[Prompt]:
    """The prompts of a cell in order, each once."""
    return list({one.prompt.prompt_id: one.prompt for one in asked}.values())
