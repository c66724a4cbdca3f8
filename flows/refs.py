"""What a configuration's refs stand for: what `own` and `none` leave open, the code and texts behind them, and whether they fit
each other, which is found out before anything is started.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.config import EMBEDDED, NONE, OWN, Action, HealthConfig, LoopConfig
from flows.fitting import check_fits, check_ranks
from flows.method_config import GsrConfig, SelfInstructConfig
from flows.refinable import check_refinable
from flows.search_refs import check_search, code_behind_search
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import content_id, show
from storage.lineage import find_checkpoint
from tasks.characters import nothing_to_pretrain_on
from tasks.engines.registry import check_options, deciding
from tasks.ingredients import engine_code, problems_code, template_text, trainer_code, verifier_code
from tasks.problems.protocol import SPLITS, ProblemSet
from tasks.problems.registry import load as load_problems
from tasks.prompts.instruct import check_template
from tasks.verifiers.registry import load as load_verifier


@dataclass(frozen=True, slots=True)
class Refs:
    """Which prompts and verifiers a run really uses: `verifier` for dev and test, `kept_by` for what may be trained on (mostly the
    same), `audit` for what is measured beside; None is without.
    """

    template: str
    verifier: str
    kept_by: str
    audit: str | None


def refs_of(config: LoopConfig) -> Refs:
    """The refs of a configuration, with the problem set's own where it says `own`."""
    problem_set = load_problems(config.problems)
    verifier = problem_set.verifier if config.verifier == OWN else config.verifier
    return Refs(
        problem_set.template if config.template == OWN else config.template,
        verifier,
        config.kept_by(verifier),
        config.measured_by(verifier),
    )


def code_behind(config: LoopConfig) -> dict[str, object]:
    """The digests of the code and texts that a configuration's refs stand for; raises UserMistake for an unknown ref."""
    refs = refs_of(config)
    verifiers = [refs.verifier, refs.kept_by, *([refs.audit] if refs.audit else []), *config.further_verifiers]
    verifiers = list(dict.fromkeys(verifiers))
    for verifier in verifiers:
        load_verifier(verifier)
    also = {} if config.evaluation.also == NONE else {"also": _code_of_also(config.evaluation.also)}
    return {
        "engine": engine_code(config.engine),
        "problems": problems_code(config.problems),
        "template": template_text(refs.template),
        "trainer": trainer_code(config.training),
        **({"templates": list(map(template_text, config.further_templates))} if config.further_templates else {}),
        "verifiers": [verifier_code(verifier) for verifier in verifiers],
        **also,
        **code_behind_search(config),
    }


def _code_of_also(ref: str) -> dict[str, object]:
    """The same of the problem set that must not get worse, with its own prompts and verifier."""
    other = load_problems(ref)
    load_verifier(other.verifier)
    return {
        "problems": problems_code(ref), "template": template_text(other.template), "verifier": verifier_code(other.verifier)
    }  # fmt: skip


PRESENTATION = {"name", "model_name", "iterations", "stop", "arms", "zpd", "final", "keep", "health"}
"""Settings that change no result of an iteration: the same run goes on under others. Of `health`, what sends a loop back does."""


def run_identity(method: str, config: LoopConfig, code: dict[str, object]) -> str:
    """What a run is: its method, its settings, and the code that they stand for. Started again, it goes on."""
    settings = config.model_dump(mode="json", exclude=PRESENTATION) | {"engine": deciding(config.engine)}
    if back := {name: limit for name, (limit, action) in limits(config.health).items() if action == "back"}:
        settings["back"] = back
    return content_id("run", method=method, settings=settings, code=code)


def limits(health: HealthConfig) -> dict[str, tuple[float, Action]]:
    """Each check's limit and action, by the check's name."""
    whole = health.model_dump()
    return {name: (whole[name], whole[f"on_{name}"]) for name in whole if f"on_{name}" in whole}


def check(config: LoopConfig, splits: Sequence[str] = SPLITS) -> None:
    """Raises UserMistake for refs that are unknown or do not fit each other: what would otherwise end a run after minutes."""
    code_behind(config)
    check_search(config)
    check_options(config.engine)
    config.check_problems()
    problem_set = load_problems(config.problems)
    for split in splits:
        if problem_set.size(split) == 0:
            raise UserMistake(
                f"{config.problems} has no {split} problems; a loop needs some in each split ({', '.join(SPLITS)})"
            )
    check_fits(config)
    check_ranks(config)
    if isinstance(config, SelfInstructConfig):
        _check_seeds(config, problem_set)
    if config.chat == "on" and config.model.source == EMBEDDED:
        raise UserMistake("the embedded model has no chat template; set chat = auto or off")
    if config.evaluation.also != NONE and load_problems(config.evaluation.also).size("dev") == 0:
        raise UserMistake(
            f"{config.evaluation.also} has no dev problems to score on; name another set in evaluation.also"
        )
    if "train" in splits:
        _check_length(config, problem_set)
    needs_corpus = config.model.source == EMBEDDED or getattr(config, "train_on", "") == "corpus"
    if needs_corpus and not problem_set.corpus(0, 1):
        raise nothing_to_pretrain_on(problem_set)
    if isinstance(config, GsrConfig):
        check_refinable(config, problem_set, refs_of(config).template)


def settled(config: LoopConfig, home: Home) -> LoopConfig:
    """The configuration with its model's source and its arithmetic in full, so that two ways of writing it are one run.

    Raises UserMistake for a checkpoint that is not there.
    """
    source = config.model.source
    if config.training.dtype == "auto":
        told = {"dtype": config.training.arithmetic}
        config = config.model_copy(update={"training": config.training.model_copy(update=told)})
    if source == EMBEDDED:
        return config
    if names_checkpoint(source):
        source = show("ckp", find_checkpoint(home, source).checkpoint_id)
    elif Path(source).exists():
        source = str(Path(source).absolute())
    return config.model_copy(update={"model": config.model.model_copy(update={"source": source})})


def names_checkpoint(source: str) -> bool:
    """Whether a model's source is a checkpoint's id or its beginning, and neither a folder nor a name on the hub."""
    if source.startswith("ckp_"):
        return True
    return re.fullmatch(r"[0-9a-fA-F-]{4,36}", source) is not None and not Path(source).is_dir()


def _check_seeds(config: SelfInstructConfig, problem_set: ProblemSet) -> None:
    """Raises UserMistake unless there are tasks to start from, enough for a prompt, and a way to ask for instances."""
    if not getattr(problem_set, "seeds_instructions", False):
        raise UserMistake(
            f"self_instruct writes new tasks from example tasks, and {config.problems} has questions with answers; give a file of tasks as "
            "--set problems=seed_tasks:FILE.jsonl, or run a method that learns from answers it can check: star, rest_em or rest"
        )
    wanted, there = config.human_examples + config.machine_examples, problem_set.size("train") or 0
    if there < wanted:
        raise UserMistake(
            f"a prompt shows {wanted} tasks (human_examples + machine_examples), and {config.problems} has {there} to show; add some, or "
            "hold out fewer (dev=…, test=…)"
        )
    check_template(refs_of(config).template)


def _check_length(config: LoopConfig, problem_set: ProblemSet) -> None:
    size = problem_set.size("train")
    if size is None or not config.fresh_problems:
        return
    before_last = (config.iterations - 1) * config.problems_per_iteration
    if size <= before_last:
        raise UserMistake(
            f"{config.problems} has {size} train problems, too few for {config.iterations} iterations of "
            f"{config.problems_per_iteration} fresh ones; set fresh_problems=false, or fewer problems_per_iteration"
        )
