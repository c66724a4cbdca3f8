"""The tasks as plain functions, with the scripted engine in a real process: what is asked, kept and trained on."""

import json

import pytest

from flows.iteration import missing_originals
from storage.errors import EngineFault, StorageFull, UserMistake
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.manifest import Accounting
from storage.records import Attempt, Example, ExampleEvidence, MixMember, Prompt, Verdict
from tasks.engines.protocol import Response, Sampling
from tasks.generation import Journal
from tasks.ingredients import engine_code, problems_code
from tasks.mix import MixRule, collect, mix
from tasks.pose import cells, pose
from tasks.processes import Processes
from tasks.rationalize import rationalize
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.sample import sample
from tasks.verify import Outcomes, outcomes, verify

QUESTIONS = [{"question": f"{n}+{n}", "answer": str(2 * n)} for n in range(1, 6)]
DRAW = Sampling(temperature=1.0, max_tokens=20)


@pytest.fixture
def runtime(tmp_path):
    with Processes(tmp_path / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(tmp_path / "home"), processes)
        yield runtime
        runtime.engines.close()


@pytest.fixture
def problems(tmp_path, runtime):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    ref = f"jsonl:{path},question=question,gold=answer"
    return pose.function(ref, "train", 0, 5, 2, runtime).manifests["problems"]


def script(tmp_path, answers, name="answers.json"):
    (tmp_path / name).write_text(json.dumps(answers))
    return f"scripted:{tmp_path / name}"


def asked(runtime, problems, engine, **changes):
    call = {
        "problems": problems, "engine": engine, "checkpoint_id": "c" * 32, "template": "plain", "sampling": DRAW,
        "weights_digest": digest("scripted", str(runtime.home.checkpoints / ("c" * 32))), "first_sample": 0, "samples": 1,
        "seed": 0,
    }  # fmt: skip
    return sample.function(**(call | changes), runtime=runtime)


def publish(runtime, output):
    """The output as a committed step, in a snapshot that tasks can read."""
    ledger = Ledger(runtime.home)
    run_id = ledger.start_run("steps", "test", None, {})
    ledger.commit_steps([StepCommit(run_id, 1, "sample", "1", "key", {}, False, None, 0.0, 0.0, {}, output)])
    ledger.publish(force=True)
    ledger.close()


def right(place):
    return QUESTIONS[place]["answer"]


def prompts_of(runtime, output):
    return [prompt.text for prompt in runtime.shards.read(output.manifests["prompts"], Prompt)]


def test_problems_come_in_cells_of_the_size_asked_for(runtime, problems):
    assert [part.rows for part in cells(problems, runtime.shards)] == [2, 2, 1]


def test_every_problem_gets_its_attempts_in_order(runtime, problems, tmp_path):
    output = asked(runtime, problems, script(tmp_path, {"*": "4"}), samples=3)
    attempts = runtime.shards.read(output.manifests["attempts"], Attempt)
    assert [attempt.sample_index for attempt in attempts] == [0, 1, 2] * 5
    assert output.accounting == Accounting(asked=15, ok=15)
    assert len({attempt.request_id for attempt in attempts}) == 15
    assert list(runtime.home.journals.iterdir()) == []


def test_a_failing_request_keeps_the_others_and_is_asked_again(runtime, problems, tmp_path):
    engine = "scripted:tests.processes.targets:out_of_ink_at_first"
    with pytest.raises(EngineFault, match=r"1 of 5 requests of 'sample' failed \(RuntimeError: out of ink\)"):
        asked(runtime, problems, engine)
    (journal,) = runtime.home.journals.iterdir()
    assert len(journal.read_text().splitlines()) == 5
    again = asked(runtime, problems, engine)
    texts = [attempt.text for attempt in runtime.shards.read(again.manifests["attempts"], Attempt)]
    assert texts == ["the second time", *["the first time"] * 4]


def test_other_answers_behind_the_same_requests_are_asked_for_anew(runtime, problems, tmp_path):
    engine = script(tmp_path, {"*": "4"})
    first = asked(runtime, problems, engine)
    publish(runtime, first)
    kept = asked(runtime, problems, engine, samples=2)
    assert {attempt.text for attempt in runtime.shards.read(kept.manifests["attempts"], Attempt)} == {"4"}
    script(tmp_path, {"*": "5"})
    runtime.engines.close()
    again = asked(runtime, problems, engine, samples=2)
    assert {attempt.text for attempt in runtime.shards.read(again.manifests["attempts"], Attempt)} == {"5"}


