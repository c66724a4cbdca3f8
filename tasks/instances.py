"""Instances of new instructions (Self-Instruct, section 2.2): is it a classification, inputs and outputs by that, and which are kept.

Of a classification the label comes first and then an input for it, since a model that invents inputs first gives them all one label;
of the rest the input comes first. Several instances stand in one attempt, and each gets a verdict with what it says, also when it is
refused. Nobody checks whether an output is right.
"""

from collections import Counter

from storage.identity import canonical_json, digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Derivation, Problem, Verdict
from tasks.caching import cached_task
from tasks.code_digest import code_of
from tasks.engines.protocol import FAILED, LENGTH, Sampling
from tasks.generation import Asked, Model, generate, seal, spent
from tasks.ingredients import chat_code, classification_text, engine_code, instance_text
from tasks.prompts.chat import Chat
from tasks.prompts.instruct import classification, instances_in, is_classification, request
from tasks.runtime import Runtime
from tasks.sample import unique_prompts
from tasks.verifiers.instance_filter import SURPLUS, UNREADABLE, Instance, judged
from tasks.verifiers.instruction_filter import FORGOTTEN, Refusal

VERIFIER = "self_instruct_instances"
CLASSIFIES, ROUTED, PROPOSED = "classifies", "routed by", "proposed in"
"""Derivations: the test from the proposal it tests; instances from the test that chose their form, and from the proposal."""


@cached_task("classify instructions", engine=engine_code, template=classification_text, chat=chat_code)
def classify_instructions(
    problems: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """One answer an instruction: whether it is a classification with finitely many labels."""
    rows = runtime.shards.read(problems, Problem)
    asked = [Asked(problem, classification(template, problem.question, chat), 0) for problem in rows]
    attempts = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "classify", runtime)
    derivations = [
        Derivation(attempt.attempt_id, problem.source_attempt_id, CLASSIFIES)
        for attempt, problem in zip(attempts, rows, strict=True)
        if problem.source_attempt_id
    ]
    yes = sum(is_classification(attempt.text) for attempt in attempts)
    return _asked(asked, attempts, derivations, engine, runtime, {"classifications": yes})


@cached_task("make instances", engine=engine_code, template=instance_text, chat=chat_code)
def make_instances(
    problems: Manifest,
    classified: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    template: str,
    sampling: Sampling,
    seed: int,
    runtime: Runtime,
    chat: Chat | None = None,
) -> Output:
    """One text with instances for every instruction. One whose test failed goes the input-first way, as most are no classifications."""
    rows = runtime.shards.read(problems, Problem)
    test_of = {attempt.problem_id: attempt for attempt in runtime.shards.iterate(classified, Attempt)}
    asked = [
        Asked(one, request(template, one.question, is_classification(test_of[one.problem_id].text), chat), 0)
        for one in rows
    ]
    attempts = generate(asked, Model(engine, checkpoint_id, weights_digest), sampling, seed, "instances", runtime)
    derivations = [
        Derivation(attempt.attempt_id, parent, role)
        for attempt, problem in zip(attempts, rows, strict=True)
        for parent, role in ((test_of[problem.problem_id].attempt_id, ROUTED), (problem.source_attempt_id, PROPOSED))
        if parent
    ]
    return _asked(asked, attempts, derivations, engine, runtime, {})


@cached_task("admit instances")
def admit_instances(
    problems: Manifest, attempts: Manifest, classified: Manifest, most: int, runtime: Runtime
) -> Output:
    """A verdict for every instance of a cell, at most `most` of an instruction passing; its answer holds the instance as JSON."""
    told = digest(code_of("tasks.verifiers.instance_filter", "tasks.prompts.instruct").as_json(), most)
    problem_of = {one.problem_id: one for one in runtime.shards.iterate(problems, Problem)}
    labels = {one.problem_id: is_classification(one.text) for one in runtime.shards.iterate(classified, Attempt)}
    verdicts: list[Verdict] = []
    refused: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for attempt in runtime.shards.iterate(attempts, Attempt):
        if attempt.finish_reason == FAILED:
            counts[FAILED] += 1
            verdicts.append(
                Verdict.of(attempt.attempt_id, VERIFIER, told, None, aspect="instances", reason=attempt.error)
            )
            continue
        found = [Instance(*pair) for pair in instances_in(attempt.text, labels[attempt.problem_id])]
        if not found:
            why = Refusal(UNREADABLE, "the text has not the form that was asked for")
            refused[why.filter] += 1
            verdicts.append(Verdict.of(attempt.attempt_id, VERIFIER, told, False, aspect="instances", reason=why.text))
            continue
        kept = 0
        for place, (one, why) in enumerate(zip(found, judged(found, attempt.finish_reason == LENGTH), strict=True), 1):
            if why is None and kept == most:
                why = Refusal(SURPLUS, f"at most {most} of an instruction are wanted")
            if runtime.tombstones.bar_text(problem_of[attempt.problem_id], one.output):
                why = Refusal(FORGOTTEN, "it must not be kept")
            kept += why is None
            if why:
                refused[why.filter] += 1
            says = canonical_json({"input": one.input, "output": one.output})
            verdicts.append(
                Verdict.of(
                    attempt.attempt_id, VERIFIER, told, why is None, aspect=f"instance {place}",
                    answer=None if why and why.filter == FORGOTTEN else says, reason=why.text if why else None,
                )
            )  # fmt: skip
        counts["ok"] += kept
    rejected = len(verdicts) - counts["ok"] - counts[FAILED]
    return Output(
        {"verdicts": runtime.shards.write("verdict", verdicts)},
        Accounting(len(verdicts), ok=counts["ok"], rejected=rejected, failed=counts[FAILED]),
        {"admitted": counts["ok"], "refused": dict(sorted(refused.items()))},
    )


def _asked(
    asked: list[Asked], attempts: list[Attempt], derivations: list[Derivation], engine: str, runtime: Runtime, facts: dict[str, object]
) -> Output:  # fmt: skip
    """The output of a cell of attempts."""
    failed = sum(attempt.finish_reason == FAILED for attempt in attempts)
    output = Output(
        {
            "attempts": runtime.shards.write("attempt", attempts),
            "prompts": runtime.shards.write("prompt", unique_prompts(asked)),
            "derivations": runtime.shards.write("derivation", derivations),
        },
        Accounting(asked=len(asked), ok=len(attempts) - failed, failed=failed),
        spent(attempts, engine) | facts,
    )
    seal(attempts, runtime)
    return output
