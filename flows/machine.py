"""What this machine has for a run: cores, and how many engines may work side by side."""

import os
import subprocess
from pathlib import Path

from storage.errors import UserMistake

FEWEST_CELLS = 4
"""Cells beside each other at least: while one waits for its engine, another reads, verifies or writes."""


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether an NVIDIA driver is here; without importing anything that would open the device."""
    return Path("/dev/nvidiactl").exists()


def has_bfloat16() -> bool:
    """Whether every GPU here computes in bfloat16 (compute capability 8 and up); asks the driver, and opens no device."""
    if not has_gpu():
        return False
    asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout.split()
        return bool(said) and min(float(one) for one in said) >= 8
    except (OSError, ValueError, subprocess.SubprocessError):
        return False


def workers() -> int:
    """Engines side by side: STARLOOP_WORKERS, else one on a GPU and one a core without. Raises UserMistake for no number."""
    said = os.environ.get("STARLOOP_WORKERS", "")
    if not said:
        return 1 if has_gpu() else usable_cores()
    if not said.isascii() or not said.isdigit() or not int(said):
        raise UserMistake(f"STARLOOP_WORKERS={said!r} does not fit; give a number of engines from 1 up, or unset it")
    return int(said)


def cells_side_by_side() -> int:
    """Threads for cells, so that no worker and no core waits for one. A STARLOOP_WORKERS that does not fit is told later."""
    try:
        return max(FEWEST_CELLS, usable_cores(), workers())
    except UserMistake:
        return FEWEST_CELLS
