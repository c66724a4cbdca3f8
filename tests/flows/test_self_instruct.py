"""Self-Instruct on a script: what is asked with which examples, what is admitted and why not, and what is trained on."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from flows.method_config import UNCHECKED
from flows.refs import check
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.lineage import Lineage
from storage.records import Derivation, Problem, Prompt, Verdict
from tasks.composition import ORIGINAL, SAMPLED
from tasks.engines.uniforms import keys_of, uniforms
from tasks.instructions import Draw, drawn, examples_of, propose_instructions
from tasks.problems.registry import load
from tasks.verifiers.instance_filter import SAME
from tasks.verifiers.instruction_filter import KEYWORD, PROGRAM, PUNCTUATION, SHORT, SIMILAR
from tasks.verifiers.rouge import f_measure, words
from tests.plain_loop import plain_loop
from tests.small_run import status_of

SEEDS = load("seed_tasks")
SMALL = {"target": 60, "rounds": 3, "proposals": 4, "cell_rows": 30}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    from flows.self_instruct import improve

    with plain_loop(resolve("self_instruct", "self-instruct-demo", SMALL), tmp_path_factory.mktemp("written")) as loop:
        improve(loop)
        yield loop


def rows(loop, title, role, kind):
    return [row for one in loop.steps(title, 1) for row in loop._read(one, role, kind)]


def instructions(loop, number):
    return rows(loop, f"admit {number}", "problems", Problem)


def shown(prompt):
    head, *lines, last = prompt.splitlines()
    assert (head, last) == ("Come up with a series of tasks:", "9.")
    return [line.partition(". ")[2] for line in lines]


def test_the_first_round_shows_eight_seeds_and_later_ones_six_and_two_of_the_models_own(written):
    human = {problem.question for problem in SEEDS.take("train", 0, 99)}
    for number, own in ((1, 0), (2, 2), (3, 2)):
        there = {one.question for earlier in range(1, number) for one in instructions(written, earlier)}
        prompts = written.prompts(f"propose {number}")
        assert len(prompts) == 4
        for prompt in prompts:
            examples = [text.rstrip(":") for text in shown(prompt)]
            assert len(set(examples)) == 8
            assert sum(text in there for text in examples) == own
            assert sum(text in {one.rstrip(":") for one in human} for text in examples) == 8 - own
    assert len({prompt for number in (1, 2, 3) for prompt in written.prompts(f"propose {number}")}) == 12


def test_no_held_out_seed_is_ever_shown(written):
    held = {problem.question for split in ("dev", "test") for problem in SEEDS.take(split, 0, 99)}
    texts = [prompt for number in (1, 2, 3) for prompt in written.prompts(f"propose {number}")]
    assert not any(one in text for one in held for text in texts)


def test_machine_made_examples_stand_at_every_place():
    problems = [Problem.of("s", "train", f"task {n}", None) for n in range(50)]
    places = Counter()
    for place in range(300):
        examples = examples_of(problems[:40], problems[40:], Draw(2, 0, 300, 6, 2, 0), place)
        places.update(at for at, one in enumerate(examples) if one in problems[40:])
    assert sum(places.values()) == 600
    assert min(places[at] for at in range(8)) > 40


def test_one_instruction_of_its_own_leaves_room_for_seven_seeds():
    problems = [Problem.of("s", "train", f"task {n}", None) for n in range(20)]
    examples = examples_of(problems[:19], problems[19:], Draw(2, 0, 1, 6, 2, 0), 0)
    assert len({one.problem_id for one in examples}) == 8
    assert problems[19] in examples


def test_drawing_gives_different_places_and_all_of_them_alike():
    counts = Counter()
    for number in range(2000):
        (numbers,) = uniforms(keys_of([digest("drawing", number)]), 0, 3).tolist()
        found = drawn(numbers, 7)
        assert len(set(found)) == 3
        counts.update(found)
    assert all(abs(counts[place] / 2000 - 3 / 7) < 0.05 for place in range(7))


def test_every_instruction_of_a_proposal_has_a_verdict_with_its_reason(written):
    verdicts = [one for number in (1, 2, 3) for one in rows(written, f"admit {number}", "verdicts", Verdict)]
    assert {one.verifier for one in verdicts} == {"self_instruct_instructions"}
    refused = Counter((one.reason or "").partition(":")[0] for one in verdicts if not one.passed)
    assert {KEYWORD, SHORT, PROGRAM, PUNCTUATION, SIMILAR} >= set(refused)
    assert len(refused) >= 3
    assert all(one.answer for one in verdicts)
    admitted = [one.question for number in (1, 2, 3) for one in instructions(written, number)]
    assert admitted == [one.answer for one in verdicts if one.passed]
    for number in (1, 2, 3):
        (step,) = written.steps(f"admit {number}")
        accounting = step.output.accounting
        assert accounting.asked == accounting.ok + accounting.rejected
        assert step.output.facts["admitted"] == accounting.ok == len(instructions(written, number))
        assert sum(step.output.facts["refused"].values()) == accounting.rejected


def test_no_two_instructions_are_near_each_other_or_a_seed_held_out_ones_included(written):
    there = [problem.question for split in ("train", "dev", "test") for problem in SEEDS.take(split, 0, 99)]
    for one in (one.question for number in (1, 2, 3) for one in instructions(written, number)):
        assert max(f_measure(words(one), words(other)) for other in there) <= 0.7
        there.append(one)


def test_labels_come_first_for_classifications_and_inputs_for_the_rest(written):
    for number in (1, 2, 3):
        answers = {row.problem_id: row.text for row in written.attempts(f"classify {number}")}
        prompts = written.prompts(f"instances {number}")
        routed = Counter()
        for row, prompt in zip(written.attempts(f"instances {number}"), prompts, strict=True):
            label_first = "Class label:" in prompt
            assert label_first is (answers[row.problem_id] == "Yes")
            routed[label_first] += 1
        assert routed[False] > routed[True]
    assert any(row.text == "Yes" for row in written.attempts("classify 1"))


def test_the_sampling_is_the_papers(written):
    (proposed,), (tested, *_), (made, *_) = (
        written.steps(f"{what} 1") for what in ("propose", "classify", "instances")
    )
    drawn_with, test, answer = (one.call["sampling"] for one in (proposed, tested, made))
    assert (drawn_with.temperature, drawn_with.top_p, drawn_with.presence_penalty) == (0.7, 0.5, 2)
    assert (test.temperature, test.max_tokens) == (0, 3)
    assert (answer.temperature, answer.presence_penalty) == (0, 1.5)
    assert "Example 6" in answer.stop


def test_instances_are_kept_or_refused_one_by_one(written):
    verdicts = [one for number in (1, 2, 3) for one in rows(written, f"admit instances {number}", "verdicts", Verdict)]
    refused = Counter((one.reason or "").partition(":")[0] for one in verdicts if not one.passed)
    assert refused[SAME]
    assert refused["contradiction"] % 3 == 0
    by_attempt = Counter(one.attempt_id for one in verdicts if one.passed)
    assert max(by_attempt.values()) <= 5


def test_what_is_trained_on_is_what_was_admitted_and_the_seeds_own(written):
    verdicts = [one for number in (1, 2, 3) for one in rows(written, f"admit instances {number}", "verdicts", Verdict)]
    outputs = Counter(json.loads(one.answer or "")["output"] for one in verdicts if one.passed)
    members = written.trained_on(1)
    own = [example for example, role in members if role == SAMPLED]
    assert Counter(example.completion for example in own) == Counter({f" {text}": n for text, n in outputs.items()})
    assert sum(role == ORIGINAL for _, role in members) == len(SEEDS.corpus(0, 999))
    endings = Counter(example.prompt.rpartition("\n")[2] for example in own)
    assert set(endings) == {"Output:", "Answer:"}
    assert Counter(example.prompt.startswith("Task: ") for example in own)[True] > len(own) / 6


def test_without_the_seeds_only_the_models_own_is_trained_on(tmp_path):
    from flows.self_instruct import improve

    config = resolve(
        "self_instruct", "self-instruct-demo", SMALL | {"rounds": 1, "include_seeds": False, "longest": 130}
    )
    with plain_loop(config, tmp_path) as loop:
        improve(loop)
        members = loop.trained_on(1)
        assert {role for _, role in members} == {SAMPLED}
        assert all(len(one.prompt) + len(one.completion) <= 130 for one, _ in members)


def test_rounds_end_when_there_is_enough(written, tmp_path):
    from flows.self_instruct import improve

    with plain_loop(resolve("self_instruct", "self-instruct-demo", SMALL | {"target": 5}), tmp_path) as loop:
        improve(loop)
        assert [one.title for one in loop.asked if one.title.startswith("propose")] == ["propose 1"]
    assert len(written.steps("propose 3")) == 1
    assert not written.steps("propose 4")


def test_a_further_iteration_writes_on_with_its_own_model_and_the_same_pool(tmp_path):
    from flows.self_instruct import improve

    settings = SMALL | {"iterations": 2, "rounds": 1, "target": 5, "pool": "all"}
    with plain_loop(resolve("self_instruct", "self-instruct-demo", settings), tmp_path) as loop:
        improve(loop)
        first, second = loop.steps("propose 1", 1), loop.steps("propose 2", 2)
        trained = loop.steps("fine-tune", 1)[0].output.facts["checkpoint_id"]
        assert second[0].call["checkpoint_id"] == trained != first[0].call["checkpoint_id"]
        assert second[0].call["pool"].rows == len(loop._read(loop.steps("admit 1", 1)[0], "problems", Problem))
        assert len(loop.trained_on(2)) > len(loop.trained_on(1))


def test_an_example_leads_back_to_the_seeds_that_prompted_it(written):
    derivations = {
        title: rows(written, title, "derivations", Derivation) for title in ("propose 1", "propose 2", "instances 2")
    }
    seeds = {problem.problem_id for problem in SEEDS.take("train", 0, 99)}
    assert {one.parent_id for one in derivations["propose 1"]} <= seeds
    proposals = {row.attempt_id for row in written.attempts("propose 2")}
    proposed = {one.problem_id: one.source_attempt_id for one in instructions(written, 2)}
    for row in written.attempts("instances 2"):
        parents = {one.role: one.parent_id for one in derivations["instances 2"] if one.child_id == row.attempt_id}
        assert parents["proposed in"] == proposed[row.problem_id]
        assert parents["proposed in"] in proposals
        above = [one for one in derivations["propose 2"] if one.child_id == parents["proposed in"]]
        assert Counter(one.role for one in above)["seed"] == 6
        assert {one.parent_id for one in above if one.role == "seed"} <= seeds


def test_everything_that_is_said_says_that_correctness_is_not_checked(written):
    heard = written.listener.heard
    assert UNCHECKED in heard[0]
    assert written.config.correctness == UNCHECKED
    told = [line for line in heard if line.startswith("round ")]
    assert len(told) == 3
    assert all("is not checked" in line for line in told)
    (figures,) = [one for one in written.closed if one["iteration"] == 1]
    for number, one in enumerate(figures["rounds"], start=1):
        assert one["round"] == number
        assert 0 < one["mean_nearest"] <= 0.7
        assert one["verbs"] > 3
        assert one["nouns"] > 3


def test_the_same_round_with_another_seed_shows_other_examples(written):
    one, other = (
        [examples_of(SEEDS.take("train", 0, 99), [], Draw(1, 0, 4, 6, 2, seed), place) for place in range(4)]
        for seed in (0, 1)
    )
    assert one != other
    assert one != [one[0]] * 4


def test_a_round_is_the_same_however_it_is_cut_into_cells(written, tmp_path):
    (step,) = written.steps("propose 2")
    call = step.call
    parts = [
        propose_instructions.function(
            **(call | {"draw": Draw(2, first, 2, 6, 2, call["draw"].seed)}), runtime=written.runtime
        )
        for first in (0, 2)
    ]
    texts = {
        row.prompt_id: row.text
        for part in parts
        for row in written.runtime.shards.read(part.manifests["prompts"], Prompt)
    }
    assert sorted(texts.values()) == sorted(written.prompts("propose 2"))
    assert all(before != after for before, after in pairwise(texts.values()))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"problems": "addition:1-2"},
            "addition:1-2 has questions with answers; give a file of tasks as .*star, rest_em or rest",
        ),
        ({"human_examples": 21}, r"a prompt shows 23 tasks .*, and seed_tasks has 22 to show"),
        ({"template": "plain"}, r"'plain' has no propose\.jinja"),
    ],
)
def test_what_cannot_be_started_from_is_said_before_anything_runs(settings, sentence):
    with pytest.raises(UserMistake, match=sentence):
        check(resolve("self_instruct", "self-instruct-demo", settings))


def test_every_round_that_may_come_is_planned_and_waits_for_the_one_before(tmp_path):
    from flows.plan import plan

    made = plan(
        "self_instruct", resolve("self_instruct", "self-instruct-demo", SMALL), Home.open(tmp_path / "home"), workers=1
    )
    steps = {step.title: step for step in made.steps if step.iteration == 1}
    for number in (1, 2, 3):
        for what in ("propose", "admit", "classify", "instances", "admit instances"):
            assert steps[f"{what} {number}"].depends == 1
    assert "1 admit 1" in steps["propose 2"].waits_for
    assert {"1 admit instances 3", "1 instances 3"} <= set(steps["mix"].waits_for)
    assert steps["train seeds"].run == 1


@pytest.mark.slow
def test_a_real_run_trains_says_what_is_not_checked_and_is_all_cached_when_run_again(starloop, tmp_path):
    home = tmp_path / "home"
    small = (
        "--set",
        "proposals=4",
        "--set",
        "rounds=2",
        "--set",
        "model.pretraining.steps=4",
        "--set",
        "training.steps=3",
    )
    run = ("run", "self_instruct", "--preset", "self-instruct-demo", *small)
    done = starloop(*run, home=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("correctness is not checked") >= 3
    status = status_of(starloop, home)
    assert status["state"] == "completed"
    assert status["iterations"][1]["correctness"] == UNCHECKED
    assert status["iterations"][1]["train_rows"] > status["iterations"][1]["kept"] > 0
    page = (home / "reports" / f"{status['run_id']}.html").read_text()
    assert UNCHECKED in page
    assert "instances were admitted" in page
    assert "answered correctly" not in page
    assert starloop("verify-store", home=home).returncode == 0
    with Lineage.open(Home(home)) as lineage:
        assert lineage.run(status["run_id"]).facts["correctness"] == UNCHECKED
        query = "select example_id from example_evidence e join verdict using (verdict_id) where e.origin = 'sampled' limit 1"
        example = str(lineage.query(query).rows[0][0])
    tree = starloop("lineage", example, home=home).stdout
    assert "proposed in" in tree
    assert "seed " in tree
    again = starloop(*run, home=home)
    assert again.returncode == 0, again.stderr
    latest = status_of(starloop, home)
    assert latest["run_id"] == status["run_id"]
    assert sum(one["tasks_run"] for one in latest["iterations"]) == 0


def test_a_preview_shows_the_prompts_of_the_first_round_as_they_are_sent(written):
    from flows.cli.preview_writing import show_writing

    shown: dict[str, str] = {}
    show_writing(written.config, "self_instruct", None, 2, shown.__setitem__)
    assert [shown["proposal 1"], shown["proposal 2"]] == written.prompts("propose 1")[:2]
    assert sum(name.endswith(" drawn") for name in shown) == 1
    assert shown["correctness"] == UNCHECKED
