"""Contamination and near-duplicates, on training sets and evaluations made for it."""

import duckdb
import pytest
from small_loop import Story

from storage.contamination import contamination, near_duplicates
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.query import snapshot_cursor
from storage.records import Evaluation, EvaluationItem, Example, ExampleEvidence, Mix, MixMember, Problem

LONG = (
    "A farmer has seventeen sheep and all but nine of them run away over the hill on a windy day; "
    "how many sheep does the farmer have left when the sun goes down"
)
SHORT = "What is the capital of France?"
TINY = "1+2="
QUESTIONS = {"long": LONG, "short": SHORT, "tiny": TINY}
MIX, EVALUATION = digest("contaminated mix"), digest("contaminated evaluation")


def asked(home: Home, ledger: Ledger, *texts: tuple[str, str], questions: dict[str, str] = QUESTIONS) -> Lineage:
    """A training set of these (prompt, completion) pairs, each from a problem of its own, and an evaluation of the questions."""
    story = Story(home, ledger, run_id=ledger.start_run("one", "star", None, {}))
    examples = [Example.of(prompt, completion) for prompt, completion in texts]
    trained = [Problem.of("elsewhere", "train", f"problem {place}", "?") for place in range(len(texts))]
    held_out = [Problem.of("bench", "test", question, "?") for question in questions.values()]
    story.step(
        1, "mix", problems=(*trained, *held_out), examples=tuple(examples),
        evidence=tuple(ExampleEvidence(x.example_id, p.problem_id, "original") for x, p in zip(examples, trained, strict=True)),
        members=tuple(MixMember(MIX, place, x.example_id, "original") for place, x in enumerate(examples)),
        mix=(Mix(MIX, len(examples), len(examples), 0),),
        evaluation=(Evaluation(EVALUATION, MIX, "bench", "test", "scripted", "{}", "sums", MIX, 3, 0, 3, None, None, None),),
        items=tuple(EvaluationItem(EVALUATION, p.problem_id, digest("attempt", p.question), MIX) for p in held_out),
    )  # fmt: skip
    story.commit()
    ledger.publish(force=True)
    return Lineage.open(home)


def kinds(lineage: Lineage) -> list[tuple[str, str]]:
    """(prompt, kind) of every contaminated example."""
    prompt = dict(lineage.rows("select example_id, prompt from example", []))
    return sorted((prompt[one.example_id], one.kind) for one in contamination(lineage, MIX, EVALUATION))


def test_the_question_itself_is_found_whatever_its_length(home, ledger):
    with asked(home, ledger, (LONG, "nine"), (SHORT, "Paris"), (TINY, "3"), ("2+2=", "4")) as lineage:
        assert kinds(lineage) == sorted([(LONG, "exact"), (SHORT, "exact"), (TINY, "exact")])


def test_case_wrapping_spaces_and_punctuation_hide_nothing(home, ledger):
    wrapped = LONG.upper().replace(" RUN", "\n   RUN").replace(";", " --")
    with asked(
        home, ledger, (wrapped, "9"), ("what is the CAPITAL\nof “France”", "Paris"), ("1 + 2 =", "3")
    ) as lineage:
        assert [kind for _, kind in kinds(lineage)] == ["normalised"] * 3


def test_thirteen_words_in_a_row_anywhere_are_enough_and_twelve_are_not(home, ledger):
    words = LONG.split()
    inside = "Note this: " + " ".join(words[5:18]) + ", or so it goes."
    less = "Note this: " + " ".join(words[5:17]) + " ... or so it goes."
    with asked(home, ledger, ("first", inside), ("second", less)) as lineage:
        (found,) = contamination(lineage, MIX, EVALUATION)
        assert (found.kind, found.shared) == ("ngram", 1)
        assert kinds(lineage) == [("first", "ngram")]


def test_a_short_question_is_found_whole_inside_a_text_and_a_tiny_one_is_not(home, ledger):
    with asked(
        home, ledger, ("a quiz", "Q: what is the\ncapital of France? A: Paris"), ("another", "What is the capital of Peru?"),
        ("steps", "first 1+2=3, then"),
    ) as lineage:  # fmt: skip
        assert kinds(lineage) == [("a quiz", "ngram")]


def test_signs_of_arithmetic_tell_problems_apart(home, ledger):
    with asked(home, ledger, ("1-2=", "-1"), ("1*2=", "2"), ("1/2=", "0.5")) as lineage:
        assert kinds(lineage) == []


def test_an_example_made_from_an_evaluated_problem_is_found_through_its_evidence(home, ledger):
    lineage = asked(home, ledger, ("Q: how many? A:", "nine"))
    lineage.close()
    example = Example.of("Q: how many? A:", "nine")
    asked_for = Problem.of("bench", "test", SHORT, "?")
    story = Story(home, ledger, run_id=ledger.start_run("two", "star", None, {}))
    story.step(1, "evidence", evidence=(ExampleEvidence(example.example_id, asked_for.problem_id, "original"),))
    story.commit()
    ledger.publish(force=True)
    with Lineage.open(home) as again:
        assert kinds(again) == [("Q: how many? A:", "exact")]


def test_an_id_that_names_nothing_is_a_mistake(home, ledger):
    with asked(home, ledger, ("2+2=", "4")) as lineage, pytest.raises(UserMistake, match="no evaluation"):
        contamination(lineage, MIX, digest("nothing"))


def test_near_duplicates_are_equal_words_or_mostly_shared_runs(home, ledger):
    other = LONG.replace("windy", "rainy").replace("farmer has", "shepherd has")
    with asked(
        home, ledger, (LONG, "9"), (LONG.upper() + "!", "9"), (other, "9"), ("a thing of its own", "1")
    ) as lineage:
        found = near_duplicates(lineage, MIX, threshold=0.4)
        prompts = dict(lineage.rows("select example_id, prompt from example", []))
        assert near_duplicates(lineage, MIX, threshold=1.0)[0].kind == "same words"
    pairs = {(frozenset((prompts[one.example_id], prompts[one.other_id])), one.kind) for one in found}
    assert (frozenset((LONG, LONG.upper() + "!")), "same words") in pairs
    assert [kind for both, kind in pairs if other in both] == ["overlap"]
    assert all("a thing of its own" not in both for both, _ in pairs)
    overlap = next(one for one in found if one.kind == "overlap")
    assert 0.4 <= overlap.jaccard < overlap.containment < 1


def test_the_macros_answer_where_sql_of_people_is_asked_and_in_a_client_of_their_own(home, ledger):
    query = f"select kind from contamination('{MIX}', '{EVALUATION}')"
    with asked(home, ledger, (LONG, "nine")) as lineage:
        assert lineage.query(query).rows == [("exact",)]
    assert snapshot_cursor(home).execute(query).fetchall() == [("exact",)]
    with duckdb.connect(str(home.lineage_db), read_only=True) as own:
        assert own.execute(query).fetchall() == [("exact",)]