def test_a_request_that_keeps_failing_is_final_and_counted(runtime, problems, tmp_path):
    engine = script(tmp_path, {"*": {"fail": "out of ink"}})
    for _ in range(2):
        with pytest.raises(EngineFault):
            asked(runtime, problems, engine)
    output = asked(runtime, problems, engine)
    assert output.accounting == Accounting(asked=5, ok=0, failed=5)
    verdicts = verify.function(problems, output.manifests["attempts"], "exact", runtime)
    assert verdicts.accounting == Accounting(asked=5, ok=0, failed=5)


def test_an_engine_with_other_weights_is_refused(runtime, problems, tmp_path):
    with pytest.raises(EngineFault, match="holds weights"):
        asked(runtime, problems, script(tmp_path, {"*": "4"}), weights_digest="f" * 32)


def test_a_journal_torn_by_a_kill_loses_its_last_line_only(tmp_path):
    path = tmp_path / "journal.jsonl"
    line = {"request_id": "a", "text": "x", "finish_reason": "stop", "prompt_tokens": 1, "tokens": 1}
    path.write_text(json.dumps(line) + "\n" + json.dumps(line | {"request_id": "b"})[:20])
    assert list(Journal(path).finished()) == ["a"]


def test_hints_go_to_problems_without_a_right_attempt_only(runtime, problems, tmp_path):
    plain = prompts_of(runtime, asked(runtime, problems, script(tmp_path, {"*": "?"}, "none.json")))
    answers = {plain[0]: right(0), plain[2]: right(2), "*": "wrong"}
    engine = script(tmp_path, answers)
    attempts = asked(runtime, problems, engine).manifests["attempts"]
    judged = verify.function(problems, attempts, "exact", runtime)
    verdicts = Outcomes(judged.manifests["verdicts"], judged.facts["outcomes"])
    weights = digest("scripted", str(runtime.home.checkpoints / ("c" * 32)))
    output = rationalize.function(problems, attempts, verdicts, engine, "c" * 32, weights, "plain", DRAW, 0, runtime)
    hinted = runtime.shards.read(output.manifests["prompts"], Prompt)
    assert len(hinted) == 3
    assert all(prompt.hinted for prompt in hinted)
    for place, prompt in zip((1, 3, 4), hinted, strict=True):
        assert right(place) in prompt.text
    assert output.manifests["derivations"].rows == 3


@pytest.fixture
def judged(runtime, problems, tmp_path):
    plain = prompts_of(runtime, asked(runtime, problems, script(tmp_path, {"*": "?"}, "none.json")))
    engine = script(tmp_path, {plain[0]: right(0), plain[1]: right(1), "*": "wrong"})
    attempts = asked(runtime, problems, engine).manifests["attempts"]
    return Judged(
        "sampled", problems, attempts, verify.function(problems, attempts, "exact", runtime).manifests["verdicts"]
    )


def test_only_what_passed_is_trained_on(runtime, problems, judged):
    output = mix.function((judged,), None, "plain", MixRule(), runtime)
    examples = runtime.shards.read(output.manifests["examples"], Example)
    assert sorted(example.completion for example in examples) == [right(0), right(1)]
    assert output.accounting == Accounting(asked=5, ok=2, rejected=3)
    evidence = runtime.shards.read(output.manifests["evidence"], ExampleEvidence)
    verdicts = {verdict.verdict_id: verdict.passed for verdict in runtime.shards.read(judged.verdicts, Verdict)}
    assert all(verdicts[one.verdict_id] for one in evidence)


def test_without_a_filter_everything_is_trained_on(runtime, problems, judged):
    output = mix.function((judged,), None, "plain", MixRule(keep="everything"), runtime)
    assert output.accounting == Accounting(asked=5, ok=5)


def test_the_same_members_are_the_same_mix_whatever_the_evidence(runtime, problems, judged):
    once = mix.function((judged,), None, "plain", MixRule(), runtime)
    verdicts = [
        Verdict.of(one.attempt_id, "another", "f" * 32, one.passed, answer=one.answer)
        for one in runtime.shards.read(judged.verdicts, Verdict)
    ]
    other = Judged("sampled", problems, judged.attempts, runtime.shards.write("verdict", verdicts))
    again = mix.function((other,), None, "plain", MixRule(), runtime)
    assert again.facts["mix_id"] == once.facts["mix_id"]
    assert again.manifests["members"] == once.manifests["members"]
    assert again.manifests["evidence"] != once.manifests["evidence"]


