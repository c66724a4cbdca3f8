"""What a checkpoint's files are: the digests that its identity is made of."""

from pathlib import Path

from storage.identity import digest_bytes
from storage.weights import weights_digest

__all__ = ["WEIGHTS", "file_digests", "weights_digest"]

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
