"""What the tests' children do."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from storage.errors import UserMistake


def add(left: int, right: int) -> dict[str, int]:
    sys.stdout.write("said on standard output\n")
    return {"sum": left + right, "pid": os.getpid(), "zygote": os.getppid()}


def timed() -> dict[str, float]:
    return {"startup_s": 0.0, "work_s": 1.0}


def count(up_to: int, progress) -> dict[str, int]:
    for number in range(up_to):
        progress({"step": number})
    return {"counted": up_to}


def refuse() -> dict[str, int]:
    raise UserMistake("no verifier 'maths'; this checkout has: choice, math")


def break_down() -> dict[str, int]:
    raise ZeroDivisionError("a mistake of ours")


def end_itself(signal: int) -> dict[str, int]:
    sys.stderr.write("the last thing it said\n")
    os.kill(os.getpid(), signal)
    time.sleep(60)
    return {}


def sleep(pid_file: str) -> dict[str, int]:
    """Starts a process of its own, writes down both ids, and sleeps."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with open(pid_file + ".tmp", "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {os.getppid()} {other.pid}")
    os.rename(pid_file + ".tmp", pid_file)
    time.sleep(60)
    return {}


def reply(request, sampling) -> str:
    """A scripted engine's answer."""
    if request.prompt == "die":
        os._exit(3)
    return request.prompt[::-1]


def descriptors() -> dict[str, list[str]]:
    """What this process holds open."""
    return {
        "open": [
            os.readlink(f"/proc/self/fd/{number}")
            for number in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{number}")
        ]
    }


def out_of_ink_at_first(request, _):
    """A scripted engine's answers: the first prompt of five fails once; every other request says how often it was asked."""
    seen = Path(tempfile.gettempdir()) / f"starloop-asked-{request.request_id}"
    first = not seen.exists()
    seen.touch()
    if first and request.prompt.startswith("1+1"):
        raise RuntimeError("out of ink")
    return "the first time" if first else "the second time"


def surroundings() -> dict[str, Any]:
    return {"word": os.environ["STARLOOP_TEST_WORD"], "folder": os.getcwd(), "torch": "torch" in sys.modules}
