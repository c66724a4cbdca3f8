"""What came of calling the command: once, and of the run that was left alone. Kept between processes, so it has a module."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.faults.comparison import Rows
from tests.faults.trace import Trace


@dataclass(frozen=True, slots=True)
class Sitting:
    """One call of the command: what it said, how it ended, and which points it reached."""

    done: subprocess.CompletedProcess[str]
    trace: Trace
    seconds: float

    @property
    def sentence(self) -> str:
        """What was said on standard error."""
        return self.done.stderr.strip()


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The run as it should come out."""

    home: Path
    sitting: Sitting
    rows: Rows
    told: Rows
