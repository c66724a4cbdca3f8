from pathlib import Path

import pytest

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.registry import load
from tasks.prompts.render import (
    TEMPLATES,
    completion,
    render,
    render_critique,
    render_refinement,
    template_digest,
)

PROBLEM = Problem.of("case", "train", "00628+00579", "001207", rationale="89…A001207", info={"hint": "001107"})
PLAIN = Problem.of("case", "train", "00628+00579", "001207")


def test_the_prompts_of_addition_are_what_the_model_was_made_for():
    assert render("addition", PLAIN).text == "00628+00579="
    assert render("addition", PLAIN, hinted=True).text == "001207?00628+00579="
    assert completion("addition", PLAIN, rationale=False) == "A001207"
    assert completion("addition", PROBLEM) == "89…A001207"


def test_a_document_is_hinted_with_what_its_writer_came_to():
    assert render("addition", PROBLEM, hinted=True).text == "001107?00628+00579="


def test_an_attempt_is_trained_on_as_it_was_written():
    assert completion("addition", " any\ntext ") == " any\ntext "


def test_no_direct_prompt_shows_hint_or_gold(tmp_path: Path):
    for problem in load("addition:1-5").take("train", 0, 200):
        assert (problem.gold or "") not in render("addition", problem).text
    for peek in ("{{ gold }}", "{{ hint }}", "{{ rationale }}", "{{ info.hint }}", "{{ problem.gold }}"):
        (tmp_path / "direct.jinja").write_text(f"{{{{ question }}}} {peek}")
        with pytest.raises(UserMistake, match="cannot be filled in"):
            render(f"{tmp_path}/../{tmp_path.name}", PROBLEM)
        (tmp_path / "direct.jinja").unlink()
        tmp_path = _another(tmp_path)


def test_no_prompt_of_a_refinement_or_critique_shows_hint_or_gold(tmp_path: Path):
    for place, peek in enumerate(("gold", "hint", "rationale", "info.hint", "info.refined_from", "problem.gold")):
        folder = tmp_path / str(place)
        folder.mkdir()
        for form, make in (("refine", render_refinement), ("critique", render_critique)):
            (folder / f"{form}.jinja").write_text(f"{{{{ question }}}} {{{{ {peek} }}}}")
            with pytest.raises(UserMistake, match="cannot be filled in"):
                make(str(folder), PROBLEM, ["A001207"])


def test_a_sum_is_refined_from_the_answers_of_its_candidates():
    candidates = ["890727106512001100000A001207", "8A001197more than an answer", "no answer at all"]
    assert render_refinement("addition", PLAIN, candidates).text == "A001207A001197Ano ans?00628+00579="


CHOICES = Problem.of("case", "train", "Which one?", "B", info={"choices": {"A": "this", "B": "that"}})


@pytest.mark.parametrize("template", sorted(path.parent.name for path in TEMPLATES.glob("*/answer.jinja")))
def test_every_template_set_can_refine_and_those_for_words_can_criticise(template: str):
    shown = render_refinement(template, CHOICES, ["first A1", "second A2"])
    assert "Which one?" in shown.text
    assert (shown.hinted, shown.template) == (False, template)
    if template != "addition":
        with_critique = render_refinement(template, CHOICES, ["first A1", "second A2"], "both fail").text
        assert shown.text.index("first A1") < shown.text.index("second A2")
        assert "both fail" in with_critique
        assert "second A2" in render_critique(template, CHOICES, ["first A1", "second A2"]).text


def _another(folder: Path) -> Path:
    fresh = folder.parent / f"{folder.name}x"
    fresh.mkdir()
    return fresh


def test_direct_and_hinted_prompts_have_ids_of_their_own():
    direct, hinted = render("addition", PLAIN), render("addition", PLAIN, hinted=True)
    assert direct.prompt_id != hinted.prompt_id
    assert (direct.hinted, hinted.hinted) == (False, True)
    assert direct.template_digest != hinted.template_digest


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path: Path):
    (tmp_path / "direct.jinja").write_text("{{ question.__class__.__mro__ }}")
    with pytest.raises(UserMistake, match="unsafe"):
        render(str(tmp_path), PLAIN)


def test_a_users_own_folder_serves_and_its_text_makes_the_digest(tmp_path: Path):
    for number, text in enumerate(("Q: {{ question }}\nA:\n", "Q: {{ question }}!\nA:\n")):
        folder = tmp_path / str(number) / "mine"
        folder.mkdir(parents=True)
        (folder / "direct.jinja").write_text(text)
    first, second = (str(tmp_path / number / "mine") for number in "01")
    assert render(first, PLAIN).text == "Q: 00628+00579\nA:"
    assert template_digest(first) != template_digest(second)
    with pytest.raises(UserMistake, match=r"no hinted\.jinja"):
        render(first, PLAIN, hinted=True)


def test_what_is_missing_is_said():
    with pytest.raises(
        UserMistake, match="no prompt template 'adition'; this checkout has: addition, arc, commonsense_qa"
    ):
        render("adition", PLAIN)
    with pytest.raises(UserMistake, match="no gold answer to give as a hint"):
        render("addition", Problem.of("case", "train", "x", None), hinted=True)
    with pytest.raises(UserMistake, match="no worked solution"):
        completion("addition", PLAIN)
