"""The code and texts behind a configuration's refs; what makes the same settings a different run."""

from flows.config import LoopConfig
from tasks.ingredients import engine_code, problems_code, template_text, trainer_code, verifier_code
from tasks.problems.registry import load as load_problems
from tasks.verifiers.registry import load as load_verifier


def code_behind(config: LoopConfig) -> dict[str, object]:
    """The digests of the code and texts that a configuration's refs stand for; raises UserMistake for an unknown ref."""
    problem_set = load_problems(config.problems)
    verifiers = [config.verifier or problem_set.verifier, *([config.audit] if config.audit else [])]
    for verifier in verifiers:
        load_verifier(verifier)
    return {
        "engine": engine_code(config.engine),
        "problems": problems_code(config.problems),
        "template": template_text(config.template or problem_set.template),
        "trainer": trainer_code(None),
        "verifiers": [verifier_code(verifier) for verifier in verifiers],
    }
