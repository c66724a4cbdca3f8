"""What a ref stands for in a cache key: the code it resolves to, or the text of its prompts."""

from tasks.code_digest import code_of
from tasks.engines import registry as engines
from tasks.problems import registry as problem_sets
from tasks.prompts.render import template_digest
from tasks.verifiers import registry as verifiers


def engine_code(ref: str) -> object:
    return code_of(engines.module_of(ref)).as_json()


def verifier_code(ref: str) -> object:
    return code_of(verifiers.module_of(ref)).as_json()


def problems_code(ref: str) -> object:
    return code_of(problem_sets.module_of(ref)).as_json()


def template_text(template: str) -> object:
    """The digest of the template's files, and the code that renders them."""
    return {"text": template_digest(template), "code": code_of("tasks.prompts.render").as_json()}


def trainer_code(recipe: object) -> object:
    del recipe
    return code_of("tasks.training.sft").as_json()
