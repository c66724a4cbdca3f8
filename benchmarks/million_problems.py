"""Memory of a flow's process while many problems stream through it: `python -m benchmarks.million_problems --problems 1000000`.

Real tasks through a real Prefect server: pose, sample, verify and mix, in cells of 5,000 problems, with the scripted
engine in processes of its own. Two of three answers are right. The peak is that of the flow's process, which runs the
cells' threads, the ledger and the snapshot; children and the server are not in it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.engines.protocol import Request, Sampling

SIZES = (100_000, 1_000_000)
CELL_ROWS = 5_000
STEPS = ("pose", "sample_and_verify", "mix", "close")


def reply(request: "Request", sampling: "Sampling") -> str:
    """The right scratchpad for a sum, or for every third request one whose last digit is wrong."""
    from tasks.problems.scratchpad import work

    del sampling
    text = work(request.prompt.rstrip("="))
    return text if int(request.request_id[:8], 16) % 3 else f"{text[:-1]}{(int(text[-1]) + 1) % 10}"


def main() -> None:
    """Prints one JSON object a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, action="append", help="how many; can be given several times")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the home is made; a temporary folder if not given")
    given = parser.parse_args()
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.measure, given.folder)) + "\n")
        return
    for count in given.problems or SIZES:
        print(json.dumps({"problems": count} | measured(count, given.folder)))


def measured(count: int, folder: Path | None = None) -> dict[str, Any]:
    """`measure` in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="starloop-stream-", dir=folder) as temporary:
        command = [sys.executable, "-m", "benchmarks.million_problems", "--measure", str(count), "--folder", temporary]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])


def measure(count: int, folder: Path) -> dict[str, Any]:
    """Peak bytes of this process after each step, and the seconds of each."""
    import atexit
    import os

    from flows.cli.main import leave
    from flows.server import LocalServer, keep_quiet

    atexit.register(leave, [0])  # as the command does: before Prefect registers what waits for its threads
    keep_quiet()
    os.environ |= {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_LOGGING_LEVEL": "ERROR"}
    server = LocalServer(folder / "server.log")
    server.start()
    server.wait()
    try:
        return stream(count, folder)
    finally:
        server.stop()


def stream(count: int, folder: Path) -> dict[str, Any]:
    """One iteration up to its mix."""
    from prefect import flow

    from flows.iteration import Steps
    from flows.loop import CELLS_SIDE_BY_SIDE, Model, loop_of, runtime_of
    from flows.method_config import StarConfig
    from flows.progress import LogListener
    from storage.home import Home
    from storage.identity import digest
    from storage.ledger import Ledger

    home = Home.open(folder / "home")
    model = Model("c" * 32, digest("scripted", str(home.checkpoints / ("c" * 32))))
    config = StarConfig.model_validate({
        "problems": "addition:5-9", "problems_per_iteration": count, "cell_rows": CELL_ROWS, "iterations": 1,
        "engine": f"scripted:{__spec__.name if __spec__ else 'benchmarks.million_problems'}:reply", "sampling": {"max_tokens": 64},
    })  # fmt: skip
    found: dict[str, Any] = {}

    def passed(step: str, began: float) -> float:
        found[f"{step}_s"] = round(time.perf_counter() - began, 1)
        found[f"{step}_peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return time.perf_counter()

    @flow(name="stream", task_runner=CELLS_SIDE_BY_SIDE)
    def streamed() -> None:
        listener = LogListener()
        ledger = Ledger(home)
        with (
            runtime_of(home, listener, workers=2, threads=1) as runtime,
            loop_of("star", None, config, {}, runtime, ledger, listener) as loop,
        ):
            steps = Steps(loop)
            began = passed("start", time.perf_counter())
            problems = steps.problems(1)
            began = passed("pose", began)
            gathered = steps.sample(1, model, problems)
            began = passed("sample_and_verify", began)
            mixed = steps.mix(1, gathered)
            began = passed("mix", began)
            loop.settle()
            found["rows"] = mixed.facts["rows"]
            found["attempts"] = gathered.summary["attempts"]
        ledger.close()
        passed("close", began)

    streamed()
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found


if __name__ == "__main__":
    main()
