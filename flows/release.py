"""A checkpoint as a folder that a model hub takes: safetensors, tokenizer, a card from the ledger, and how to make it again.

    release(home, told, checkpoint, Path("out"))         # out/README.md  config.json  model.safetensors  tokenizer.json  starloop.json

Nothing is uploaded. An adapter is released as an adapter on its base's name, or with `merged` as whole weights. Not covered: GGUF, for
which there is no maintained converter among Python packages; llama.cpp's own script takes the folder as it is.
"""

import json
import shutil
from pathlib import Path

from flows.meant import meant
from flows.progress import Listener
from storage.checkpoints import checkpoint_fault
from storage.errors import StorageFault, UserMistake
from storage.export.model_card import card_of
from storage.home import Home, sync_folder, writing
from storage.identity import show
from storage.lineage import Lineage
from tasks.processes import Processes

TAKEN = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")
"""What of a checkpoint's folder is released: never code, never a pickle."""


def release(
    home: Home, told: Listener, text: str, out: Path, *, merged: bool = False, licence: str | None = None, name: str = ""
) -> Path:  # fmt: skip
    """Write the folder, whole or not at all. Raises UserMistake where something is there, or the checkpoint is not what was recorded."""
    folder = out.absolute()
    if folder.exists():
        raise UserMistake(f"{out} is there already; name a folder that is not")
    making = folder.with_name(f".{folder.name}.tmp")
    with Lineage.open(home, fresh=True) as lineage:
        checkpoint = lineage.checkpoint(meant(lineage, text).checkpoint_id)
        if fault := checkpoint_fault(home, checkpoint.checkpoint_id, checkpoint.files):
            raise StorageFault(fault)
        if merged and checkpoint.kind != "adapter":
            raise UserMistake(
                f"{show('ckp', checkpoint.checkpoint_id)[:12]} holds whole weights, so there is nothing to merge; leave --merged out"
            )
        card = card_of(lineage, checkpoint.checkpoint_id, title=name or folder.name, licence=licence, merged=merged)
    source = home.checkpoints / checkpoint.checkpoint_id
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(making, ignore_errors=True)
    if merged:
        told.said("the adapter is put into its base")
        with Processes(home.logs, preload=("engine",)) as processes:
            processes.call(
                "tasks.training.merged:merge",
                str(source),
                str(home.checkpoints / str(checkpoint.parent_id)),
                str(making),
            )
    with writing(folder):
        making.mkdir(exist_ok=True)
        if not merged:
            for path in sorted(source.iterdir()):
                if path.is_file() and path.suffix in TAKEN:
                    shutil.copyfile(path, making / path.name)
        if checkpoint.kind == "adapter" and not merged:
            _name_base(making / "adapter_config.json", card.base_name or f"ckp_{checkpoint.parent_id}")
        (making / "README.md").write_text(card.text(), encoding="utf-8")
        (making / "starloop.json").write_text(card.document(), encoding="utf-8")
        making.rename(folder)
        sync_folder(folder.parent)
    return folder


def _name_base(path: Path, base: str) -> None:
    """An adapter's configuration with the name of its base, where a path of this machine would mean nothing."""
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"base_model_name_or_path": base}, indent=2, sort_keys=True), encoding="utf-8")
