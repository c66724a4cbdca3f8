"""How settings are written on a command line: `--set training.steps=200`, and the options that are short for one."""

import json
from typing import Annotated, Any

from cyclopts import Parameter

from storage.errors import UserMistake

Preset = Annotated[str | None, Parameter(name="--preset", help="A ready-made run (see `starloop presets`).")]
Assignments = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative=(),
        help="A setting that should be different, by dotted name: --set training.steps=200. May be repeated.",
    ),
]


def parse(assignments: list[str]) -> dict[str, Any]:
    """Dotted names to values. A value is JSON where it reads as JSON (`3`, `0.5`, `true`, `[1]`), else text."""
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise UserMistake(
                f"--set {assignment!r} does not fit; write --set name=value, for example --set training.steps=200"
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if _holds_null(value):
            raise UserMistake(
                f"--set {assignment!r} says nothing: null means as the preset says, as does leaving it out; what can be "
                "switched off has a word for it: rationalize_iterations=all, audit=none, stop.max_tokens=none, "
                "stop.max_hours=none, verifier=own, template=own"
            )
        settings[name.strip()] = value
    return settings


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as nested tables."""
    whole: dict[str, Any] = {}
    for dotted, value in settings.items():
        *path, last = dotted.split(".")
        table = whole
        for part in path:
            table = table.setdefault(part, {})
        table[last] = value
    return whole


def _holds_null(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_holds_null, value.values()))
        case list():
            return any(map(_holds_null, value))
        case _:
            return value is None
