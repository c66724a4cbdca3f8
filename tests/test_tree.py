"""The search tree against trees worked out by hand, and inferred process values against the paper's formula on random trees."""

import random
from math import inf, log, sqrt

import pytest

from tasks.tree import (
    COMPLETED,
    CUT,
    ENDS,
    FAILED,
    SearchRule,
    Step,
    Tree,
    best_of,
    by_summed_value,
    process_values,
    upper_bound,
)

RULE = SearchRule(exploration=0.5, branch=2, rollout_steps=1, alpha=0.5, end_gate=0.9, rounds=50, max_steps=4)


def grown(tree, node, *steps):
    """A node expanded by (text, value) or (text, value, ending)."""
    new = tree.expand(node, [Step(text, *ending) for text, _, *ending in steps])
    for child, (_, value, *_) in zip(new, steps, strict=True):
        child.value = value
    return new


def test_a_round_mixes_the_roll_out_and_backs_up():
    tree = Tree(RULE)
    left, right = grown(tree, tree.select(), ("a", 0.2), ("b", 0.1))
    assert tree.to_roll([left, right]) is left
    rolled = tree.roll(left, Step("c"))
    rolled.value = 0.6
    tree.settle(left, [rolled])
    assert left.value == pytest.approx(0.5 * 0.2 + 0.5 * 0.6)
    assert (left.visits, right.visits, tree.root.visits, rolled.visits) == (1, 0, 1, 0)
    assert tree.root.value == pytest.approx(0.4), "the only visited child"
    assert rolled.solution == "ac"
    assert left.children == [], "a roll-out is no expansion"


def test_an_unvisited_child_comes_before_every_visited_one_and_the_most_valuable_first():
    tree = Tree(RULE)
    left, middle, right = grown(tree, tree.select(), ("a", 0.8), ("b", 0.1), ("c", 0.3))
    tree.settle(left)
    assert tree.select() is right
    tree.settle(right)
    assert tree.select() is middle


def test_selection_is_by_value_and_how_seldom_a_child_was_visited():
    tree = Tree(RULE)
    left, right = grown(tree, tree.select(), ("a", 0.5), ("b", 0.3))
    tree.settle(left)
    assert tree.select() is right
    (below,) = grown(tree, right, ("c", 0.3))
    tree.settle(below)
    # Visits: root 2, left 1, right 1; right is worth the mean of its visited children, 0.3.
    bound = 0.5 * sqrt(2 * log(2) / 1)
    assert upper_bound(left, 2, 0.5) == pytest.approx(0.5 + bound)
    assert upper_bound(right, 2, 0.5) == pytest.approx(0.3 + bound)
    assert tree.select() is left
    for _ in range(3):  # visited again and again, it has to be much better to be selected
        tree.settle(left)
    assert upper_bound(left, 5, 0.5) == pytest.approx(0.5 + 0.5 * sqrt(2 * log(5) / 4))
    assert upper_bound(right, 5, 0.5) == pytest.approx(0.3 + 0.5 * sqrt(2 * log(5) / 1))
    assert tree.select() is below
    assert upper_bound(Tree(RULE).root, 5, 0.5) == inf


def test_the_back_up_is_the_visit_weighted_mean():
    tree = Tree(RULE)
    left, right = grown(tree, tree.select(), ("a", 0.6), ("b", 0.0))
    tree.settle(left)
    tree.settle(left)
    tree.settle(right)
    assert tree.root.visits == 3
    assert tree.root.value == pytest.approx((2 * 0.6 + 1 * 0.0) / 3)


def test_the_search_ends_at_the_gate_and_after_its_rounds():
    tree = Tree(RULE)
    left, right = grown(tree, tree.select(), ("a", 0.95), ("b", 0.1))
    tree.settle(right)
    assert tree.select() is None
    assert tree.reached is left
    assert tree.to_complete() is left
    short = Tree(SearchRule(rounds=1, branch=1))
    (only,) = grown(short, short.select(), ("a", 0.1))
    short.settle(only)
    assert short.select() is None
    assert short.reached is None
    assert short.to_complete() is only


def test_what_is_finished_is_visited_once_and_then_left_and_the_search_ends_when_nothing_is_left():
    tree = Tree(RULE)
    left, right = grown(tree, tree.select(), ("a", 0.5, ENDS), ("b", 0.4))
    tree.settle(left)
    assert tree.to_roll([left, right]) is None, "nothing follows what is finished"
    assert tree.select() is right, "unvisited"
    done = grown(tree, right, ("c", 0.2, ENDS))
    tree.settle(done[0])
    assert tree.select() is None
    assert tree.root.done_with
    assert tree.rounds == 4, "one each to see that the two are finished"
    assert [node.solution for node in tree.finished()] == ["a", "bc"]
    assert tree.to_complete() is None


