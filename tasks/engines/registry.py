"""From a ref to an engine: `transformers:dtype=bfloat16,device=cuda`, `scripted:answers.json`.

What stands before the colon is the engine, what follows are its options; the model is given apart, because it changes
from one checkpoint to the next while the ref stays.
"""

from importlib import import_module
from pathlib import Path

from storage.errors import UserMistake
from tasks.engines.protocol import Engine

ENGINES = {
    "scripted": "tasks.engines.scripted",
    "transformers": "tasks.engines.transformers",
}
"""Engine name to the module whose `open_engine(model, options)` opens it, and whose `check_options(options)` only looks."""


def module_of(ref: str) -> str:
    """The dotted name of the module behind an engine ref; UserMistake for an unknown one, naming those there are."""
    name = ref.partition(":")[0]
    if name not in ENGINES:
        raise UserMistake(f"no engine {name!r}; this checkout has: {', '.join(sorted(ENGINES))}")
    return ENGINES[name]


def modules_of(ref: str) -> tuple[str, ...]:
    """The modules whose code decides what an engine writes: its own, and that of the function a script names."""
    module, options = module_of(ref), ref.partition(":")[2]
    scripted = module == ENGINES["scripted"] and options and not options.endswith(".json")
    return (module, options.partition(":")[0]) if scripted else (module,)


def open_engine(ref: str, model: Path | str | None = None) -> Engine:
    """The engine that `ref` names, with `model` (a folder or a hub name) loaded."""
    return import_module(module_of(ref)).open_engine(model, ref.partition(":")[2])


def takes_messages(ref: str) -> bool:
    """Whether the engine is given a user's message and renders the model's chat template itself; else it is given the prompt."""
    found = getattr(import_module(module_of(ref)), "takes_messages", None)
    return found is not None and found(ref.partition(":")[2])


def check_options(ref: str) -> None:
    """Raises UserMistake for options that the engine would refuse when it is opened; loads no model."""
    import_module(module_of(ref)).check_options(ref.partition(":")[2])
