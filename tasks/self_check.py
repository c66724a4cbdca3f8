"""Check: the model's own word on every constraint of every attempt, asked in a prompt of its own.

    {"question": "Does the response meet this: at most 30 words?", "gold": "A", "info": {"choices": {"A": "yes", "B": "no"}, …}}

The gold answer is what the program found, so a verdict on the reply (`choice`) says whether model and program agree. Each text is asked
about once, however many attempts say it; what the program could not decide is not asked.
"""

from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Derivation, Problem, Verdict
from tasks.caching import cached_task
from tasks.engines.protocol import FAILED, Sampling
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, direct_text, engine_code
from tasks.prompts.chat import Chat, prompt_of
from tasks.runtime import Runtime
from tasks.sample import unique_prompts
from tasks.verifiers.constraint_levels import level_of
from tasks.verifiers.instruction import constraints_of, response_of

CHECK = "check"
"""The split of such questions, and the role of the replies to what they are about."""
VERIFIER = "choice"
MEETS, MISSES = "A", "B"
CHOICES = {MEETS: "yes", MISSES: "no"}
GREEDY = Sampling(temperature=0.0, max_tokens=24, stop=("\nInstruction:",))
"""How a model is asked: what it thinks most likely, in a few words."""

DESCRIBED = {
    "form": "it has the right form",
    "operands": "it uses the numbers of the question",
    "equations": "every equation in it is right",
}
"""In words, the constraints that stand in no instruction; any other such aspect is the final answer."""


@cached_task("check", engine=engine_code, template=direct_text, chat=chat_code)
def check(
    problems: Manifest,
    attempts: Manifest,
    verdicts: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """One question and one reply for every text and constraint that the verdicts decide."""
    asked: dict[str, Asked] = {}
    parents: dict[str, list[str]] = {}
    problem_of = {problem.problem_id: problem for problem in runtime.shards.read(problems, Problem)}
    attempt_of = {attempt.attempt_id: attempt for attempt in runtime.shards.iterate(attempts, Attempt)}
    for verdict in runtime.shards.iterate(verdicts, Verdict):
        attempt = attempt_of[verdict.attempt_id]
        if verdict.passed is None or attempt.finish_reason == FAILED:
            continue
        question = question_of(problem_of[attempt.problem_id], attempt, verdict)
        asked.setdefault(question.problem_id, Asked(question, prompt_of(template, question, chat=chat), 0))
        parents.setdefault(question.problem_id, []).append(attempt.attempt_id)
    questions = list(asked.values())
    model = Model(engine, checkpoint_id, weights_digest)
    replies = generate(questions, model, GREEDY, seed, CHECK, runtime)
    failed = sum(reply.finish_reason == FAILED for reply in replies)
    derivations = [
        Derivation(reply.attempt_id, parent, "checks")
        for reply in replies
        for parent in dict.fromkeys(parents[reply.problem_id])
    ]
    output = Output(
        {
            "problems": runtime.shards.write("problem", [one.problem for one in questions]),
            "attempts": runtime.shards.write("attempt", replies),
            "prompts": runtime.shards.write("prompt", unique_prompts(questions)),
            "derivations": runtime.shards.write("derivation", derivations),
        },
        Accounting(asked=len(questions), ok=len(replies) - failed, failed=failed),
        spent(replies, engine),
    )
    seal(replies, runtime)
    return output


def question_of(problem: Problem, attempt: Attempt, verdict: Verdict) -> Problem:
    """The question whether a text meets a constraint; its gold answer is the program's."""
    said = {one.name: one.said for one in constraints_of(problem)}
    constraint = said.get(verdict.aspect) or DESCRIBED.get(verdict.aspect, "the final answer is right")
    return Problem.of(
        problem.source,
        CHECK,
        f"Does the response meet this: {constraint}?",
        MEETS if verdict.passed else MISSES,
        info={
            "choices": CHOICES,
            "aspect": verdict.aspect,
            "constraint": constraint,
            "instruction": problem.question,
            "response": response_of(attempt.text).strip(),
        },
        stratum=f"level {level_of(verdict.aspect)}",
        licence=problem.licence,
        source_attempt_id=attempt.attempt_id,
    )
