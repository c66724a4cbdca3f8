"""Methods beside each other: means, intervals and tests against values worked out by hand."""

import pytest

from storage.comparison import pair, standing
from storage.report.comparison import comparison_chart, failures, markdown, pair_rows, rows, standalone
from storage.significance import mcnemar, wilson

EVEN = dict.fromkeys("abcdefgh", 1.0)


def marks(solved: str, among: str = "abcdefgh") -> dict[str, bool]:
    return {one: one in solved for one in among}


def test_one_seed_has_wilsons_interval_of_its_accuracy():
    found = standing([marks("abcdef")], EVEN)
    assert found is not None
    assert (found.accuracy, found.n, found.seeds) == (0.75, 8, (0.75,))
    expected = wilson(0.75, 8)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_seeds_that_agree_say_no_more_than_one_and_seeds_that_differ_narrow_the_interval():
    same = standing([marks("abcd")] * 3, EVEN)
    other = standing([marks("abcd"), marks("efgh")], EVEN)
    one = standing([marks("abcd")], EVEN)
    assert same is not None
    assert other is not None
    assert one is not None
    assert (same.low, same.high) == pytest.approx((one.low, one.high))
    mixed = standing([marks("abcd"), marks("abef")], EVEN)
    assert mixed is not None
    # Means over seeds 1, 1, .5, .5, .5, .5, 0, 0: squares 4 * .25 over 64, so 0.25 / (1 / 64) = 16 problems' worth.
    expected = wilson(0.5, 16)
    assert (mixed.low, mixed.high) == pytest.approx((expected.low, expected.high))


def test_weights_count_and_problems_that_are_undecided_with_any_seed_do_not():
    found = standing([{"a": True, "b": False}, {"a": True, "b": False, "c": True}], {"a": 3.0, "b": 1.0, "c": 9.0})
    assert found is not None
    assert (found.accuracy, found.n) == (0.75, 2)
    assert standing([], EVEN) is None
    assert standing([{"a": True}, {"b": True}], EVEN) is None


def test_one_seed_against_another_is_mcnemars_test():
    found = pair("x", "y", [marks("abcdef")], [marks("ag")])
    assert found is not None
    assert (found.gained, found.lost) == (5, 1)
    assert found.p_value == pytest.approx(mcnemar(5, 1)) == pytest.approx(14 / 64)
    assert found.by_seed == (found.p_value,)


def test_over_seeds_a_problem_counts_once_for_the_side_that_solved_it_more_often():
    ones = [marks("abc"), marks("abd"), marks("abe")]
    found = pair("x", "the base", ones, [marks("bh")])
    assert found is not None
    # a 3 of 3 against 0, b equal, c, d, e 1 of 3 against 0, h 0 against 1.
    assert (found.gained, found.lost) == (4, 1)
    assert found.by_seed == tuple(mcnemar(2, 1) for _ in range(3))


def facts() -> dict[str, object]:
    def score(accuracy: float) -> dict[str, object]:
        return {"accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1, "n": 100, "seeds": [accuracy]}

    def loop(seed: int, accuracy: float | None, why: str = "") -> dict[str, object]:
        return {"seed": seed, "run_id": "0" * 32, "state": "completed" if accuracy else "failed", "why": why, "iterations": 2,
                "tokens": 900, "all_tokens": 2000, "base_accuracy": 0.4, "accuracy": accuracy, "wall_s": 30.0}  # fmt: skip

    curve = [{"iteration": n, "tokens": 450 * n, **score(0.4 + 0.2 * n)} for n in (0, 1, 2)]
    return {
        "budget_tokens": 1000, "counted": "…", "base": score(0.4),
        "methods": [
            {"method": "star", "test": score(0.8), "curve": curve, "loops": [loop(0, 0.8), loop(1, 0.8)]},
            {"method": "<b>", "test": None, "curve": [], "loops": [loop(0, None, "nothing left to train on")]},
        ],
        "pairs": [{"first": "star", "other": "the base", "gained": 45, "lost": 5, "p_value": 1e-9, "by_seed": [1e-9, 0.04]}],
    }  # fmt: skip


def test_the_table_has_a_line_for_the_base_and_each_method_with_what_was_spent():
    base, star, failed = rows(facts())
    assert base[:3] == ["the base", "40.0\u00a0%", "30.0\u00a0% to 50.0\u00a0%"]
    assert star[3:6] == ["80.0, 80.0", "+40.0 points, p\u00a0<\u00a00.001", "900, 90\u00a0%"]
    assert failed[1] == "no test"
    assert failures(facts()) == ["<b>, seed 0: failed: nothing left to train on"]
    assert pair_rows(facts()) == [["star, the base", "45", "5", "p\u00a0<\u00a00.001", "1e-09, 0.04"]]
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_chart_is_a_file_of_its_own_and_takes_no_markup_from_a_name():
    import xml.etree.ElementTree as ElementTree

    drawn = ElementTree.fromstring(standalone(comparison_chart(facts())))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "star" in texts
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 4
