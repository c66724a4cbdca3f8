"""The report of a run: what it says, that it says it whatever is missing, and that no text in it can do anything."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from small_loop import VERIFIER, Story, attempt, problem, verdict

from flows.cli.report import latest, report
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.manifest import Accounting
from storage.records import Evaluation, EvaluationItem, Verdict
from storage.report import render_report, write_report
from storage.report.commands import queries
from storage.report.headline import best_of
from storage.report.page import flat
from storage.report.svg import duration, element, percent
from storage.report.text import plain, visible

FETCHING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "ping", "formaction"}
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A page as a browser takes it: its tags, its text, and whether every tag is closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[\s\u00a0]+", " ", " ".join(self.words))


def close(ledger: Ledger, run_id: str, iteration: int, accuracy: float | None, **figures: Any) -> None:
    ledger.record("iteration_finished", {
        "run_id": run_id, "iteration": iteration, "held_out_accuracy": accuracy, "ci_low": accuracy and accuracy - 0.04,
        "ci_high": accuracy and accuracy + 0.04, "n": 500, "strata": {"1 digit": accuracy, "10 digits": 0.125, "2 digits": None},
        "checkpoint_id": digest("checkpoint", run_id, iteration), "tokens": 1000, "wall_s": 30.0, **figures,
    })  # fmt: skip


def scored_on_test(ledger: Ledger, story: Story, iteration: int, solved: int) -> dict[str, Any]:
    """An evaluation on test with its first problems solved, as the run's facts name it."""
    of = 8
    problems = [problem(number, "test") for number in range(100, 100 + of)]
    model = digest("model", story.run_id, iteration)
    answers = [attempt(one, "right" if n < solved else "wrong", model)[1] for n, one in enumerate(problems)]
    marks = [verdict(one, n < solved) for n, one in enumerate(answers)]
    scored = digest("evaluation", model)
    facts = {"evaluation_id": scored, "split": "test", "n": of, "accuracy": solved / of, "ci_low": 0.1, "ci_high": 0.9,
             "strata": {"3 digits": solved / of}}  # fmt: skip
    row = Evaluation(
        scored, model, "addition", "test", "scripted", "{}", "sums", VERIFIER, of, solved, 0, solved / of, 0.1, 0.9
    )
    items = tuple(
        EvaluationItem(scored, p.problem_id, a.attempt_id, v.verdict_id)
        for p, a, v in zip(problems, answers, marks, strict=True)
    )
    story.step(
        iteration, "evaluate test", Accounting(of, of), problems=tuple(problems), attempts=tuple(answers), verdicts=tuple(marks),
        evaluation=(row,), items=items,
    )  # fmt: skip
    story.commit()
    return facts


def ended(ledger: Ledger, name: str, solved: int, parent: str | None = None, **config: Any) -> str:
    """A whole run in figures: two of eight test problems solved by the base, `solved` in the end."""
    story = Story(ledger.home, ledger)
    story.run_id = ledger.start_run(
        name, "star", "p", {"iterations": 1, **config}, run_id=digest("run", name), parent_run_id=parent
    )
    base, final = scored_on_test(ledger, story, 0, 2), scored_on_test(ledger, story, 1, solved)
    close(ledger, story.run_id, 0, 0.25)
    close(
        ledger,
        story.run_id,
        1,
        solved / 8,
        train_rows=200,
        rows_by_origin={"sampled": 120, "rationalized": 30, "original": 50},
    )
    facts = {"base_test": base, "final_test": final, "tokens": 12345, "wall_s": 265.0, "why": ""}
    ledger.finish_run(story.run_id, "completed", facts)
    return story.run_id


def test_a_run_is_told_with_its_figures(ledger: Ledger, home: Home):
    run_id = ended(ledger, "demo", solved=8)
    text = Page(render_report(home, run_id)).text
    assert "25.0 % → 100.0 %" in text
    assert "of 8 held-out test problems answered correctly, before and after 1 iteration of self-training." in text
    assert "+75.0 points: 6 of the same problems newly solved, 0 lost, which is more than chance" in text
    assert "4 min 25 s" in text
    assert "12,345" in text
    assert "75 % of the training rows were the model's own in iteration 1." in text
    assert re.search(r"1 digit 25\.0 100 — — 2 digits — — — — 3 digits — — 25\.0 100 10 digits 12\.5 12\.5 — —", text)
    assert f"run_{run_id}" in text
    assert f"starloop run star --preset p --iterations 3 --home {home.root}" in text


def test_the_small_loop_shows_what_became_of_its_attempts(told: Story):
    html = render_report(told.home, told.run_id)
    text = Page(html).text
    assert (
        "2 of 8 attempts reached the gold answer by themselves; of 2 failures tried again with the answer as a hint, 2"
        in text
    )
    assert "4 could not be decided and count as neither." in text
    assert "Rejected: no reason given One of 2 attempts rejected with this reason." in text
    assert "1 · the failure (wrong) 2+2= 5" in text
    assert "2 · the retry, with the hint (right) 2+2=! 4" in text
    assert "3 · what was stored 2+2= 4" in text
    assert f"exm_{told.ids['mended']}" in text
    assert f"ckp_{told.ids['model 2']}" in text
    assert "Not measured in this run: no verifier judged the steps." in text


