"""Tasks honour what was forgotten: it is not posed, not asked, not kept when it comes again, and not trained on."""

import json

import pytest

from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.manifest import Accounting
from storage.records import Attempt, Example, Problem, Tombstone
from storage.tombstones import QUESTION, REQUEST, SOURCE, TEXT, question_digest, source_digest, text_digest
from tasks.engines.protocol import Sampling
from tasks.mix import MixRule, collect, mix
from tasks.pose import cells, pose
from tasks.processes import Processes
from tasks.rationalize import rationalize
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.sample import sample
from tasks.verify import Outcomes, verify

QUESTIONS = [{"question": f"{n}+{n}", "answer": str(2 * n)} for n in range(1, 6)]
DRAW = Sampling(temperature=1.0, max_tokens=20)


@pytest.fixture
def home(tmp_path):
    return Home.open(tmp_path / "home")


@pytest.fixture
def processes(home):
    with Processes(home.logs, preload=()) as processes:
        yield processes


@pytest.fixture
def start(home, processes):
    """Starts a run: a runtime that knows the tombstones laid before."""
    started = []

    def make(*tombstones: tuple[str, str]) -> Runtime:
        made = Runtime(home, processes)
        if tombstones:
            made.shards.write("tombstone", [Tombstone(identity, kind) for kind, identity in tombstones])
            made = Runtime(home, processes)
        started.append(made)
        return made

    yield make
    for one in started:
        one.engines.close()


def posed(tmp_path, runtime, cell_rows=2):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    return pose.function(f"jsonl:{path},question=question,gold=answer", "train", 0, 5, cell_rows, runtime)


def sampled(tmp_path, runtime, problems, answers):
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    weights = digest("scripted", str(runtime.home.checkpoints / ("c" * 32)))
    call = {"engine": f"scripted:{tmp_path / 'answers.json'}", "checkpoint_id": "c" * 32, "weights_digest": weights}
    return sample.function(
        problems=problems, template="plain", sampling=DRAW, first_sample=0, samples=1, seed=0, runtime=runtime, **call
    )


def test_a_forgotten_problem_is_left_out_of_its_cell_and_no_other_cell_changes(tmp_path, start):
    whole = posed(tmp_path, start()).manifests["problems"]
    output = posed(tmp_path, start((QUESTION, question_digest("2+2"))))
    left = output.manifests["problems"]
    assert output.accounting == Accounting(asked=5, ok=4, rejected=1)
    assert left.shards[0] != whole.shards[0]
    assert left.shards[1:] == whole.shards[1:]
    assert [part.rows for part in cells(left, start().shards)] == [1, 2, 1]


def test_a_forgotten_source_poses_nothing(tmp_path, start):
    problem = start().shards.read(posed(tmp_path, start()).manifests["problems"], Problem)[0]
    runtime = start((SOURCE, source_digest(problem.source)))
    with pytest.raises(UserMistake, match="were forgotten"):
        posed(tmp_path, runtime)


def test_a_forgotten_request_is_not_asked(tmp_path, start):
    runtime = start()
    problems = posed(tmp_path, runtime).manifests["problems"]
    first = sampled(tmp_path, runtime, problems, {"*": "4"})
    attempts = runtime.shards.read(first.manifests["attempts"], Attempt)
    runtime = start((REQUEST, attempts[1].request_id))
    again = sampled(tmp_path, runtime, problems, {"*": "5"})
    rows = runtime.shards.read(again.manifests["attempts"], Attempt)
    assert [row.text for row in rows] == ["5", "", "5", "5", "5"]
    assert (rows[1].finish_reason, rows[1].request_id) == ("failed", attempts[1].request_id)
    assert "forgotten" in str(rows[1].error)
    assert again.accounting == Accounting(asked=5, ok=4, failed=1)


def test_a_forgotten_text_is_not_kept_and_reaches_no_journal(tmp_path, start):
    runtime = start((TEXT, text_digest("2+2", "a secret answer")))
    problems = posed(tmp_path, runtime).manifests["problems"]
    output = sampled(tmp_path, runtime, problems, {"*": "a secret answer"})
    rows = runtime.shards.read(output.manifests["attempts"], Attempt)
    assert [row.text for row in rows] == ["a secret answer", "", *["a secret answer"] * 3], "to this question only"
    assert output.accounting == Accounting(asked=5, ok=4, failed=1)
    assert list(runtime.home.journals.iterdir()) == []


def test_what_was_not_kept_is_neither_hinted_nor_trained_on(tmp_path, start):
    runtime = start((TEXT, text_digest("2+2", "4")))
    problems = posed(tmp_path, runtime).manifests["problems"]
    attempts = sampled(tmp_path, runtime, problems, {"*": "4"}).manifests["attempts"]
    judged = verify.function(problems, attempts, "exact", runtime)
    assert judged.accounting == Accounting(asked=5, ok=0, rejected=4, failed=1)
    verdicts = judged.manifests["verdicts"]
    weights = digest("scripted", str(runtime.home.checkpoints / ("c" * 32)))
    engine = f"scripted:{tmp_path / 'answers.json'}"
    hinted = rationalize.function(
        problems,
        attempts,
        Outcomes(verdicts, str(judged.facts["outcomes"])),
        engine,
        "c" * 32,
        weights,
        "plain",
        DRAW,
        0,
        runtime,
    )
    assert hinted.accounting.asked == 4


def test_a_forgotten_example_is_never_mixed_in(tmp_path, start):
    runtime = start()
    problems = posed(tmp_path, runtime).manifests["problems"]
    attempts = sampled(tmp_path, runtime, problems, {"*": "4"}).manifests["attempts"]
    verdicts = verify.function(problems, attempts, "exact", runtime).manifests["verdicts"]
    judged = (Judged("sampled", problems, attempts, verdicts),)
    everything = MixRule(keep="everything")
    before = mix.function(judged, None, "plain", everything, runtime)
    example, *others = runtime.shards.read(before.manifests["examples"], Example)
    documents = collect.function(problems, "plain", "original", True, 0, runtime)
    document = runtime.shards.read(documents.manifests["examples"], Example)[0]
    runtime = start(("example", example.example_id), ("example", document.example_id))
    after = mix.function(judged, None, "plain", everything, runtime)
    assert after.accounting == Accounting(asked=5, ok=4, rejected=1)
    assert {one.example_id for one in runtime.shards.read(after.manifests["examples"], Example)} == {
        one.example_id for one in others
    }
    again = collect.function(problems, "plain", "original", True, 0, runtime)
    assert again.accounting == Accounting(asked=5, ok=4, rejected=1)
