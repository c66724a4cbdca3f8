"""Refinement as plain functions, with the scripted engine in a real process: what is asked, what it is linked to, what is trained on."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from storage.home import Home
from storage.identity import digest
from storage.manifest import Manifest, Output
from storage.records import Attempt, Derivation, Example, ExampleEvidence, MixMember, Prompt
from tasks.composition import ORIGINS, REFINED, SAMPLED
from tasks.engines.protocol import Sampling
from tasks.ingredients import critique_text, direct_text, refine_text, template_text
from tasks.mix import MixRule, mix
from tasks.pose import pose
from tasks.processes import Processes
from tasks.prompts.chat import Chat
from tasks.refine import CRITIQUES, FOLLOWS, REFINES, critique, refine
from tasks.refinement_gap import Written, weigh_refinements
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.sample import sample
from tasks.verify import verify

QUESTIONS = [{"question": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(1, 5)]
DRAW = Sampling(temperature=1.0, max_tokens=40)
CHAT = Chat("<user>{{ messages[0].content }}<model>")


@pytest.fixture
def runtime(tmp_path):
    with Processes(tmp_path / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(tmp_path / "home"), processes)
        yield runtime
        runtime.engines.close()


@pytest.fixture
def problems(tmp_path, runtime) -> Manifest:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    return pose.function(f"jsonl:{path},question=question,gold=answer", "train", 0, 4, 4, runtime).manifests["problems"]


@pytest.fixture
def written(tmp_path, runtime, problems) -> Callable[..., Output]:
    """A task in which the model writes, called with answers by a word of the prompt; the first word that is there decides."""

    def call(task, answers: dict[str, object], **arguments) -> Output:
        name = digest(task.name, sorted(answers))[:8]
        (tmp_path / f"{name}.json").write_text(json.dumps(answers))
        asked = {
            "problems": problems, "engine": f"scripted:{tmp_path}/{name}.json", "checkpoint_id": "c" * 32, "template": "plain",
            "weights_digest": digest("scripted", str(runtime.home.checkpoints / ("c" * 32))), "sampling": DRAW, "seed": 0,
        }  # fmt: skip
        return task.function(**(asked | arguments), runtime=runtime)

    return call


def read(runtime, output, role, kind):
    return runtime.shards.read(output.manifests[role], kind)


@pytest.fixture
def candidates(runtime, written) -> Output:
    """Two a problem: 1+1 and 2+2 are always wrong, 3+3 once right and once wrong, 4+4 always right."""
    answers = {"What is 3+3?": ["6", "7"], "What is 4+4?": "8", "*": "wrong"}
    for seed in range(50):  # what a script draws depends on the problems' ids, and these on where the file lies
        output = written(sample, answers, first_sample=0, samples=2, seed=seed)
        if {"6", "7"} <= {one.text for one in read(runtime, output, "attempts", Attempt)}:
            return output
    raise AssertionError("no seed gives a right and a wrong candidate")


def refined(written, candidates, answers, **arguments):
    return written(refine, answers, attempts=candidates.manifests["attempts"], **arguments)


def prompts_for(runtime, output) -> dict[str, str]:
    """Question to the prompt that was sent for it."""
    text_of = {one.prompt_id: one.text for one in read(runtime, output, "prompts", Prompt)}
    found = {}
    for attempt in read(runtime, output, "attempts", Attempt):
        text = text_of[attempt.prompt_id]
        found[next(one["question"] for one in QUESTIONS if one["question"] in text)] = text
    return found


def test_a_refinement_is_asked_over_the_problem_and_all_its_candidates(runtime, written, candidates):
    output = refined(written, candidates, {"*": "8"})
    sent = prompts_for(runtime, output)
    assert list(sent) == [one["question"] for one in QUESTIONS]
    by_problem: dict[str, list[str]] = {}
    for one in read(runtime, candidates, "attempts", Attempt):
        by_problem.setdefault(one.problem_id, []).append(one.text)
    for prompt, texts in zip(sent.values(), by_problem.values(), strict=True):
        assert prompt.index(f"Candidate 1:\n{texts[0]}\n") < prompt.index(f"Candidate 2:\n{texts[1]}\n")
        assert "critique" not in prompt
    assert "2" not in sent["What is 1+1?"].replace("2 candidate", "").replace("Candidate 2", "")


def test_a_refinement_comes_from_each_of_its_candidates(runtime, written, candidates):
    output = refined(written, candidates, {"*": "8"})
    attempts = read(runtime, candidates, "attempts", Attempt)
    links = read(runtime, output, "derivations", Derivation)
    assert {one.role for one in links} == {REFINES}
    for one in read(runtime, output, "attempts", Attempt):
        own = [parent.attempt_id for parent in attempts if parent.problem_id == one.problem_id]
        assert [link.parent_id for link in links if link.child_id == one.attempt_id] == own
        assert len(own) == 2


def test_a_candidate_that_failed_is_not_shown_and_nothing_is_made_of_none(runtime, written):
    answers = {"What is 1+1?": {"fail": "lost", "final": True}, "*": "8"}
    drawn = written(sample, answers, first_sample=0, samples=2)
    output = refined(written, drawn, {"*": "8"})
    assert list(prompts_for(runtime, output)) == [one["question"] for one in QUESTIONS[1:]]
    assert output.accounting.asked == 3


def test_a_critique_comes_between_and_is_linked_both_ways(runtime, written, candidates):
    said = written(critique, {"*": "The second is off by one."}, attempts=candidates.manifests["attempts"])
    output = refined(written, candidates, {"*": "8"}, critiques=said.manifests["attempts"])
    for asked, after in zip(prompts_for(runtime, said).values(), prompts_for(runtime, output).values(), strict=True):
        assert "Do not answer it yourself yet" in asked
        assert "A critique of the candidates:\nThe second is off by one.\n" in after
        assert "off by one" not in asked
    links = read(runtime, output, "derivations", Derivation)
    assert Counter(one.role for one in links) == {REFINES: 8, FOLLOWS: 4}
    critiques = {one.attempt_id for one in read(runtime, said, "attempts", Attempt)}
    assert {one.parent_id for one in links if one.role == FOLLOWS} == critiques
    below = read(runtime, said, "derivations", Derivation)
    assert {one.role for one in below} == {CRITIQUES}
    assert {one.child_id for one in below} == critiques


def test_a_problem_whose_critique_failed_is_refined_without_it(runtime, written, candidates):
    said = written(critique, {"*": {"fail": "lost", "final": True}}, attempts=candidates.manifests["attempts"])
    output = refined(written, candidates, {"*": "8"}, critiques=said.manifests["attempts"])
    assert output.accounting.ok == 4
    assert not any("A critique" in prompt for prompt in prompts_for(runtime, output).values())


def judged(runtime, problems, output, origin, **more) -> Judged:
    attempts = output.manifests["attempts"]
    verdicts = verify.function(problems, attempts, "exact", runtime).manifests["verdicts"]
    return Judged(origin, problems, attempts, verdicts, **more)


@pytest.fixture
def both(runtime, problems, written, candidates) -> tuple[Judged, Judged]:
    """The candidates, and refinements that are right for 1+1, where no candidate is, and for 4+4, where all are."""
    plain = refined(written, candidates, {"*": "?"})
    sent = prompts_for(runtime, plain)
    made = refined(written, candidates, {sent["What is 1+1?"]: "2", sent["What is 4+4?"]: "8", "*": "wrong"})
    assert prompts_for(runtime, made) == sent
    return judged(runtime, problems, candidates, SAMPLED), judged(
        runtime, problems, made, REFINED, prompts=made.manifests["prompts"]
    )


def trained_on(runtime, output) -> list[tuple[str, str, str]]:
    """Origin, prompt and completion of every member."""
    texts = {one.example_id: one for one in read(runtime, output, "examples", Example)}
    members = read(runtime, output, "members", MixMember)
    return sorted((one.role, texts[one.example_id].prompt, texts[one.example_id].completion) for one in members)


def test_the_mix_is_hybrid_and_keeps_what_no_candidate_solved(runtime, both):
    output = mix.function(both, None, "plain", MixRule(), runtime)
    direct = [one for one in trained_on(runtime, output) if one[0] == SAMPLED]
    refinements = [one for one in trained_on(runtime, output) if one[0] == REFINED]
    assert [(prompt, text) for _, prompt, text in direct] == [("What is 3+3?", "6"), ("What is 4+4?", "8")]
    assert [text for _, _, text in refinements] == ["2", "8"]
    hopeless = refinements[0][1]
    assert "What is 1+1?" in hopeless
    assert hopeless.count("wrong\n") == 2
    assert output.facts["rows_by_origin"] == {SAMPLED: 2, REFINED: 2}
    assert output.facts["self_share"] == 1.0
    evidence = read(runtime, output, "evidence", ExampleEvidence)
    assert {one.origin for one in evidence} == {SAMPLED, REFINED}
    assert all(one.attempt_id and one.verdict_id for one in evidence)


@pytest.mark.parametrize("rule", [MixRule(cap_per_problem=1), MixRule(select="top1"), MixRule(dedupe="equations")])
def test_a_limit_counts_refinements_apart(runtime, both, rule):
    output = mix.function(both, None, "plain", rule, runtime)
    assert output.facts["rows_by_origin"] == {SAMPLED: 2, REFINED: 2}


def test_a_refinement_that_was_asked_outside_the_chat_is_trained_on_inside_it(runtime, both):
    direct, made = both
    output = mix.function((direct, replace(made, bare=True)), None, "plain", MixRule(), runtime, CHAT)
    prompts = [prompt for _, prompt, _ in trained_on(runtime, output)]
    assert all(prompt.startswith("<user>") and prompt.endswith("<model>") for prompt in prompts)
    inside = mix.function((direct, made), None, "plain", MixRule(), runtime, CHAT)
    kept = [prompt for origin, prompt, _ in trained_on(runtime, inside) if origin == REFINED]
    assert not any("<user>" in prompt for prompt in kept)


def test_origins_keep_their_places():
    """A member's origin is written down by its place."""
    assert ORIGINS[:5] == ("sampled", "rationalized", "original", "corpus", "refined")


def test_what_refinements_are_worth_is_read_from_the_ledgers_rows(runtime, problems, both):
    direct, made = both
    parts = [(Written(one.attempts, one.verdicts),) for one in (direct, made)]
    output = weigh_refinements.function(problems, parts[0], (), parts[1], None, runtime)
    facts = output.facts
    assert (facts["n"], facts["all_wrong"], facts["recovered"], facts["recovery"]) == (4, 2, 1, 0.5)
    assert facts["refined"] == 0.5
    assert facts["tokens"]["candidates"]["attempts"] == 8
    assert facts["tokens"]["refinements"]["prompt"] > facts["tokens"]["candidates"]["prompt"]
    assert output.accounting.balanced


def test_a_prompts_text_enters_the_keys_of_what_asks_with_it_and_no_others(tmp_path):
    for form in ("direct", "refine", "critique"):
        (tmp_path / f"{form}.jinja").write_text(form)
    texts = (direct_text, critique_text, refine_text, template_text)
    before = [text(str(tmp_path)) for text in texts]
    (tmp_path / "refine.jinja").write_text("another")
    after = [text(str(tmp_path)) for text in texts]
    assert [old != new for old, new in zip(before, after, strict=True)] == [False, False, True, True]