def test_every_shown_query_is_answered(told: Story, ledger: Ledger):
    with Lineage.open(told.home) as lineage:
        from storage.report.arms import read_arms

        arms = read_arms(lineage, lineage._connection, lineage.run(told.run_id))
        lines = queries(best_of(arms))
        assert len(lines) >= 3
        for line in lines:
            assert '"' not in line.text
            assert lineage.query(line.text).columns
        assert [row[1:] for row in lineage.query(lines[0].text).rows] == [(None, 1), (None, 1)]


def test_wrong_steps_are_counted_direct_and_rationalized_apart(ledger: Ledger, home: Home):
    story = Story(home, ledger)
    story.run_id = ledger.start_run("audited", "star", None, {})
    problems = [problem(number) for number in range(1, 6)]
    made = [attempt(one, one.gold or "", digest("m"), hinted=n > 2) for n, one in enumerate(problems)]
    attempts = tuple(row for _, row in made)
    story.step(1, "problems", Accounting(5, 5), problems=tuple(problems))
    story.step(1, "sample", Accounting(5, 5), prompts=tuple(p for p, _ in made), attempts=attempts)
    story.step(1, "verify", Accounting(5, 5), verdicts=tuple(verdict(one, True) for one in attempts))
    audits = (True, False, None, False, False)
    story.step(1, "audit", Accounting(5, 5), audits=tuple(
        Verdict.of(one.attempt_id, "sum_steps", VERIFIER, passed, aspect="steps", reason=None if passed else "step 2 is off")
        for one, passed in zip(attempts, audits, strict=True)
    ))  # fmt: skip
    story.commit()
    text = Page(render_report(home, story.run_id)).text
    assert "50.0 % of the direct rationales with the right answer have a wrong step 1 of 2 judged" in text
    assert "100.0 % of the rationalized rationales with the right answer have a wrong step 2 of 2 judged" in text
    assert "Right answer, wrong step" in text
    assert "audit step 2 is off" in text


def test_hostile_text_is_shown_as_text_and_cut(ledger: Ledger, home: Home):
    evil = (
        "<script>alert(1)</script>\x1b[31m\u202e\x00</pre><img src=http://evil.example/x onerror=alert(2)>"
        + "y" * 1_000_000
    )
    story = Story(home, ledger)
    story.run_id = ledger.start_run(evil[:200], "star", evil[:150], {"template": evil, "iterations": 1})
    one = problem(7)
    prompt, wrote = attempt(one, evil, digest("m"))
    story.step(1, "problems", problems=(one,))
    story.step(1, "sample", prompts=(prompt,), attempts=(wrote,))
    story.step(
        1,
        "verify",
        Accounting(1, 0, 1),
        verdicts=(Verdict.of(wrote.attempt_id, "v", VERIFIER, False, answer=evil, reason=evil),),
    )
    story.step(1, evil[:180])
    story.commit()
    close(ledger, story.run_id, 0, 0.5, strata={evil: 0.5})
    ledger.finish_run(story.run_id, "failed", {"why": evil})
    html = render_report(home, story.run_id)
    page = Page(html)
    assert not {"script", "img", "iframe", "object", "link", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not set("\x00\x1b\u202e") & set(html)
    assert "<script>alert(1)</script>" in page.text
    assert f" of {len(evil):,} characters are not shown" in page.text
    assert len(html) < 150_000


def test_a_page_fetches_nothing_and_runs_nothing(told: Story):
    html = render_report(told.home, told.run_id)
    page = Page(html)
    assert [value for name, value in page.attributes if name in FETCHING and not value.startswith("#")] == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"@import|url\((?!#)|https?:", html)
    assert "default-src 'none'; style-src 'unsafe-inline'" in [
        value for name, value in page.attributes if name == "content"
    ]


def test_every_chart_and_section_has_a_name_and_every_link_a_target(told: Story):
    page = Page(render_report(told.home, told.run_id))
    ids = {value for name, value in page.attributes if name == "id"}
    assert {value for name, value in page.attributes if name == "aria-labelledby"} <= ids
    assert {value[1:] for name, value in page.attributes if name == "href"} <= ids
    charts = [value for name, value in page.attributes if name == "role" and value == "img"]
    assert (
        len(charts) == len([value for name, value in page.attributes if name == "viewbox"]) - 1
    )  # one glyph in a legend


