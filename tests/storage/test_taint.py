"""Verdicts that no longer hold, on the small loop with another version of its verifier beside the first."""

import pytest
from small_loop import Story, tell

from storage.errors import UserMistake
from storage.identity import digest
from storage.judged import Version, judged_cells, versions
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.manifest import Accounting
from storage.records import Verdict
from storage.taint import consequences, flips

STRICTER = digest("a stricter verifier")
REFACTORED = digest("the same, tidied up")


def judge_again(story: Story, code: str, changed: dict[str, bool | None], aspect: str = "") -> str:
    """A run that judges every attempt of the loop as before, but for those in `changed` (attempt id to outcome)."""
    ledger = story.ledger
    with ledger.writer() as connection:
        known = connection.execute("select attempt_id, passed, answer from verdict where verifier_digest <> ?", [code])
        rows = {attempt.hex: (passed, answer) for attempt, passed, answer in known.fetchall()}
    verdicts = tuple(
        Verdict.of(attempt, "sums", code, changed.get(attempt, passed), answer=answer, reason="looked at again")
        for attempt, (passed, answer) in sorted(rows.items())
    )
    again = Story(story.home, ledger, run_id=ledger.start_run(code, "reverify", None, {}, run_id=digest("again", code)))
    again.step(0, "verify", Accounting(len(verdicts), len(verdicts)), verdicts=verdicts)
    again.commit()
    ledger.finish_run(again.run_id, "completed", {})
    return again.run_id


@pytest.fixture
def story(home, ledger: Ledger) -> Story:
    return tell(home, ledger)


def opened(story: Story) -> Lineage:
    story.ledger.publish(force=True)
    return Lineage.open(story.home)


def test_a_flip_reaches_its_example_mix_checkpoint_and_what_was_made_from_that(story: Story):
    right = story.ids["right 1"]
    run_id = judge_again(story, STRICTER, {right: False})
    with opened(story) as lineage:
        (flip,) = flips(lineage, run_id)
        stood = consequences(lineage, run_id)
    assert (flip.attempt_id, flip.was, flip.now, flip.text, flip.now_reason) == (
        right,
        True,
        False,
        "2",
        "looked at again",
    )
    assert flip.was_version.startswith("sums@")
    assert flip.now_version == f"sums@{STRICTER[:8]}"
    assert {(one.example_id, one.mix_id, one.checkpoint_id) for one in stood.examples} == {
        (story.ids["direct"], story.ids["model 1 mix"], story.ids["model 1"])
    }
    (mix,) = stood.mixes
    assert (mix.examples, mix.unsupported, mix.rows) == (1, 1, 3)
    (checkpoint,) = stood.checkpoints
    assert (checkpoint.checkpoint_id, checkpoint.descendants) == (story.ids["model 1"], 1)


def test_a_refactored_verifier_taints_nothing(story: Story):
    run_id = judge_again(story, REFACTORED, {})
    with opened(story) as lineage:
        assert flips(lineage, run_id) == []
        assert consequences(lineage, run_id).examples == []
        assert len(versions(lineage)) == 2
        assert lineage.query("select count(*) from v_overturned").rows == [(0,)]


def test_an_undecided_verdict_no_longer_supports_an_example(story: Story):
    run_id = judge_again(story, STRICTER, {story.ids["repaired 1"]: None})
    with opened(story) as lineage:
        (flip,) = flips(lineage, run_id)
        (tainted,) = consequences(lineage, run_id).examples
    assert (flip.was, flip.now) == (True, None)
    assert (tainted.example_id, tainted.origin, tainted.now) == (story.ids["mended"], "rationalized", None)


def test_the_version_that_judged_last_decides_and_an_earlier_one_can_come_back(story: Story):
    right = story.ids["right 1"]
    judge_again(story, STRICTER, {right: False})
    run_id = judge_again(story, REFACTORED, {right: True})
    with opened(story) as lineage:
        assert consequences(lineage, run_id).examples == []
        assert [flip.was_version for flip in flips(lineage, run_id)] == [f"sums@{STRICTER[:8]}"]
    story.ledger.start_run(STRICTER, "reverify", None, {}, run_id=digest("again", STRICTER))
    with opened(story) as lineage:
        assert versions(lineage)[0] == f"sums@{STRICTER[:8]}"
        assert [one.attempt_id for one in consequences(lineage, run_id).examples] == [right]


def test_other_evidence_for_the_same_example_is_counted(story: Story):
    """The second iteration's mix holds the evidence of the second iteration alone, so the first's attempt taints one mix."""
    run_id = judge_again(story, STRICTER, {story.ids["right 1"]: False, story.ids["right 2"]: False})
    with opened(story) as lineage:
        stood = consequences(lineage, run_id)
    assert {(one.mix_id, one.other_evidence) for one in stood.examples} == {
        (story.ids["model 1 mix"], 0),
        (story.ids["model 2 mix"], 0),
    }


def test_evaluated_items_and_promotions_are_tainted_too(story: Story):
    scored = story.ids["evaluation 1"]
    with story.ledger.writer() as connection:
        query = (
            "select attempt_id from evaluation_item join verdict using (attempt_id) where evaluation_id = ? and passed"
        )
        (answered,) = connection.execute(query, [scored]).fetchone() or (None,)
    assert answered is not None
    story.ledger.record("promoted", {"run_id": story.run_id, "checkpoint_id": story.ids["model 1"]})
    run_id = judge_again(story, STRICTER, {answered.hex: False})
    with opened(story) as lineage:
        stood = consequences(lineage, run_id)
    (evaluation,) = stood.evaluations
    assert (evaluation.evaluation_id, evaluation.items, evaluation.gained, evaluation.lost) == (scored, 1, 0, 1)
    assert [one.checkpoint_id for one in stood.promotions] == [story.ids["model 1"]]
    assert stood.examples == []


def test_a_version_selects_stored_verdicts(story: Story):
    right = story.ids["right 1"]
    judge_again(story, STRICTER, {right: False})
    with opened(story) as lineage:
        said = lineage.query(
            f"select passed, newest from v_verdict_history where version = 'sums@{STRICTER[:8]}' and attempt_id = '{right}'"
        ).rows
        counts = lineage.query(
            "select version, passed, failed, undecided, newest from v_verifier_version order by last_seq"
        ).rows
    assert said == [(False, True)]
    assert [row[1:] for row in counts] == [(6, 2, 6, False), (5, 3, 6, True)]


@pytest.mark.parametrize("text", ["", "@3f2a", "sums@", "sums@today"])
def test_a_ref_that_names_no_version_is_a_mistake(text: str):
    with pytest.raises(UserMistake, match="names no verifier"):
        Version.parse(text)


def test_only_cells_of_the_verify_task_can_be_judged_again(story: Story):
    with opened(story) as lineage:
        assert judged_cells(lineage) == []
