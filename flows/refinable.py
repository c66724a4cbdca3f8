"""Whether a loop that refines can: its prompts are there, and a base that is pre-trained here has seen what a refinement looks like."""

from flows.config import EMBEDDED, NONE
from flows.method_config import GsrConfig
from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.protocol import ProblemSet
from tasks.prompts.chat import example_prompt
from tasks.prompts.render import completion, forms_of, shown_with

LOOKED_AT = 200
"""Corpus documents that are looked at for refinements."""


def check_refinable(config: GsrConfig, problem_set: ProblemSet, template: str) -> None:
    """Raises UserMistake for what would otherwise fail, or refine nothing, after minutes."""
    needed = ("refine", "critique") if config.critique != NONE else ("refine",)
    for form in needed:
        if form not in forms_of(template):
            without = "; set critique=none to refine without one" if form == "critique" else ""
            raise UserMistake(
                f"template set {template} has no {form}.jinja, and GSR asks with it; write one beside its direct.jinja{without}"
            )
    if config.model.source == EMBEDDED:
        _check_corpus(config, problem_set, template)


def _check_corpus(config: GsrConfig, problem_set: ProblemSet, template: str) -> None:
    shown = [one for one in problem_set.corpus(0, LOOKED_AT) if shown_with(one)]
    counts = {len(shown_with(one)) for one in shown}
    if config.samples not in counts:
        found = f"shows refinements of {', '.join(map(str, sorted(counts)))}" if counts else "shows no refinement"
        raise UserMistake(
            f"the embedded model knows what its corpus shows, and that of {config.problems} {found}, not of samples = "
            f"{config.samples}; name a set that does, such as addition:1-5,refine={config.samples}"
        )
    longest = max(_length(one, template) for one in shown)
    if longest > config.model.positions:
        raise UserMistake(
            f"the embedded model reads {config.model.positions} characters, and a refinement of {config.samples} candidates has "
            f"{longest}; raise model.positions, training.max_length and model.pretraining.max_length to that, or set samples lower"
        )


def _length(document: Problem, template: str) -> int:
    """Prompt, completion and the end."""
    return len(example_prompt(template, document).text + completion(template, document)) + 1
