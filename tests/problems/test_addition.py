from collections import Counter, defaultdict

import pytest

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.addition import PairsOfLength
from tasks.problems.permutation import Permutation
from tasks.problems.registry import load
from tasks.problems.scratchpad import work
from tasks.prompts.render import shown_with


def pair(problem: Problem) -> frozenset[str]:
    return frozenset(problem.question.split("+"))


def test_a_sum_is_never_in_two_splits_whichever_way_round():
    problems = load("addition:1-5")
    test, dev = ({pair(problem) for problem in problems.take(split, 0, 10_000)} for split in ("test", "dev"))
    train = {pair(problem) for problem in problems.take("train", 0, 30_000)}
    corpus = {pair(problem) for problem in problems.corpus(0, 20_000)}
    assert not test & dev
    assert not (test | dev) & (train | corpus)


def test_the_three_splits_of_one_digit_are_all_55_pairs():
    pairs = PairsOfLength(1)
    train = {frozenset(pairs.train(turn)) for turn in range(25)}
    held_out = [{frozenset(one) for one in pairs.held_out(split)} for split in ("test", "dev")]
    assert [len(train), *map(len, held_out)] == [25, 20, 10]
    assert len(train.union(*held_out)) == 55


def test_a_shorter_range_holds_out_the_same_sums():
    def sums(ref: str) -> set[str]:
        return {problem.question for problem in load(ref).take("test", 0, 10_000) if problem.stratum == "2 digits"}

    assert sums("addition:1-5") == sums("addition:2") == sums("addition:1-3")


def test_train_repeats_only_what_is_exhausted():
    problems = load("addition:1-5")
    by_length: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems.take("train", 0, 25_000):
        by_length[problem.stratum].append(problem)
    assert {len(rows) for rows in by_length.values()} == {5_000}
    for stratum, rows in by_length.items():
        repeated = [question for question, times in Counter(problem.question for problem in rows).items() if times > 1]
        doubles = [question for question in repeated if len(set(question.split("+"))) == 1]
        # Of two digits, 5,000 is more than the pairs but less than their orders: only 11 + 11 and its like come again.
        assert stratum == "1 digit" or repeated == doubles
        assert not repeated or stratum in ("1 digit", "2 digits")


def test_both_orders_of_a_pair_come_in_turn():
    pairs = PairsOfLength(1)
    first, second = ([pairs.train(lap * 25 + place) for place in range(25)] for lap in (0, 1))
    assert {frozenset(one) for one in first} == {frozenset(one) for one in second}
    assert first == [pair[::-1] for pair in second]


def test_any_part_of_a_stream_is_the_same_as_in_the_whole():
    problems = load("addition:1-5")
    assert problems.take("train", 137, 60) == problems.take("train", 0, 300)[137:197]
    assert problems.corpus(137, 60) == problems.corpus(0, 300)[137:197]
    assert load("addition").take("test", 5, 7) == problems.take("test", 0, 100)[5:12]


def test_lengths_count_equally_on_the_held_out_splits():
    problems = load("addition:1-5")
    for split in ("dev", "test"):
        size = problems.size(split)
        assert size is not None
        rows = problems.take(split, 0, size + 1)
        assert len(rows) == size
        weight = Counter[str]()
        for problem in rows:
            weight[problem.stratum] += problem.weight  # type: ignore[assignment]
        assert list(weight.values()) == pytest.approx([size / 5] * 5)
    assert problems.size("test") >= 500
    assert problems.size("train") is None


def test_golds_are_the_sums():
    for problem in load("addition:1-5").take("train", 0, 500):
        first, second = problem.question.split("+")
        assert int(problem.gold or "") == int(first) + int(second)
        assert work(problem.question).endswith(f"A{problem.gold}")


def test_a_scratchpad_reads_as_it_should():
    assert work("00628+00579") == "890727106512001100000A001207"
    assert work("99999+00001") == "9100" + "9010" * 4 + "1A100000"


