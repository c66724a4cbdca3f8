"""Ready-made runs, and a method's whole configuration from one of them with what of it should be different.

A preset is for its `method`; with tables `[methods.rest_em]` of what differs there, also for those methods.

>>> resolve("star", "addition-quick", {"iterations": 6, "sampling.temperature": 0.8}).iterations
6
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from flows.config import LoopConfig
from flows.method_config import config_class
from flows.validation import merged, validated
from storage.errors import UserMistake

PRESETS = Path(__file__).parent / "presets"


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Every ready-made run by name: `method`, `about`, its settings under `config` (with `extends`, on top of those of `shared/`), and
    under `methods` what differs for a method.
    """
    return {
        path.stem: _whole(tomllib.loads(path.read_text(encoding="utf-8"))) for path in sorted(PRESETS.glob("*.toml"))
    }


def _whole(preset: dict[str, Any]) -> dict[str, Any]:
    extended = preset.pop("extends", None)
    if extended is None:
        return preset
    shared = tomllib.loads((PRESETS / "shared" / f"{extended}.toml").read_text(encoding="utf-8"))
    return preset | {"config": merged(shared, preset.get("config", {}))}


def resolve(method: str, preset: str | None, overrides: dict[str, Any]) -> LoopConfig:
    """A preset's settings with overrides by dotted name (`training.steps`), checked as a whole."""
    kind = config_class(method)
    settings: dict[str, Any] = {}
    if preset is not None:
        if preset not in presets():
            fitting = [name for name, one in presets().items() if method in methods_of(one)]
            raise UserMistake(f"no preset {preset!r}; for {method} there are: {', '.join(fitting)}")
        found = presets()[preset]
        if method not in methods_of(found):
            raise UserMistake(f"preset {preset!r} is for {', '.join(methods_of(found))}, not for {method}")
        settings = merged(found["config"], found.get("methods", {}).get(method, {}))
    return validated(kind, merged(settings, overrides), f"{method}{f' with preset {preset}' if preset else ''}")


def methods_of(preset: dict[str, Any]) -> tuple[str, ...]:
    """The methods that a preset is for, its own first."""
    return tuple(dict.fromkeys([preset["method"], *preset.get("methods", {})]))
