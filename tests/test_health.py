"""Health's figures against values worked out by hand, on real shards."""

import pytest

from storage.home import Home
from storage.records import Attempt, Problem, Verdict
from storage.shards import Shards
from tasks.health import changes, health, pass_at, pass_curve
from tasks.processes import Processes
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.trust import Labelled, LabelledCase, trust
from tests.storage.small_loop import attempt, problem


@pytest.fixture
def runtime(tmp_path):
    with Processes(tmp_path / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(tmp_path / "home"), processes)
        yield runtime
        runtime.close()


PROBLEMS = [problem(number) for number in (1, 2, 3)]


def judged(runtime, said: list[tuple[Problem, str, bool | None]], origin: str = "sampled") -> Judged:
    """A cell of these attempts, each with its verdict."""
    rows = [attempt(of, text, "c" * 32, sample=place)[1] for place, (of, text, _) in enumerate(said)]
    verdicts = [verdict(row, passed) for row, (_, _, passed) in zip(rows, said, strict=True)]
    shards: Shards = runtime.shards
    return Judged(
        origin, shards.write("problem", PROBLEMS), shards.write("attempt", rows), shards.write("verdict", verdicts)
    )


def verdict(row: Attempt, passed: bool | None, by: str = "sums") -> Verdict:
    return Verdict.of(row.attempt_id, by, "d" * 32, passed, answer=row.text)


def audit(runtime, cell: Judged, passed: list[bool | None]) -> Judged:
    """A second verifier's verdicts on the same attempts."""
    rows = runtime.shards.read(cell.attempts, Attempt)
    verdicts = [verdict(row, one, "sum_steps") for row, one in zip(rows, passed, strict=True)]
    return Judged(cell.origin, cell.problems, cell.attempts, runtime.shards.write("verdict", verdicts))


def measured(runtime, cells=(), audits=(), before=(), dev=(), dev_before=()):
    call = {"judged": cells, "audited": audits, "before": before, "dev": dev, "dev_before": dev_before}
    return health.function(**call, runtime=runtime).facts


@pytest.mark.parametrize(
    ("n", "right", "k", "share"),
    [(4, 1, 1, 1 / 4), (4, 1, 2, 1 / 2), (4, 1, 4, 1), (5, 2, 3, 9 / 10), (3, 0, 3, 0), (3, 2, 2, 1), (10, 3, 1, 0.3)],
)
def test_pass_at_k_is_the_chance_that_k_of_the_attempts_hold_a_right_one(n, right, k, share):
    assert pass_at(n, right, k) == pytest.approx(share)


def test_pass_at_k_is_the_mean_over_all_ways_to_draw_k_attempts():
    from itertools import combinations

    marks = [True, False, False, True, False, False]
    drawn = [any(some) for some in combinations(marks, 3)]
    assert pass_at(6, 2, 3) == pytest.approx(sum(drawn) / len(drawn))


def test_problems_with_fewer_decided_attempts_stay_out_of_the_larger_k():
    assert pass_curve({(2, 1): 1, (3, 1): 1}) == pytest.approx([(1 / 2 + 1 / 3) / 2, (1 + 2 / 3) / 2, 1])
    assert pass_curve({}) == []


def test_undecided_and_failed_attempts_are_in_no_rate(runtime):
    one, two, three = PROBLEMS
    cell = judged(
        runtime,
        [(one, "2", True), (one, "2 ", True), (one, "02", True), (one, "3", False), (two, "?", None), (two, "5", False), (three, "?", None)],
    )  # fmt: skip
    found = measured(runtime, (cell,))
    assert (found["problems"], found["solved"]) == (2, 1)
    assert found["pass_at"] == pytest.approx([(3 / 4 + 0) / 2, 1, 1, 1])
    assert found["distinct_solutions"] == 2
    assert found["right_attempts"] == 3
    assert found["undecided_share"] == pytest.approx(2 / 7)
    assert found["mean_characters"] == pytest.approx(9 / 7)
    assert found["mean_tokens"] == 2


def test_two_texts_with_the_same_equations_are_one_solution(runtime):
    one = PROBLEMS[0]
    texts = ["So 1+1=2.", "We add: 1 + 1 = 2, done.", "1*2=2, so 2"]
    cell = judged(runtime, [(one, text, True) for text in texts])
    assert measured(runtime, (cell,))["distinct_solutions"] == 2


def test_hinted_attempts_are_not_in_pass_at_k(runtime):
    direct = judged(runtime, [(PROBLEMS[0], "3", False)])
    hinted = judged(runtime, [(PROBLEMS[0], "2", True)], "rationalized")
    found = measured(runtime, (direct, hinted))
    assert found["pass_at"] == [0.0]
    assert found["solved"] == 0


def test_an_audit_counts_among_what_passed_by_origin_and_leaves_out_what_it_cannot_decide(runtime):
    one, two, three = PROBLEMS
    direct = judged(runtime, [(one, "2", True), (two, "4", True), (three, "9", False)])
    hinted = judged(runtime, [(three, "6", True), (one, "2.", True), (two, "4.", True)], "rationalized")
    audits = (audit(runtime, direct, [True, False, False]), audit(runtime, hinted, [False, None, False]))
    assert measured(runtime, (direct, hinted), audits)["unsound"] == {
        "sampled": {"judged": 2, "wrong": 1},
        "rationalized": {"judged": 2, "wrong": 2},
    }


def test_a_problem_is_lost_when_no_decided_attempt_solves_it_any_more(runtime):
    one, two, three = PROBLEMS
    before = judged(runtime, [(one, "2", True), (one, "3", False), (two, "4", True), (three, "7", False)])
    now = judged(runtime, [(one, "9", False), (two, "5", False), (two, "4", True), (three, "6", True)])
    found = measured(runtime, (now,), before=(before,))
    assert found["train_changes"] == {"shared": 3, "solved_before": 2, "gained": 1, "lost": 1}
    assert measured(runtime, (now,))["train_changes"] is None


def test_dev_is_compared_on_the_problems_that_were_decided_both_times(runtime):
    one, two, three = PROBLEMS
    before = judged(runtime, [(one, "2", True), (two, "4", True), (three, "6", True)], "held-out")
    now = judged(runtime, [(one, "2", True), (two, "5", False), (three, "?", None)], "held-out")
    found = measured(runtime, dev=(now,), dev_before=(before,))
    assert found["dev_changes"] == {"shared": 2, "solved_before": 2, "gained": 0, "lost": 1}
    assert changes({}, {"a": True}) is None


def test_trust_counts_what_a_verifier_mistakes(runtime):
    def case(text: str, right: bool) -> LabelledCase:
        of = Problem.of("case", "test", "00001+00001", "000002")
        return LabelledCase(attempt(of, text, "c" * 32)[1], of, right)

    labelled = Labelled(
        (case("2", True), case(" 000002", True), case("000002", True), case("3", False), case("000002", False))
    )
    found = trust.function(labelled, "exact", runtime)
    assert found.facts == {
        "false_accepts": 1, "wrong_cases": 2, "false_rejects": 1, "right_cases": 3, "undecided": 0
    }  # fmt: skip
    assert found.accounting.balanced


def test_the_key_of_trust_is_the_cases_and_the_verifiers_code():
    of = Problem.of("case", "test", "00001+00001", "000002")
    row = attempt(of, "2", "c" * 32)[1]
    right, wrong = (Labelled((LabelledCase(row, of, passed),)) for passed in (True, False))
    keys = [trust.key({"labelled": one, "verifier": name}) for one in (right, wrong) for name in ("exact", "numeric")]
    assert len(set(keys)) == 4