def test_writers_slip_only_at_two_large_digits_and_write_on_from_there():
    slips = carries = 0
    for problem in load("addition:1-5").corpus(0, 4_000):
        right, written = work(problem.question), problem.rationale or ""
        first, second = (part[::-1] for part in problem.question.split("+"))
        carry_in = [int(written[4 * column + 2]) for column in range(5)] + [int(written[20])]
        for column in range(5):
            x, y = int(first[column]), int(second[column])
            assert written[4 * column + 3] == str((x + y + carry_in[column]) % 10)
            arises = x + y + carry_in[column] >= 10
            assert carry_in[column + 1] <= arises
            if arises:
                carries += x >= 5 and y >= 5
                slips += not carry_in[column + 1]
                assert carry_in[column + 1] or (x >= 5 and y >= 5)
        assert len(right) == len(written) == 28
    assert 0.6 < slips / carries < 0.76


def test_a_hint_in_the_corpus_is_its_writers_own_answer():
    documents = load("addition:1-5").corpus(0, 4_000)
    hinted = [problem for problem in documents if problem.info != "{}"]
    assert 0.27 < len(hinted) / len(documents) < 0.33
    for problem in hinted:
        assert problem.info == f'{{"hint":"{(problem.rationale or "").partition("A")[2]}"}}'
    wrong = sum((problem.gold or "") not in problem.info for problem in hinted)
    assert wrong > 0.3 * len(hinted)
    shares = Counter(problem.stratum for problem in documents)
    assert [shares[stratum] / 4_000 for stratum in sorted(shares)] == [0.1, 0.1, 0.15, 0.25, 0.4]


def test_a_refinement_in_the_corpus_is_of_others_who_slip_as_its_writer_does():
    documents = load("addition:1-5,refine=4").corpus(0, 4_000)
    shown = [(one, shown_with(one)) for one in documents if shown_with(one)]
    assert 0.27 < len(shown) / len(documents) < 0.33
    assert {len(candidates) for _, candidates in shown} == {4}
    hard = [(one, candidates) for one, candidates in shown if one.stratum == "5 digits"]
    right = [sum(text.endswith(f"A{one.gold}") for text in candidates) / 4 for one, candidates in hard]
    own = [(one.rationale or "").endswith(f"A{one.gold}") for one, _ in hard]
    assert sum(right) / len(right) == pytest.approx(sum(own) / len(own), abs=0.05)
    assert any(one.rationale not in candidates for one, candidates in hard)


def test_refinements_take_their_place_from_direct_documents_alone():
    plain, refining = (load(ref).corpus(0, 1_000) for ref in ("addition:1-5", "addition:1-5,refine=2"))
    for one, other in zip(plain, refining, strict=True):
        assert (one.question, one.rationale) == (other.question, other.rationale)
        assert one.info == other.info or (one.info == "{}" and len(shown_with(other)) == 2)


@pytest.mark.parametrize("option", ["refine", "refine=", "refine=two", "candidates=4"])
def test_an_option_that_is_not_there_is_a_mistake(option: str):
    with pytest.raises(UserMistake, match="it has: refine=<candidates>"):
        load(f"addition:1-5,{option}")
    with pytest.raises(UserMistake, match="2 to 16 candidates"):
        load("addition:1-5,refine=1")


def test_only_the_corpus_carries_worked_solutions():
    problems = load("addition:1-5")
    assert all(
        problem.rationale is None for split in ("train", "dev", "test") for problem in problems.take(split, 0, 50)
    )


@pytest.mark.parametrize("size", [1, 2, 55, 1000, 4097])
def test_a_permutation_takes_every_place_once(size: int):
    shuffle = Permutation(size, "test")
    assert sorted(shuffle[place] for place in range(size)) == list(range(size))
    assert Permutation(size, "test")[size - 1] == shuffle[size - 1]
    with pytest.raises(IndexError):
        shuffle[size]


@pytest.mark.parametrize("ref", ["addition:5-1", "addition:0-3", "addition:1-99", "addition:few", "addition:1-"])
def test_a_range_that_does_not_fit_is_a_mistake(ref: str):
    with pytest.raises(UserMistake, match="range of digits"):
        load(ref)


def test_an_unknown_set_or_split_names_the_valid_ones():
    with pytest.raises(
        UserMistake, match="'additon'; this checkout has: addition, arc, commonsense_qa, constrained, gsm8k"
    ):
        load("additon:1-5")
    with pytest.raises(UserMistake, match="train, dev, test"):
        load("addition").take("valid", 0, 1)
    with pytest.raises(UserMistake, match="cannot be imported"):
        load("no.such.module:load")
