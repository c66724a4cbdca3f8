"""The search as a plain task, with scripted writers and readers in real processes: what trees become, and what they cost."""

import json
from dataclasses import replace

import pytest

from storage.errors import StarloopError, UserMistake
from storage.home import Home
from storage.identity import digest
from storage.manifest import Accounting
from storage.nodes import Node
from storage.records import Attempt, Derivation, Example, MixMember, Problem, Prompt, Verdict
from tasks.engines.protocol import Sampling
from tasks.forest import Search
from tasks.pose import pose
from tasks.processes import Processes
from tasks.runtime import Runtime, Silent
from tasks.search import search
from tasks.tree import SearchRule, process_values
from tasks.value_model import Trees, value_set
from tasks.verify import outcomes, verify

ADDER, JUDGE = "scripted:tests.search_answers:adder", "scripted:tests.search_answers:judge"
HOW = Search(SearchRule(rounds=30, max_steps=8), Sampling(temperature=1.0, max_tokens=40), step_tokens=4)


class Counting(Silent):
    """Counts the responses that engines gave, and stops the run after so many."""

    def __init__(self) -> None:
        self.asked = 0
        self.stop_after = None
        self.runtime = None

    def advance(self, step, done, total):
        self.asked += 1
        if self.asked == self.stop_after:
            self.runtime.cancelled.set()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with Processes(tmp_path_factory.mktemp("logs"), preload=()) as processes:
        yield processes


@pytest.fixture
def runtime(processes, tmp_path):
    runtime = runtime_at(tmp_path / "home", processes)
    yield runtime
    runtime.engines.close()


def runtime_at(home, processes):
    counting = Counting()
    runtime = counting.runtime = Runtime(Home.open(home), processes, progress=counting)
    return runtime


def sums(runtime, count=6):
    return pose.function("addition:2-3", "train", 0, count, 100, runtime).manifests["problems"]


def questions(runtime, tmp_path, *pairs):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps({"q": question, "a": gold}) for question, gold in pairs))
    return pose.function(f"jsonl:{path},question=q,gold=a", "train", 0, len(pairs), 100, runtime).manifests["problems"]


def script(tmp_path, name, answers):
    (tmp_path / name).write_text(json.dumps(answers))
    return f"scripted:{tmp_path / name}"


def weights(runtime, checkpoint_id):
    return digest("scripted", str(runtime.home.checkpoints / checkpoint_id))


def searched(runtime, problems, engine=ADDER, reader=JUDGE, how=HOW, template="addition"):
    policy, value = "c" * 32, "d" * 32
    valued = {} if reader is None else {
        "value_engine": reader, "value_checkpoint_id": value, "value_weights_digest": weights(runtime, value)
    }  # fmt: skip
    return search.function(
        problems=problems, engine=engine, checkpoint_id=policy, weights_digest=weights(runtime, policy), template=template,
        how=how, seed=0, runtime=runtime, **valued,
    )  # fmt: skip


def rows(runtime, output, role, record):
    return runtime.shards.read(output.manifests[role], record)


def trees_in(nodes):
    found = {}
    for node in nodes:
        found.setdefault(node.tree_id, []).append(node)
    return list(found.values())


def test_trees_find_right_sums_where_a_third_of_the_carries_are_forgotten(runtime):
    problems = sums(runtime, 12)
    output = searched(runtime, problems)
    assert output.accounting == Accounting(asked=12, ok=12)
    verdicts = verify.function(problems, output.manifests["attempts"], "sums", runtime).manifests["verdicts"]
    outcome = outcomes(runtime.shards.read(verdicts, Verdict))
    nodes = rows(runtime, output, "nodes", Node)
    for tree in trees_in(nodes):
        best = max((node for node in tree if node.terminal), key=lambda node: node.value)
        assert outcome[best.solution_id][0] is True, "the reader knows the right way, so the best leaf is on it"
        assert best.value == 1.0
        wrong = [node.value for node in tree if node.terminal and outcome[node.solution_id][0] is False]
        assert not wrong or max(wrong) < 0.1
    assert output.facts["nodes"] == len(nodes) - 12
    assert output.facts["gated"] == 12


