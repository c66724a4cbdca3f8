"""What a tree search asks of the refs of its configuration, found out before anything is started."""

from flows.config import EMBEDDED, OWN, LoopConfig
from flows.method_config import RestMctsConfig
from storage.errors import UserMistake
from tasks.engines.registry import READERS, check_options, ends_steps, reads_values, takes_messages, writes
from tasks.ingredients import engine_code, trainer_code
from tasks.training.recipe import VALUE


def check_search(config: LoopConfig) -> None:
    """Raises UserMistake for an engine that writes nothing; for a search also for one that cannot continue a text step by step, and
    for a value engine that reads no values.
    """
    if not writes(config.engine):
        raise UserMistake(
            f"the engine {config.engine} reads what others wrote and writes nothing; name it as value.engine"
        )
    if not isinstance(config, RestMctsConfig):
        return
    if not reads_values(config.value.engine):
        raise UserMistake(
            f"value.engine = {config.value.engine} reads no values; give one of: {', '.join(sorted(READERS))}"
        )
    check_options(config.value.engine)
    if takes_messages(config.engine):
        raise UserMistake(
            f"{config.engine} answers messages, and a search continues texts; ask the server for completions, or use transformers"
        )
    if config.step_delimiter and not ends_steps(config.engine):
        raise UserMistake(
            f"{config.engine} does not say whether a text ended at a step or for good; set search.delimiter = none, with "
            "search.step_tokens tokens a step, or use transformers"
        )
    if config.value.source == EMBEDDED:
        raise UserMistake(f"value.source = {EMBEDDED} names no model; {OWN} is the loop's base, embedded or not")


def code_behind_search(config: LoopConfig) -> dict[str, object]:
    """The digests of the code that only a search has; nothing of any other loop."""
    if not isinstance(config, RestMctsConfig):
        return {}
    return {"value engine": engine_code(config.value.engine), "value trainer": trainer_code({"objective": VALUE})}
