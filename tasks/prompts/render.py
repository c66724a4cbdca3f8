"""From a problem to the exact text a model reads and writes: one function for sampling and for training.

A template set is a folder of Jinja files, ours under `templates/<name>/` or a user's own (a path with a slash):

    direct.jinja   the prompt              sees question, info
    hinted.jinja   the prompt with a hint  sees question, info, hint (the gold answer, or info["hint"])
    worked.jinja   a worked completion     sees question, info, rationale, gold
    answer.jinja   the bare answer         sees question, info, gold
    critique.jinja what is wrong with it?  sees question, info, candidates (earlier attempts' texts)
    refine.jinja   a better one from many  sees question, info, candidates, critique (empty without one)

The last two are for methods that refine. No prompt that is stored with an example (direct, refine) can see the gold answer or the hint.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import UserMistake
from storage.identity import digest
from storage.records import Problem, Prompt

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"
FORMS = ("direct", "hinted", "worked", "answer", "critique", "refine")
REFINED_FROM = "refined_from"
"""What a worked example says in `info` of the attempts that its writer was shown: their texts."""


def render(template: str, problem: Problem, hinted: bool = False) -> Prompt:
    """The prompt for a problem, direct or with the hint.

    Raises UserMistake for an unknown template, for one that uses what it may not see, and for a hint without gold.
    """
    form = "hinted" if hinted else "direct"
    facts = _facts(problem)
    if hinted:
        facts["hint"] = _hint(problem)
    return Prompt.of(_fill(template, form, facts), template, _digest_of(str(_folder(template)), form), hinted)


def render_refinement(template: str, problem: Problem, candidates: Sequence[str], critique: str = "") -> Prompt:
    """The prompt for one refinement of several attempts at a problem, after a critique of them where there is one."""
    facts = _facts(problem) | {"candidates": list(candidates), "critique": critique}
    return Prompt.of(
        _fill(template, "refine", facts), template, _digest_of(str(_folder(template)), "refine"), hinted=False
    )


def render_critique(template: str, problem: Problem, candidates: Sequence[str]) -> Prompt:
    """The prompt for a critique of several attempts at a problem."""
    facts = _facts(problem) | {"candidates": list(candidates)}
    return Prompt.of(
        _fill(template, "critique", facts), template, _digest_of(str(_folder(template)), "critique"), hinted=False
    )


def shown_with(example: Problem) -> list[str]:
    """The attempts that a worked example was made from, if it is a refinement."""
    return list(json.loads(example.info).get(REFINED_FROM, []))


def forms_of(template: str) -> tuple[str, ...]:
    """The forms that a template set has files for."""
    return tuple(form for form in FORMS if (_folder(template) / f"{form}.jinja").is_file())


def fill(template: str, form: str, facts: dict[str, object]) -> Prompt:
    """A prompt of another form than a problem's: a method's own file of a template set, filled in with these facts."""
    return Prompt.of(_fill(template, form, facts), template, _digest_of(str(_folder(template)), form), hinted=False)


def completion(template: str, source: Problem | str, rationale: bool = True) -> str:
    """What an example trains on after the prompt, without the end-of-text token (the trainer adds it).

    The text of an attempt is trained on as it was written. A problem gives its worked solution, or with
    `rationale=False` the bare gold answer.
    """
    if isinstance(source, str):
        return source
    if rationale and source.rationale is None:
        raise UserMistake(f"problem {source.question!r} of {source.source} has no worked solution to train on")
    facts = _facts(source) | {"gold": source.gold}
    return (
        _fill(template, "worked", facts | {"rationale": source.rationale})
        if rationale
        else _fill(template, "answer", facts)
    )


def forms_in(template: str) -> frozenset[str]:
    """The forms that a template set has a file for."""
    return frozenset(path.stem for path in _folder(template).glob("*.jinja"))


def template_digest(template: str, forms: Sequence[str] = FORMS) -> str:
    """The digest of these files of a template set: what a cache key holds of the prompts' text."""
    folder = _folder(template)
    return digest(template, {form: _source(str(folder), form) for form in forms if (folder / f"{form}.jinja").exists()})


def _facts(problem: Problem) -> dict[str, object]:
    info = {key: value for key, value in json.loads(problem.info).items() if key not in {"hint", REFINED_FROM}}
    return {"question": problem.question, "info": info}


def _hint(problem: Problem) -> str:
    hint = json.loads(problem.info).get("hint", problem.gold)
    if hint is None:
        raise UserMistake(f"problem {problem.question!r} of {problem.source} has no gold answer to give as a hint")
    return str(hint)


@lru_cache(maxsize=64)
def _folder(template: str) -> Path:
    folder = Path(template) if "/" in template else TEMPLATES / template
    if not folder.is_dir():
        names = ", ".join(sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir()))
        raise UserMistake(
            f"no prompt template {template!r}; this checkout has: {names}; a folder of your own needs a slash"
        )
    return folder


def _fill(template: str, form: str, facts: dict[str, object]) -> str:
    from jinja2 import TemplateError

    try:
        return _compiled(str(_folder(template)), form).render(facts)
    except TemplateError as mistake:
        raise UserMistake(f"template {template}/{form}.jinja cannot be filled in: {mistake}") from mistake


@lru_cache(maxsize=64)
def _compiled(folder: str, form: str) -> "Template":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False
    )
    return environment.from_string(_source(folder, form))


@lru_cache(maxsize=64)
def _digest_of(folder: str, form: str) -> str:
    return digest(_source(folder, form))


def _source(folder: str, form: str) -> str:
    path = Path(folder) / f"{form}.jinja"
    if not path.is_file():
        raise UserMistake(
            f"template set {Path(folder).name} has no {form}.jinja; write one beside the others in {folder}"
        )
    return path.read_text(encoding="utf-8")