def test_every_node_and_step_and_solution_hangs_together(runtime):
    output = searched(runtime, sums(runtime))
    nodes = rows(runtime, output, "nodes", Node)
    steps = {one.attempt_id: one for one in rows(runtime, output, "steps", Attempt)}
    solutions = {one.attempt_id: one for one in rows(runtime, output, "attempts", Attempt)}
    prompts = {one.prompt_id: one.text for one in rows(runtime, output, "prompts", Prompt)}
    parts = {}
    for one in rows(runtime, output, "derivations", Derivation):
        parts.setdefault(one.child_id, set()).add(one.parent_id)
    by_id = {node.node_id: node for node in nodes}
    for tree in trees_in(nodes):
        assert [node.place for node in tree] == list(range(len(tree)))
        assert [node.parent_id for node in tree if node.kind == "root"] == [None]
        expanded = [node for node in tree if node.kind == "expanded"]
        assert tree[0].visits <= 30
        assert all(node.visits <= by_id[node.parent_id].visits for node in expanded)
        for node in tree[1:]:
            above, text, tokens = node, "", 0
            while above.parent_id is not None:
                text, tokens = steps[above.attempt_id].text + text, tokens + steps[above.attempt_id].tokens
                above = by_id[above.parent_id]
            before = text[: len(text) - len(steps[node.attempt_id].text)]
            assert prompts[steps[node.attempt_id].prompt_id].endswith(f"={before}")
            if node.terminal:
                whole = solutions[node.solution_id]
                assert (whole.text, whole.tokens) == (text, tokens)
                assert prompts[whole.prompt_id].endswith("=")
                assert node.attempt_id in parts[whole.attempt_id]
    assert output.facts["tokens"] == sum(step.tokens for step in steps.values())
    assert {node.solution_id for node in nodes if node.terminal} == set(solutions)


def test_a_tree_is_the_same_alone_and_among_others(runtime):
    problems = sums(runtime, 4)
    together = rows(runtime, searched(runtime, problems), "nodes", Node)
    alone = []
    for problem in runtime.shards.read(problems, Problem):
        part = runtime.shards.write("problem", [problem])
        alone += rows(runtime, searched(runtime, part), "nodes", Node)
    assert alone == together


def test_a_search_that_was_stopped_redoes_at_most_the_call_under_way(processes, tmp_path):
    whole = runtime_at(tmp_path / "whole", processes)
    expected = searched(whole, sums(whole))
    asked = whole.progress.asked
    assert not list(whole.home.journals.iterdir()), "journals are let go of with the cell"
    stopped = runtime_at(tmp_path / "stopped", processes)
    problems = sums(stopped)
    stopped.progress.stop_after = asked // 2
    with pytest.raises(StarloopError, match="stopped"):
        searched(stopped, problems)
    stopped.engines.close()
    again = runtime_at(tmp_path / "stopped", processes)
    output = searched(again, problems)
    assert {role: one.shards for role, one in output.manifests.items()} == {
        role: one.shards for role, one in expected.manifests.items()
    }
    assert again.progress.asked == asked - asked // 2, "what is in a journal is not asked again"
    again.engines.close()
    whole.engines.close()


def test_a_step_ends_at_its_delimiter_and_a_solution_where_the_model_ends_it(runtime, tmp_path):
    engine = script(tmp_path, "policy.json", {"2+2": "think;A5 never;", "2+2think;": ["A4", "A5"], "*": "A9"})
    reader = script(tmp_path, "value.json", {"2+2think;": "0.3", "2+2think;A4": "0.9", "*": "0.2"})
    how = Search(SearchRule(branch=6, rounds=3), Sampling(temperature=1.0, max_tokens=9), delimiter=";", step_tokens=9)
    output = searched(runtime, questions(runtime, tmp_path, ("2+2", "4")), engine, reader, how, "plain")
    solutions = {one.text: one for one in rows(runtime, output, "attempts", Attempt)}
    assert set(solutions) == {"think;A4", "think;A5"}
    steps = rows(runtime, output, "steps", Attempt)
    assert {(one.text, one.finish_reason) for one in steps} == {("think;", "step"), ("A4", "stop"), ("A5", "stop")}
    leaf = {node.solution_id: node for node in rows(runtime, output, "nodes", Node) if node.terminal}
    assert leaf[solutions["think;A4"].attempt_id].value == pytest.approx(0.9)


def test_a_stop_string_across_two_steps_ends_the_solution(runtime, tmp_path):
    how = Search(SearchRule(rounds=6), Sampling(1.0, 30, stop=(";Question",)), delimiter=";", step_tokens=30)
    engine = script(tmp_path, "p.json", {"7+7": "A14;", "7+7A14;": "Question: and 8+8?;", "*": "never;"})
    output = searched(
        runtime,
        questions(runtime, tmp_path, ("7+7", "14")),
        engine,
        script(tmp_path, "v.json", {"*": "0.5"}),
        how,
        "plain",
    )
    assert [one.text for one in rows(runtime, output, "attempts", Attempt)] == ["A14;"]
    assert all(node.depth <= 2 for node in rows(runtime, output, "nodes", Node))


