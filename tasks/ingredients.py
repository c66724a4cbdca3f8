"""What a ref stands for in a cache key: the code it resolves to, or the text of its prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from storage.identity import digest, digest_bytes
from tasks.code_digest import code_of
from tasks.engines import registry as engines
from tasks.problems import registry as problem_sets
from tasks.prompts.instruct import CLASSIFY, INPUT_FIRST, OUTPUT_FIRST, PROPOSE, TRAINED
from tasks.prompts.render import FORMS, template_digest
from tasks.training.recipe import OBJECTIVES
from tasks.verifiers import registry as verifiers


def engine_code(ref: str) -> object:
    return {**code_of(*engines.modules_of(ref)).as_json(), **files_behind(ref)}


def verifier_code(ref: str) -> object:
    """Of a judge also its rubric, and the engine that it is asked through."""
    code = code_of(*verifiers.modules_of(ref)).as_json()
    asked = [{"rubric": one.rubric, "engine": engine_code(one.engine)} for one in verifiers.judges_in(ref)]
    return {**code, "judges": asked} if asked else code


def verifier_digest(ref: str) -> str:
    """What tells one version of a verifier from the next, in its verdicts and in `name@digest`."""
    return digest(verifier_code(ref))


def problems_code(ref: str) -> object:
    """The code of a problem set, and the digests of the files it is read from: those its options name, and those it says itself."""
    code, named = code_of(problem_sets.module_of(ref)).as_json(), files_behind(ref)
    read = {"/".join(path.parts[-2:]): digest_bytes(path.read_bytes()) for path in problem_sets.files(ref)}
    return {**code, **named, **({"read": read} if read else {})}


def files_behind(ref: str) -> dict[str, object]:
    """The digests of the files that a ref's options name: what a changed questions.jsonl changes."""
    named = [part.partition("=")[2] or part for part in ref.partition(":")[2].split(",")]
    found = {name: digest_bytes(Path(name).read_bytes()) for name in named if name and Path(name).is_file()}
    return {"files": found} if found else {}


def template_text(template: str) -> object:
    """The digest of all of a template's files, and the code that renders them."""
    return _text(template, FORMS)


def direct_text(template: str) -> object:
    """As `template_text`, of the direct prompt alone."""
    return _text(template, ("direct",))


def hinted_text(template: str) -> object:
    """As `template_text`, of the hinted prompt alone."""
    return _text(template, ("hinted",))


def critique_text(template: str) -> object:
    """As `template_text`, of the prompt for a critique alone."""
    return _text(template, ("critique",))


def refine_text(template: str) -> object:
    """As `template_text`, of the refinement prompt alone."""
    return _text(template, ("refine",))


def chat_code(chat: object) -> object:
    """The code that renders a chat template; its text is in the argument."""
    del chat
    return code_of("tasks.prompts.chat").as_json()


def _text(template: str, forms: Sequence[str]) -> object:
    return {"text": template_digest(template, forms), "code": code_of("tasks.prompts.render").as_json()}


def trainer_code(recipe: object) -> object:
    """The code that trains by a recipe, which may come as the JSON that a key holds of it."""
    objective = recipe.get("objective", "sft") if isinstance(recipe, Mapping) else getattr(recipe, "objective", "sft")
    return code_of(OBJECTIVES[str(objective)]).as_json()


def proposal_text(template: str) -> object:
    """As `template_text`, of the prompt that asks for more instructions."""
    return _text(template, (PROPOSE,))


def classification_text(template: str) -> object:
    """As `template_text`, of the classification test."""
    return _text(template, (CLASSIFY,))


def instance_text(template: str) -> object:
    """As `template_text`, of the two prompts that ask for instances."""
    return _text(template, (INPUT_FIRST, OUTPUT_FIRST))


def trained_text(template: str) -> object:
    """As `template_text`, of the forms that instances are trained in."""
    return _text(template, TRAINED)


def comparison_code(threshold: object) -> object:
    """The code and the library that say how near two instructions are."""
    del threshold
    return code_of("tasks.verifiers.novelty").as_json()
