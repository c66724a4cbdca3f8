"""Adaptive sampling: the heap by hand, and the problems that iterations get from it."""

from storage.records import Problem
from tasks.choose import Heap, Record, Visited, choose
from tests.options.conftest import rows


def places(taken):
    return [place for _, _, place in taken]


def test_problems_come_in_order_until_all_were_visited_then_the_oldest_with_the_lowest_win_rate():
    heap = Heap(4)
    first = heap.take(2)
    assert places(first) == [0, 1]
    heap.visit(1, first, {0: Record(4, 4), 1: Record(4, 4)})  # all right: both count as visited
    second = heap.take(2)
    assert places(second) == [2, 3]
    heap.visit(2, second, {2: Record(4, 4), 3: Record(4, 4)})
    assert places(heap.take(4)) == [0, 1, 2, 3]


def test_of_those_visited_at_the_same_time_the_harder_one_comes_first():
    heap = Heap(4)
    heap.visit(1, heap.take(4), {0: Record(99, 99), 1: Record(1, 4), 2: Record(97, 97), 3: Record(0, 0)})
    # 197 of 200 right: floor(4 · 0.97) = 3 of the four count as visited, the last one stays as it was
    assert heap.take(4) == [(0, 0.0, 3), (1, 0.25, 1), (1, 1.0, 0), (1, 1.0, 2)]


def test_a_weak_model_sees_most_of_its_problems_again():
    heap = Heap(10)
    taken = heap.take(8)
    heap.visit(1, taken, {place: Record(1, 2) for place in range(8)})  # half right: floor(8 · 0.25) = 2
    assert places(heap.take(8)) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_nothing_right_changes_nothing():
    heap = Heap(3)
    heap.visit(1, heap.take(2), {0: Record(0, 4), 1: Record(0, 4)})
    assert heap.take(3) == [(0, 0.0, 0), (0, 0.0, 1), (0, 0.0, 2)]
    heap = Heap(3)
    heap.visit(1, heap.take(2), {})
    assert len(heap.take(3)) == 3


def visited(iteration, judged, outcome="digest"):
    return Visited(iteration, judged.problems, judged.attempts, judged.verdicts, outcome)


def chosen(runtime, pool, history, count=2):
    output = choose.function(pool, tuple(history), count, 1, runtime)
    return [one.question for one in rows(runtime, output, "problems", Problem)], output


def test_an_iteration_takes_what_the_verdicts_of_earlier_ones_leave_on_top(runtime, problems, answer):
    questions, output = chosen(runtime, problems, [])
    assert questions == ["1+1", "2+2"]
    assert output.facts == {"fresh": 2, "win_rate": None, "oldest": 0}
    assert len(output.manifests["problems"].shards) == 2
    first = answer(output.manifests["problems"], {"1+1": "2", "2+2": "4"}, samples=2)
    questions, output = chosen(runtime, problems, [visited(1, first)])
    assert questions == ["3+3", "4+4"]
    second = answer(output.manifests["problems"], {"3+3": "6", "*": "wrong"}, samples=2)
    # half of the attempts were right: floor(2 · 0.25) = 0 count as visited, so both come again before the fifth
    questions, output = chosen(runtime, problems, [visited(1, first), visited(2, second)], count=4)
    assert questions == ["3+3", "4+4", "5+5", "1+1"]
    assert output.facts == {"fresh": 3, "win_rate": 1.0, "oldest": 0}


def test_who_judged_is_not_in_the_key_and_what_came_out_is(runtime, problems, answer):
    judged = answer(problems, {"1+1": "2", "*": "wrong"})
    other = answer(problems, {"1+1": "2", "*": "wrong"})

    def key(one):
        return choose.key({"pool": problems, "history": (one,), "count": 2, "cell_rows": 1})

    first = visited(1, judged)
    assert key(first) == key(Visited(1, judged.problems, judged.attempts, other.verdicts, "digest"))
    assert key(first) != key(visited(1, judged, "another"))