def test_a_cap_counts_different_examples_and_leaves_no_evidence_for_the_others(runtime, problems, tmp_path):
    plain = prompts_of(runtime, asked(runtime, problems, script(tmp_path, {"*": "?"}, "none.json")))
    engine = script(tmp_path, {plain[0]: [right(0), f"{right(0)} "]} | {"*": "wrong"})
    attempts = asked(runtime, problems, engine, samples=12).manifests["attempts"]
    verdicts = verify.function(problems, attempts, "exact", runtime).manifests["verdicts"]
    texts = {attempt.text for attempt in runtime.shards.read(attempts, Attempt)}
    assert texts == {right(0), f"{right(0)} ", "wrong"}
    output = mix.function(
        (Judged("sampled", problems, attempts, verdicts),), None, "plain", MixRule(cap_per_problem=1), runtime
    )
    (example,) = runtime.shards.read(output.manifests["examples"], Example)
    evidence = runtime.shards.read(output.manifests["evidence"], ExampleEvidence)
    assert {one.example_id for one in evidence} == {example.example_id}
    assert len(evidence) > 1
    assert output.accounting == Accounting(asked=60, ok=1, rejected=59)


def test_an_empty_training_set_says_which_filter_took_everything(runtime, problems, tmp_path):
    attempts = asked(runtime, problems, script(tmp_path, {"*": "wrong"})).manifests["attempts"]
    verdicts = verify.function(problems, attempts, "exact", runtime).manifests["verdicts"]
    with pytest.raises(UserMistake, match="of 5 attempts 5 did not pass the verifier, 0 are undecided"):
        mix.function((Judged("sampled", problems, attempts, verdicts),), None, "plain", MixRule(), runtime)


def test_answers_alone_are_the_gold_answers(runtime, problems):
    output = collect.function(problems, "plain", "original", True, 0, runtime)
    examples = runtime.shards.read(output.manifests["examples"], Example)
    assert sorted(example.completion.strip() for example in examples) == sorted(map(right, range(5)))
    members = runtime.shards.read(output.manifests["members"], MixMember)
    assert [member.role for member in members] == ["original"] * 5


def test_a_wrong_aspect_decides_before_an_undecided_one():
    verdicts = [
        Verdict.of("a" * 32, "v", "0" * 32, passed, aspect=str(place))
        for place, passed in enumerate([True, None, False])
    ]
    assert outcomes(verdicts)["a" * 32] == (False, verdicts[2].verdict_id)
    assert outcomes(verdicts[:2])["a" * 32] == (None, verdicts[1].verdict_id)
    assert outcomes(verdicts[:1])["a" * 32] == (True, verdicts[0].verdict_id)


def test_a_file_that_a_ref_names_is_part_of_what_it_stands_for(tmp_path):
    path = tmp_path / "questions.jsonl"
    answers = tmp_path / "answers.json"
    for code, file, ref in (
        (problems_code, path, f"jsonl:{path},question=q"),
        (engine_code, answers, f"scripted:{answers}"),
    ):
        file.write_text("{}")
        before = code(ref)
        file.write_text('{"q": 1}')
        assert code(ref) != before


def test_a_failure_that_nothing_can_change_is_final_at_once(runtime, problems, tmp_path):
    first, *_ = prompts_of(runtime, asked(runtime, problems, script(tmp_path, {"*": "4"})))
    engine = script(tmp_path, {first: {"fail": "too long", "final": True}, "*": "5"}, "other.json")
    output = asked(runtime, problems, engine)
    assert output.accounting == Accounting(asked=5, ok=4, failed=1)
    assert runtime.shards.read(output.manifests["attempts"], Attempt)[0].error == "NeverAnswered: too long"


def test_a_full_disk_under_a_journal_is_said_as_one(tmp_path):
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageFull, match="no space to write"), Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(Response("a" * 32, "x" * 100_000, "stop", 1, 1))


@pytest.mark.parametrize(("share", "missing"), [(1.0, 0), (0.5, 6), (0.8, 0), (0.75, 1)])
def test_originals_that_a_corpus_did_not_have_are_counted(share, missing):
    """Eight rows of one's own beside two originals."""
    assert missing_originals({"rows": 10, "self_share": 0.8, "self_share_wanted": share}) == missing