def test_a_group_shows_its_arms_beside_each_other(ledger: Ledger, home: Home):
    group = ledger.start_run("paper", "star", "p", {"arms": [{}, {}]})
    better = ended(ledger, "with hints", 7, parent=group, train_on="correct")
    worse = ended(ledger, "answers", 3, parent=group, train_on="answers")
    ledger.finish_run(group, "completed", {})
    html = render_report(home, group)
    text = Page(html).text
    assert "by the best of 2 arms (with hints)" in text
    assert "25.0 % → 87.5 %" in text
    assert re.search(r"with hints train_on=correct 25\.0 % 87\.5 % .* the best", text)
    assert re.search(r"answers train_on=answers 25\.0 % 37\.5 % 10\.0 % to 90\.0 % −50\.0 points, p = 0\.125", text)
    assert f"run_{better}" in text
    assert f"run_{worse}" in text
    assert html.count('class="line"') == 2


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_run_without_iterations_says_so(ledger: Ledger, home: Home, state: str):
    run_id = ledger.start_run("young", "star", None, {"iterations": 4})
    if state == "failed":
        ledger.finish_run(run_id, "failed", {"why": "the disk is full"})
    text = Page(render_report(home, run_id)).text
    assert "Nothing has been measured yet" in text
    assert "No iteration has finished yet, so there is no accuracy to draw." in text
    assert "No attempt has been judged yet, so there is nothing to read." in text
    assert ("This run is under way" if state == "running" else "This run ended as failed: the disk is full") in text


def test_a_group_without_arms_is_a_page_too(ledger: Ledger, home: Home):
    group = ledger.start_run("paper", "star", "p", {"arms": [{}]})
    assert "Nothing has been measured yet" in Page(render_report(home, group)).text


def test_a_run_under_way_is_told_on_dev(ledger: Ledger, home: Home):
    run_id = ledger.start_run("half", "star", None, {"iterations": 4})
    for iteration, accuracy in enumerate((0.4, 0.6)):
        close(ledger, run_id, iteration, accuracy)
    close(ledger, run_id, 2, None)
    text = Page(render_report(home, run_id)).text
    assert "40.0 % → 60.0 %" in text
    assert (
        "accuracy on 500 held-out dev problems, the mean over 2 groups that count equally, before and after 2 iterations of "
        "self-training so far" in text
    )
    assert "+20.0 points; the intervals do not overlap." in text
    assert "of 4 wanted" in text


def test_the_command_writes_the_latest_run_and_prints_where(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
):
    with Lineage.open(home, fresh=True) as lineage, pytest.raises(UserMistake, match="no runs in"):
        latest(lineage)
    ended(ledger, "first", 3)
    group = ledger.start_run("group", "star", None, {"arms": [{}]})
    ended(ledger, "arm", 4, parent=group)
    report(home=home.root)
    path = Path(capsys.readouterr().out.strip())
    assert path == home.reports / f"{group}.html"
    assert "<!doctype html>" in path.read_text()
    report(digest("run", "first")[:8], home=home.root, out=home.root / "sub" / "mine.html")
    assert Path(capsys.readouterr().out.strip()) == home.root / "sub" / "mine.html"
    with pytest.raises(UserMistake, match="no run 'run_00ff'"):
        report("run_00ff", home=home.root)


def test_writing_again_replaces_the_file(ledger: Ledger, home: Home):
    run_id = ended(ledger, "demo", solved=4)
    first = write_report(home, run_id)
    assert write_report(home, run_id) == first
    assert [path.name for path in home.reports.iterdir()] == [f"{run_id}.html"]


def test_the_same_ledger_gives_the_same_page(told: Story):
    assert render_report(told.home, told.run_id) == render_report(told.home, told.run_id)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", "a\nb\tc"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("\x1b", '<span class="ctl" title="U+001B">ESC</span>'),
        ("\u202e", '<span class="ctl" title="U+202E">U+202E</span>'),
        ("\ud800", '<span class="ctl" title="U+D800">U+D800</span>'),
        (None, ""),
        ("naïve 数学 ✓", "naïve 数学 ✓"),
    ],
)
def test_text_is_escaped_and_its_controls_are_named(text: str | None, shown: str):
    assert str(visible(text)) == shown


def test_long_text_keeps_its_beginning_and_its_end():
    shown = str(visible("a" * 500 + "b" * 9_000 + "answer: 42", 300))
    assert shown.startswith("a" * 200)
    assert shown.endswith("answer: 42")
    assert "9,210 of 9,510 characters are not shown" in shown
    assert "970 of 1,000 lines are not shown" in str(visible("\n".join("x" * 1000), 5000))
    assert plain("x" * 100, 10) == "xxxxxxxxx…"
    assert plain("a\nb\x07") == "a⟨LF⟩b⟨BEL⟩"


def test_figures_are_written_for_people():
    assert [percent(share) for share in (None, 0, 0.4567, 0.99999, 1)] == [
        "—",
        "0.0\u00a0%",
        "45.7\u00a0%",
        "99.9\u00a0%",
        "100.0\u00a0%",
    ]
    assert [duration(s).replace("\u00a0", " ") for s in (0.44, 59.4, 265, 7500)] == [
        "0.4 s",
        "59 s",
        "4 min 25 s",
        "2 h 05 min",
    ]
    assert str(element("a", "<", class_='"')) == '<a class="&#34;">&lt;</a>'
    assert flat({"a": {"b": 1, "c": None}, "d": "x"}) == {"a.b": "1", "a.c": "null", "d": "x"}
