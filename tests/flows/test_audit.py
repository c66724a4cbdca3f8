"""`starloop audit-verifier` and `starloop label`: a verifier measured on tables, and on what a person says of a home's own attempts."""

import io
import json
import sys

import pytest

from flows.audit import audit
from flows.cases import Case, cases_of
from flows.cli.main import call
from flows.labels import HUMAN, Label, keep, labels, sample, sitting
from storage.errors import UserMistake
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from tasks.judgements import Means
from tasks.verifier_pool import VerifierPool
from tests.storage.small_loop import tell


@pytest.fixture
def home(tmp_path):
    home = Home.open(tmp_path / "home")
    ledger = Ledger(home)
    tell(home, ledger)
    ledger.publish(force=True)
    ledger.close()
    return home


CASES = [
    {"gold": "18", "text": "18", "passed": True, "why": "equal"},
    {"gold": "18", "text": "18.", "passed": True, "why": "a person would pass it", "source": "nowhere (CC0)"},
    {"gold": "18", "text": "19", "passed": False, "why": "another"},
    {"gold": "18", "text": " 18", "passed": False, "why": "a label that is wrong on purpose"},
    {"gold": None, "text": "18", "passed": None, "why": "nothing to compare with"},
]


def test_an_audit_counts_each_kind_of_error_among_its_own(tmp_path):
    table = tmp_path / "cases.json"
    table.write_text(json.dumps(CASES))
    found = audit("exact", cases_of(table), Means(VerifierPool(tmp_path)), seconds=0.05)
    assert (found.false_accepts.count, found.false_accepts.of) == (1, 2)
    assert (found.false_rejects.count, found.false_rejects.of) == (1, 2)
    assert (found.decided_anyway.count, found.decided_anyway.of) == (0, 1)
    assert (found.wrong_among_passed.count, found.wrong_among_passed.of) == (1, 2)
    assert (found.right_among_failed.count, found.right_among_failed.of) == (1, 2)
    assert found.false_accepts.interval.low < 0.5 < found.false_accepts.interval.high
    assert found.per_second > 100
    assert [one.case.why for one in found.disagreements] == [
        "a person would pass it",
        "a label that is wrong on purpose",
    ]


def test_the_command_says_it_as_a_table_and_as_json(tmp_path, capsys):
    table = tmp_path / "cases.json"
    table.write_text(json.dumps(CASES))
    assert call(["audit-verifier", "exact", "--cases", str(table)]) == 0
    said = capsys.readouterr().out
    assert "1 of 2" in said
    assert "a person would pass it" in " ".join(said.split())
    assert call(["audit-verifier", "exact", "--cases", str(table), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["independent"] == 1
    assert document["audits"][0]["false_accepts"]["count"] == 1


def test_model_text_in_a_table_is_shown_and_not_obeyed(tmp_path, capsys):
    table = tmp_path / "cases.json"
    table.write_text(json.dumps([{"gold": "x", "text": "\x1b[2J[red]\n", "passed": True, "why": "\x1b]0;t\x07"}]))
    assert call(["audit-verifier", "exact", "--cases", str(table)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[2J[red]" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "cannot be read as a table of cases"),
        ("[]", "holds no cases"),
        ('["x"]', "case 1 is a str"),
        ('[{"text": "x", "passed": true}, {"text": "x"}]', "case 2 needs a text, and passed"),
        ('[{"text": "x", "passed": "yes"}]', "case 1 needs a text, and passed"),
        ('[{"text": "x", "passed": true, "answer": 1}]', "has a field 'answer'"),
        ('[{"text": "x", "passed": true, "gold": 18}]', "gold is a int"),
    ],
)
def test_a_table_that_is_none_is_a_mistake_with_its_case(tmp_path, text, says, capsys):
    table = tmp_path / "cases.json"
    table.write_text(text)
    assert call(["audit-verifier", "exact", "--cases", str(table)]) == 2
    assert says in capsys.readouterr().err


def test_a_verifier_without_a_table_says_which_have_one(capsys):
    assert call(["audit-verifier", "maths"]) == 2
    assert "no verifier 'maths'" in capsys.readouterr().err
    assert call(["audit-verifier", "tests.verifiers.misbehaving:verify"]) == 2
    assert "--cases" in capsys.readouterr().err


def test_a_sample_is_even_over_outcomes_and_leaves_out_what_is_labelled(home):
    drawn = sample(home, 3)
    assert {one.passed for one in drawn} == {True, False, None}
    everything = sample(home, 1000)
    assert len({one.attempt_id for one in everything}) == len(everything) > 3
    assert sample(home, 1000, seed=1) != everything
    assert sample(home, 1000) == everything
    run = sitting()
    keep(home, [Label(drawn[0].attempt_id, True)], run, 0)
    left = {one.attempt_id for one in sample(home, 1000)}
    assert left == {one.attempt_id for one in everything} - {drawn[0].attempt_id}


def test_the_last_label_of_an_attempt_counts_and_runs_do_not_change(home):
    def acted_on():
        with Lineage.open(home, fresh=True) as lineage:
            return lineage.rows(
                "select run_id, iteration, attempt_id, passed, verifier from v_attempt order by all", []
            )

    before = acted_on()
    (one,) = sample(home, 1)
    keep(home, [Label(one.attempt_id, True)], sitting(), 0)
    keep(home, [Label(one.attempt_id, False, "on second thought")], sitting(), 0)
    (case,) = labels(home)
    assert (case.passed, case.why, case.said) == (False, "on second thought", one.text)
    assert acted_on() == before
    ledger = Ledger(home)
    assert [fault for fault in ledger.verify() if "checkpoint" not in fault] == []
    ledger.rebuild()
    ledger.close()
    assert labels(home) == [case]


def answering(monkeypatch, lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))


def test_a_person_labels_in_the_terminal_and_the_audit_uses_it(home, monkeypatch, capsys):
    answering(monkeypatch, "p\nx\nfail it is not\nu\nq\n")
    assert call(["label", "--count", "5", "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert "3 labels kept" in said
    assert "passed" not in said, "what the verifier said is not shown"
    found = labels(home)
    assert sorted(str(case.passed) for case in found) == ["False", "None", "True"]
    assert [case.why for case in found if case.passed is False] == ["it is not"]
    with Lineage.open(home, fresh=True) as lineage:
        assert lineage.rows("select count(*) from verdict where verifier = ?", [HUMAN]) == [(3,)]
    assert call(["audit-verifier", "exact", "--home", str(home.root)]) == 0
    assert "3 cases of the labels in" in " ".join(capsys.readouterr().out.split())


def test_an_end_of_input_keeps_what_was_said(home, monkeypatch, capsys):
    answering(monkeypatch, "p\ns\n")
    assert call(["label", "--home", str(home.root)]) == 0
    assert "1 labels kept" in capsys.readouterr().out
    assert len(labels(home)) == 1


def test_nothing_to_label_is_a_mistake_that_says_what_there_is(home, tmp_path, capsys):
    with pytest.raises(UserMistake, match="there are verdicts by: sums"):
        sample(home, 1, verifier="exact")
    assert call(["audit-verifier", "exact", "--home", str(home.root)]) == 2
    assert "nobody has labelled anything" in capsys.readouterr().err


def test_a_case_stands_for_its_text():
    assert Case("18", "b", True, repeat=("a", 3)).text() == "aaab"