def test_a_step_without_end_an_empty_one_and_a_failing_one_are_said_and_the_others_go_on(runtime, tmp_path):
    answers = {
        "1+1": "goes on and on and on", "2+2": ";", "3+3": {"fail": "out of words", "final": True}, "4+4": "A8",
    }  # fmt: skip
    problems = questions(runtime, tmp_path, *((question, "8") for question in answers))
    how = Search(SearchRule(rounds=4), Sampling(temperature=1.0, max_tokens=9), delimiter=";", step_tokens=9)
    reader = script(tmp_path, "value.json", {"*": "0.4"})
    output = searched(runtime, problems, script(tmp_path, "p.json", answers), reader, how, "plain")
    assert output.accounting == Accounting(asked=4, ok=1, undecided=3)
    closed = {node.closed for node in rows(runtime, output, "nodes", Node) if node.closed}
    assert closed == {
        "a step came to no end within 9 tokens", "no step followed", "NeverAnswered: out of words"
    }  # fmt: skip
    assert [one.text for one in rows(runtime, output, "attempts", Attempt)] == ["A8"]


def test_what_the_value_model_cannot_read_leads_nowhere_and_the_run_goes_on(runtime, tmp_path):
    reader = script(tmp_path, "v.json", {"5+5on;": {"fail": "too long", "final": True}, "*": "nothing"})
    how = Search(SearchRule(rounds=4), Sampling(temperature=1.0, max_tokens=9), delimiter=";", step_tokens=9)
    engine = script(tmp_path, "p.json", {"5+5": "on;", "6+6": "A12"})
    problems = questions(runtime, tmp_path, ("5+5", "10"), ("6+6", "12"))
    output = searched(runtime, problems, engine, reader, how, "plain")
    first, second = trees_in(rows(runtime, output, "nodes", Node))
    assert first[1].closed == "no value: NeverAnswered: too long"
    assert (second[1].terminal, second[1].value, second[1].closed) == (True, 0.0, None), "a solution all the same"
    assert output.accounting == Accounting(asked=2, ok=1, undecided=1)


def test_a_tree_without_a_solution_is_written_on_from_its_best_place(runtime):
    output = searched(runtime, sums(runtime, 3), how=replace(HOW, rule=replace(HOW.rule, rounds=1)))
    nodes = rows(runtime, output, "nodes", Node)
    assert {node.kind for node in nodes if node.terminal} == {"completed"}
    assert output.accounting == Accounting(asked=3, ok=3)


def test_without_a_value_model_plain_solutions_are_drawn_step_by_step(runtime):
    problems = sums(runtime, 3)
    output = searched(runtime, problems, reader=None, how=replace(HOW, rule=replace(HOW.rule, branch=8)))
    nodes = rows(runtime, output, "nodes", Node)
    assert {node.kind for node in nodes} == {"root", "expanded"}
    assert all(node.visits == 0 and node.value_checkpoint_id is None for node in nodes)
    written = rows(runtime, output, "steps", Attempt)
    ends = [step for step in written if step.finish_reason == "stop"]
    assert len(ends) == 3 * 8, "eight whole solutions of each problem, some of them the same"
    assert len(rows(runtime, output, "attempts", Attempt)) < 24


def test_a_value_set_says_what_each_judged_step_was_worth(runtime):
    problems = sums(runtime, 5)
    output = searched(runtime, problems, reader=None, how=replace(HOW, rule=replace(HOW.rule, branch=6)))
    made = output.manifests
    verdicts = verify.function(problems, made["attempts"], "sums", runtime).manifests["verdicts"]
    trees = Trees(problems, made["nodes"], made["steps"], made["attempts"], verdicts)
    values = value_set.function((trees,), "addition", 0, runtime)
    outcome = outcomes(runtime.shards.read(verdicts, Verdict))
    text = {one.attempt_id: one.text for one in rows(runtime, output, "steps", Attempt)}
    question = {one.problem_id: one.question for one in runtime.shards.read(problems, Problem)}
    expected = {}
    for tree in trees_in(rows(runtime, output, "nodes", Node)):
        place = {node.node_id: node.place for node in tree}
        parents = [None if node.parent_id is None else place[node.parent_id] for node in tree]
        right = {node.place: outcome[node.solution_id][0] for node in tree if node.terminal}
        said = ["" for _ in tree]
        for node in tree[1:]:
            said[node.place] = said[parents[node.place]] + text[node.attempt_id]
        worth = process_values(parents, right)
        expected |= {f"{question[tree[0].problem_id]}={said[place]}": value for place, value in worth.items()}
    found = {one.prompt: float(one.completion) for one in rows(runtime, values, "examples", Example)}
    assert found == pytest.approx(expected, abs=6e-5)
    assert {round(value) for value in found.values()} == {0, 1}
    assert len(rows(runtime, values, "members", MixMember)) == len(found)
    assert values.accounting.asked == made["attempts"].rows
    assert values.facts["trees"] == 5
    nothing = [replace(one, passed=None) for one in runtime.shards.read(verdicts, Verdict)]
    undecided = replace(trees, verdicts=runtime.shards.write("verdict", nothing))
    with pytest.raises(UserMistake, match="none was judged right or wrong"):
        value_set.function((undecided,), "addition", 0, runtime)
