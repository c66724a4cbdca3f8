"""Where a model's files are: a folder, the hub's snapshot of a name, and for an adapter also its base."""

import json
from pathlib import Path
from typing import Any

from storage.errors import UserMistake

ADAPTER = "adapter_config.json"
"""The file by which peft's adapter folders are known."""


def folder_of(model: Path | str) -> Path:
    """The folder of a model: itself, or the hub's snapshot of `name@revision`."""
    if isinstance(model, Path) or Path(model).is_dir():
        if not any((Path(model) / name).is_file() for name in ("config.json", ADAPTER)):
            raise UserMistake(f"{model} is no model folder: it has neither config.json nor {ADAPTER}")
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as mistake:
        reason = str(mistake).splitlines()[0]
        raise UserMistake(f"no model {model!r}: it is no folder here, and the hub says: {reason}") from mistake


def base_of(folder: Path) -> Path:
    """The folder itself, or for an adapter that of its base: beside it if it is there, else where the adapter says.

    Raises UserMistake when it is nowhere.
    """
    if not (folder / ADAPTER).is_file():
        return folder
    named, revision = _base_named(folder)
    for place in (folder.parent / Path(named).name, Path(named)):
        if (place / "config.json").is_file():
            return place
    if not Path(named).is_absolute() and named.count("/") == 1:
        try:
            return folder_of(f"{named}@{revision}" if revision else named)
        except UserMistake as mistake:
            raise UserMistake(f"the adapter {folder} needs its base, and there is {mistake}") from mistake
    raise UserMistake(
        f"the adapter {folder} was trained on {named}, which is neither beside it nor a folder; put it back"
    )


def _base_named(folder: Path) -> tuple[str, str]:
    """The base's folder or name, and its revision (or nothing), as the adapter says."""
    try:
        said: dict[str, Any] = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        return str(said["base_model_name_or_path"]), str(said.get("revision") or "")
    except (OSError, ValueError, KeyError, TypeError) as mistake:
        raise UserMistake(
            f"{folder / ADAPTER} does not say which base the adapter was trained on (base_model_name_or_path)"
        ) from mistake
