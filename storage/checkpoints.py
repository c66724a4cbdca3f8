"""A checkpoint's folder against the digests that its row in the ledger holds.

    checkpoints/9b1c…/config.json  tokenizer.json  model.safetensors
    files = {"config.json": "77aa…", "tokenizer.json": "0c1d…", "weights": "5f0c…"}

The weights stand as one entry, by tensor content, however many files they lie in.
"""

import json
from pathlib import Path

from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest_bytes, show
from storage.weights import weights_digest

WEIGHTS = "weights"
"""The name under which all safetensors files stand together, however many there are."""


def file_digests(folder: Path) -> dict[str, str]:
    """Each file's digest by name; the weights as one entry, by tensor content, and without their index."""
    digests = {
        path.name: digest_bytes(path.read_bytes())
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix != ".safetensors" and not path.name.endswith(".safetensors.index.json")
    }
    return digests | {WEIGHTS: weights_digest(folder)}


def checkpoint_fault(home: Home, checkpoint_id: str, files: str) -> str | None:
    """What is wrong with a checkpoint's folder, in a sentence; None where nothing is, or where no files are recorded."""
    recorded: dict[str, str] = json.loads(files)
    if not recorded:
        return None
    folder, name = home.checkpoints / checkpoint_id, f"checkpoint {show('ckp', checkpoint_id)}"
    if not folder.is_dir():
        return f"{name} has no folder; run again what made it, or drop its run with `starloop gc --drop`"
    again = f"remove {folder} and run again what made it"
    try:
        found = file_digests(folder)
    except (UserMistake, OSError) as fault:
        return f"{name} cannot be read ({fault}); {again}"
    if missing := sorted(recorded.keys() - found.keys()):
        return f"{name} lacks {', '.join(missing)}; {again}"
    if changed := sorted(file for file in recorded if found[file] != recorded[file]):
        return f"{name} holds {', '.join(changed)} with other content than was recorded; {again}"
    return None
