"""`starloop presets` and `starloop settings`: the ready-made runs, and everything that can be set."""

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from flows.cli.settings import Preset

BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}


class Setting(NamedTuple):
    """One setting: its dotted name, the value it has, what fits, and what it is."""

    name: str
    value: Any
    fits: str
    what: str


def list_presets() -> None:
    """The ready-made runs, with what each is for."""
    from rich.console import Console
    from rich.table import Table

    from flows.resolving import methods_of, presets

    table = Table("preset", "method", "what it is")
    for name, preset in presets().items():
        table.add_row(name, ", ".join(methods_of(preset)), preset["about"])
    Console().print(table)


def list_settings(method: str, /, *, preset: Preset = None, json_: bool = False) -> None:
    """Everything that `--set` can change, with the value it has, what fits, and what it is.

    Parameters
    ----------
    method
        star
    json_
        As JSON, for scripts.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    found = settings_of(method, preset)
    if json_:
        sys.stdout.write(json.dumps([one._asdict() for one in found], indent=1) + "\n")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in ("setting", "value", "fits", "what it is"):
        table.add_column(column, no_wrap=column == "setting")
    for one in found:
        value = "" if one.value is None else one.value if isinstance(one.value, str) else json.dumps(one.value)
        table.add_row(one.name, value, one.fits, one.what)
    Console(highlight=False, markup=False).print(table)


def settings_of(method: str, preset: str | None) -> list[Setting]:
    """The settings of a method, with the values that a preset gives them."""
    from flows.method_config import config_class
    from flows.resolving import resolve

    values = resolve(method, preset, {}).model_dump(mode="json")
    schema = config_class(method).model_json_schema()
    return list(_settings("", schema, values, schema["$defs"]))


def _settings(prefix: str, schema: dict[str, Any], values: dict[str, Any], shared: dict[str, Any]) -> Iterator[Setting]:
    for name, field in schema["properties"].items():
        reference = field.get("$ref", "")
        if reference:
            yield from _settings(f"{prefix}{name}.", shared[reference.rpartition("/")[2]], values[name], shared)
        else:
            yield Setting(f"{prefix}{name}", values[name], _fits(field), field.get("description", ""))


def _fits(field: dict[str, Any]) -> str:
    """What a value of this field may be, in a few words."""
    if "anyOf" in field:
        return " or ".join(_fits(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    bounds = [text.format(field[name]) for name, text in BOUNDS.items() if name in field]
    written = str(field.get("type", ""))
    kind = {"integer": "whole number", "string": "text", "boolean": "true | false", "array": "list"}.get(
        written, written
    )
    return " ".join([kind, ", ".join(bounds)]).strip()
