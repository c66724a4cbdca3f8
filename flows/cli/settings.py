"""How settings are written on a command line: `--set training.steps=200`, and the options that are short for one."""

import json
from typing import Any

from storage.errors import UserMistake


def parse(assignments: list[str]) -> dict[str, Any]:
    """Dotted names to values. A value is JSON where it reads as JSON (`3`, `0.5`, `true`, `null`, `[1]`), else text."""
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise UserMistake(
                f"--set {assignment!r} does not fit; write --set name=value, for example --set training.steps=200"
            )
        try:
            settings[name.strip()] = json.loads(text)
        except ValueError:
            settings[name.strip()] = text
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
