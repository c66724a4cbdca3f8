"""What a model's weights are, whatever files they lie in: a digest over the tensors, not over the bytes of a file.

    >>> weights_digest(Path("checkpoints/9b1c…"))
    '5f0c2b1e…'                                        # 32 hex digits

Sharding, the order of tensors in a file and the files' metadata do not matter; names, dtypes, shapes and values do.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from storage.errors import UserMistake
from storage.identity import digest

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int


def weights_digest(folder: Path | str) -> str:
    """32 hex digits for all tensors in the folder's safetensors files.

    Raises UserMistake when there are none, or when a file is not what the format says.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise UserMistake(f"no weights in {folder}: it holds no .safetensors file")
    tensors = sorted((tensor for file in files for tensor in _tensors(file)), key=lambda tensor: tensor.name)
    return digest("weights", [[tensor.name, tensor.dtype, list(tensor.shape), _content(tensor)] for tensor in tensors])


def _tensors(file: Path) -> list[_Tensor]:
    """The header of a safetensors file: its length (8 bytes, little endian), then JSON with offsets into the rest."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        tensors = [
            _Tensor(name, entry["dtype"], tuple(entry["shape"]), file, 8 + length + entry["data_offsets"][0],
                    entry["data_offsets"][1] - entry["data_offsets"][0])
            for name, entry in header.items()
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        raise UserMistake(f"{file} is no safetensors file ({error})") from error
    if any(tensor.start + tensor.size > file.stat().st_size for tensor in tensors):
        raise UserMistake(f"{file} is cut off: its header promises more bytes than there are")
    return tensors


def _content(tensor: _Tensor) -> str:
    content = hashlib.blake2b(digest_size=16)
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        left = tensor.size
        while left and (block := stream.read(min(left, _BLOCK))):
            content.update(block)
            left -= len(block)
    return content.hexdigest()