def test_what_is_written_twice_is_one_child_and_an_empty_step_is_none():
    tree = Tree(RULE)
    new = tree.expand(tree.select(), [Step("a"), Step(" \n"), Step("a"), Step("", ENDS), Step("", FAILED, None, "why")])
    assert [(node.step.text, node.times, node.finished) for node in new] == [("a", 2, False), ("", 1, True)]
    nothing = Tree(RULE)
    node = nothing.select()
    assert nothing.expand(node, [Step(""), Step("", FAILED, None, "the server is gone")]) == []
    nothing.settle(node)
    assert node.closed == "the server is gone"
    assert nothing.select() is None
    assert nothing.to_complete() is None


def test_a_step_without_end_and_a_solution_without_end_are_closed_with_the_reason():
    tree = Tree(SearchRule(branch=2, max_steps=2))
    endless, deep = grown(tree, tree.select(), ("x" * 9, 0.9, CUT), ("a", 0.1))
    assert endless.closed == "its last step came to no end"
    assert tree.to_roll([endless, deep]) is None
    tree.settle(endless)
    (deeper,) = grown(tree, deep, ("b", 0.3))
    assert deeper.closed == "no end after 2 steps"
    tree.settle(deeper)
    assert tree.select() is None, "a closed node ends no search, however valuable"
    assert tree.reached is None
    assert tree.to_complete() is None


def test_a_completion_counts_as_a_solution_and_not_as_a_visit():
    tree = Tree(SearchRule(rounds=1))
    (only,) = grown(tree, tree.select(), ("a", 0.1))
    tree.settle(only)
    end = tree.roll(only, Step("b", ENDS), COMPLETED)
    assert (tree.finished(), only.visits, tree.root.visits) == ([end], 1, 1)
    assert tree.roll(only, Step("", FAILED)) is None


def test_the_answer_is_the_best_leaf_or_the_one_with_the_largest_sum():
    values, answers = [0.9, 0.5, 0.6, 0.4], ["7", "8", "8", None]
    assert by_summed_value(values, answers) == 2, "0.5 + 0.6 against 0.9, and the better of the two stands for them"
    assert by_summed_value([0.1], [None]) is None
    tree = Tree(RULE)
    nodes = grown(tree, tree.select(), ("a", 0.5, ENDS), ("b", 0.7, ENDS), ("c", 0.7, ENDS))
    assert best_of(nodes) is nodes[1], "the first of equals"
    assert best_of([]) is None


def test_a_right_way_of_three_steps_is_worth_thirds():
    assert process_values([None, 0, 1, 2], {3: True}) == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0})


def test_a_step_off_the_way_costs_what_another_would_have_gained():
    #      0 - 1 - 2 - 3 right          4: wrong, after step 1; 5 below it; 6: wrong from the start
    values = process_values([None, 0, 1, 2, 1, 4, 0], {3: True, 5: False, 6: False})
    one = 1 / 3
    four = one + (1 - one) / (2 + 1) * -1  # two steps were still needed where the way was left, and still are
    five = max(0.0, four + (1 - four) / (2 + 1) * -1)
    assert values == pytest.approx({1: one, 2: 2 / 3, 3: 1.0, 4: four, 5: five, 6: 0.0})


def test_the_nearest_right_solution_counts_and_what_led_nowhere_is_left_out():
    # 0 - 1 - 2 right, 1 - 3 - 4 right, 5 below 1 was never finished
    values = process_values([None, 0, 1, 1, 3, 1], {2: True, 4: True})
    assert values == pytest.approx({1: 0.5, 2: 1.0, 3: 0.5 + 0.5 / 2, 4: 1.0})
    assert process_values([None, 0, 1], {2: False}) == {1: 0.0, 2: 0.0}
    assert process_values([None, 0], {}) == {}


def test_values_of_random_trees_follow_the_formula():
    draw = random.Random(7)
    seen_positive_off_the_way = 0
    for _ in range(300):
        parents: list[int | None] = [None] + [draw.randrange(place) for place in range(1, draw.randint(2, 40))]
        leaves = set(range(len(parents))) - {one for one in parents if one is not None}
        right = {leaf: draw.random() < 0.3 for leaf in leaves if leaf and draw.random() < 0.8}
        values = process_values(parents, right)

        def children(place, parents=parents):
            return [one for one, above in enumerate(parents) if above == place]

        def steps_needed(place, right=right, children=children):
            """The fewest steps from a place down to a right solution, by looking at all of them."""
            if right.get(place):
                return 0
            return min((1 + steps_needed(child) for child in children(place)), default=inf)

        def led(place, right=right, children=children):
            return place in right or any(led(child) for child in children(place))

        assert set(values) == {place for place in range(1, len(parents)) if led(place)}
        for place, value in values.items():
            above = parents[place]
            before = values.get(above, 0.0)
            needed, wrong = steps_needed(place), 0
            while needed == inf and above is not None:
                needed, wrong, above = steps_needed(above), 1, parents[above]
            weight = (1 - before) / ((0 if needed == inf else needed) + 1) * (1 - 2 * wrong)
            if needed == inf:
                weight = -1
            assert value == pytest.approx(max(before + weight, 0.0))
            assert 0 <= value <= 1
            seen_positive_off_the_way += bool(wrong and value)
            if right.get(place):
                assert value == pytest.approx(1.0)
    assert seen_positive_off_the_way > 50
