"""What a checkpoint's files are: the digests that its identity is made of."""

from storage.checkpoints import WEIGHTS, file_digests
from storage.weights import weights_digest

__all__ = ["WEIGHTS", "file_digests", "weights_digest"]
