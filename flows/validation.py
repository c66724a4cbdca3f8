"""From settings as they were given to a typed configuration, or one sentence about the first that does not fit."""

from types import UnionType
from typing import Any, TypeVar, Union, get_origin

from pydantic import BaseModel, ValidationError

from storage.errors import UserMistake

Config = TypeVar("Config", bound=BaseModel)


def validated(kind: type[Config], settings: dict[str, Any], what: str) -> Config:
    """The configuration, or a UserMistake with the first thing that does not fit."""
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = place_of(kind, first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserMistake(
                f"no setting {place!r} in {what}; there are: {', '.join(siblings(kind, place))}"
            ) from error
        if first["type"] == "value_error":
            raise UserMistake(f"{what}: {first['msg'].removeprefix('Value error, ')}") from error
        given = first.get("input")
        same = [one["msg"].lower() for one in error.errors() if place_of(kind, one["loc"]) == place]
        raise UserMistake(f"{place} = {given!r} does not fit in {what}: {', or '.join(same)}") from error


def place_of(kind: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The dotted name of what did not fit, without pydantic's names for the members of a union."""
    parts: list[str] = []
    here: Any = kind
    for part in location:
        if get_origin(here) in {Union, UnionType}:
            break
        parts.append(str(part))
        fields = getattr(here, "model_fields", {})
        here = fields[part].annotation if part in fields else None
    return ".".join(parts)


def siblings(kind: type[BaseModel], place: str) -> list[str]:
    """The names that are valid where `place` (dotted) is not."""
    here: Any = kind
    for part in place.split(".")[:-1]:
        annotation = here.model_fields[part].annotation if part in getattr(here, "model_fields", {}) else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        here = annotation
    return sorted(here.model_fields)


def merged(settings: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of `settings` with dotted names replaced; nested tables in `overrides` merge."""
    result = {name: merged(value, {}) if isinstance(value, dict) else value for name, value in settings.items()}
    for dotted, value in overrides.items():
        *path, last = dotted.split(".")
        table = result
        for part in path:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UserMistake(f"{dotted!r} does not fit: {part!r} is a value, not a table")
            table = inner
        table[last] = (
            merged(table.get(last, {}), value)
            if isinstance(value, dict) and isinstance(table.get(last), dict)
            else value
        )
    return result
