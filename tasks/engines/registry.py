"""From a ref to an engine: `transformers:dtype=bfloat16,device=cuda`, `scripted:answers.json`.

What stands before the colon is the engine, what follows are its options; the model is given apart, because it changes
from one checkpoint to the next while the ref stays.
"""

from importlib import import_module
from pathlib import Path

from storage.errors import UserMistake
from tasks.engines.protocol import Engine, Prices

ENGINES = {
    "openai": "tasks.engines.openai",
    "scripted": "tasks.engines.scripted",
    "transformers": "tasks.engines.transformers",
    "vllm": "tasks.engines.vllm",
}
"""Engine name to the module whose `open_engine(model, options)` opens it, and whose `check_options(options)` only looks."""

READERS = {"scripted": "tasks.engines.scripted", "value": "tasks.engines.value"}
"""Engines that answer a text with what it is worth."""

DECIDES = {"openai": "tasks.engines.exchange", "vllm": "tasks.engines.vllm_requests"}
"""Where only a part of an engine decides what is written: a text that was paid for outlives the code that waited for it."""

SERVED = frozenset({"openai"})
"""Engines that ask a server: they need no process of their own, and hold no weights."""


SCORERS = frozenset({"transformers"})
"""Engines that say how likely a text is."""


STEPWISE = frozenset({"scripted", "transformers"})
"""Engines that end a text at the end of a step and say so."""


class EngineRef(str):
    """A ref as an argument of a task: what counts of it is what decides a text, not prices or how many requests go at a time."""

    def canonical(self) -> str:
        """What enters keys."""
        return deciding(self)


def module_of(ref: str) -> str:
    """The dotted name of the module behind an engine ref; UserMistake for an unknown one, naming those there are."""
    name = ref.partition(":")[0]
    if name not in ENGINES and name not in READERS:
        raise UserMistake(f"no engine {name!r}; this checkout has: {', '.join(sorted(ENGINES))}")
    return ENGINES.get(name) or READERS[name]


def modules_of(ref: str) -> tuple[str, ...]:
    """The modules whose code decides what an engine writes: its own or the part that does, and that of the function a script names."""
    module, options = module_of(ref), ref.partition(":")[2]
    if part := DECIDES.get(ref.partition(":")[0]):
        return (part,)
    scripted = module == ENGINES["scripted"] and options and not options.endswith(".json")
    return (module, options.partition(":")[0]) if scripted else (module,)


def open_engine(ref: str, model: Path | str | None = None) -> Engine:
    """The engine that `ref` names, with `model` (a folder or a hub name) loaded."""
    return import_module(module_of(ref)).open_engine(model, ref.partition(":")[2])


def check_options(ref: str) -> None:
    """Raises UserMistake for options that the engine would refuse when it is opened; loads no model."""
    import_module(module_of(ref)).check_options(ref.partition(":")[2])


def is_served(ref: str) -> bool:
    """Whether the engine asks a server."""
    return ref.partition(":")[0] in SERVED


def says_likelihoods(ref: str) -> bool:
    """Whether the engine can say how likely its model finds a text (see `protocol.Scorer`)."""
    return ref.partition(":")[0] in SCORERS


def writes(ref: str) -> bool:
    """Whether the engine writes text."""
    return ref.partition(":")[0] in ENGINES


def reads_values(ref: str) -> bool:
    """Whether the engine says what a text is worth."""
    return ref.partition(":")[0] in READERS


def ends_steps(ref: str) -> bool:
    """Whether the engine knows where a step ends (`Sampling.step`)."""
    return ref.partition(":")[0] in STEPWISE


def deciding(ref: str) -> str:
    """The ref without the options that change no text."""
    name, colon, options = ref.partition(":")
    return f"{name}{colon}{import_module(module_of(ref)).deciding(options)}" if is_served(ref) else str(ref)


def prices(ref: str) -> Prices | None:
    """What the engine's tokens cost; None where nobody said."""
    return import_module(module_of(ref)).prices(ref.partition(":")[2]) if is_served(ref) else None


def takes_messages(ref: str) -> bool:
    """Whether the engine is given a user's message and renders the model's chat template itself; else it is given the prompt."""
    return is_served(ref) and import_module(module_of(ref)).takes_messages(ref.partition(":")[2])
