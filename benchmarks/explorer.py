"""How long the explorer's pages take: `python -m benchmarks.explorer --attempts 1000000`, or `--home` for a ledger that is there.

Each page is asked for over HTTP within the process, first and then five times more; the first and the median are shown, and the median
of the processor time, which says the same of a machine that does other work besides.
The limits are those of the project: a first page within 1.5 s and a lineage graph within 1 s at ten million attempts.
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from starlette.testclient import TestClient

from benchmarks.synthetic_ledger import build
from storage.explorer.application import open_explorer
from storage.home import Home
from storage.ledger import Ledger

TOKEN = "benchmark"
TIMES = 5


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, help="a ledger that is there, in place of a synthetic one")
    given = parser.parse_args()
    if given.home:
        Console().print(measure(Home.existing(given.home)))
        return
    with tempfile.TemporaryDirectory(prefix="starloop-explorer-") as folder:
        home = Home.open(Path(folder) / "home")
        ledger = Ledger(home)
        build(ledger, given.attempts)
        ledger.publish(force=True)
        ledger.close()
        Console().print(measure(home))


def measure(home: Home) -> Table:
    """One row a page."""
    began = time.perf_counter()
    client = TestClient(open_explorer(home, TOKEN, 8420), base_url="http://127.0.0.1:8420")
    opened = time.perf_counter() - began
    began, busy = time.perf_counter(), time.process_time()
    front = client.get(f"/?token={TOKEN}").text
    catalogue, spent = time.perf_counter() - began, time.process_time() - busy
    attempts = int(re.search(r"<dt>attempts</dt><dd>([0-9,]+)", front)[1].replace(",", ""))  # type: ignore[index]
    table = Table("page", "first", "median", "processor", "wanted", title=f"{attempts:,} attempts")
    table.add_row("opening the snapshot", f"{opened:.2f} s", "", "", "")
    table.add_row("the first page of all, with the catalogue read", f"{catalogue:.2f} s", "", f"{spent:.2f} s", "")
    for name, address, wanted in pages(client):
        took, used = [], []
        for _ in range(1 + TIMES):
            began, busy = time.perf_counter(), time.process_time()
            answer = client.get(address)
            took.append(time.perf_counter() - began)
            used.append(time.process_time() - busy)
            assert answer.status_code == 200, (address, answer.text)
        shown = (took[0], statistics.median(took[1:]), statistics.median(used[1:]))
        table.add_row(name, *(f"{one * 1e3:,.0f} ms" for one in shown), wanted)
    return table


def pages(client: TestClient) -> list[tuple[str, str, str]]:
    """What is asked for: its name, its address, and within what time it is wanted."""

    def first(kind: str, address: str) -> str:
        return re.search(rf"/{kind}/([0-9a-f]{{32}})", client.get(address).text)[1]  # type: ignore[index]

    run = first("run", "/attempts")
    attempt, example = first("attempt", "/attempts?verdict=passed"), first("example", "/examples?origin=sampled")
    checkpoint = first("checkpoint", f"/attempt/{attempt}")
    mix, problem = first("mix", f"/example/{example}"), first("problem", f"/attempt/{attempt}")
    page, graph = "1.5 s", "1 s"
    return [
        ("attempts: all", "/attempts", page),
        ("attempts: passed", "/attempts?verdict=passed", page),
        ("attempts: a run's third iteration, rejected", f"/attempts?run={run}&iteration=3&verdict=rejected", page),
        ("attempts: a common word", "/attempts?text=42", page),
        ("attempts: a text that nothing has", "/attempts?text=nothing+says+this", page),
        ("attempts: a verdict that nothing has", "/attempts?verdict=undecided", page),
        ("attempts: a text in questions", "/attempts?text=42&within=question", page),
        ("attempts: one checkpoint's", f"/attempts?checkpoint={checkpoint}", page),
        ("attempts: the beginning of an id", f"/attempts?id={attempt[:10]}", page),
        ("examples: all", "/examples", page),
        ("examples: rationalized", "/examples?origin=rationalized", page),
        ("examples: an iteration's", f"/examples?run={run}&iteration=2", page),
        ("examples: a text that nothing has", "/examples?text=nothing+says+this", page),
        ("an attempt with its graph", f"/attempt/{attempt}", graph),
        ("an example with its graph", f"/example/{example}", graph),
        ("a checkpoint with its graph", f"/checkpoint/{checkpoint}", graph),
        ("a training set with its graph", f"/mix/{mix}", graph),
        ("a problem with its graph", f"/problem/{problem}", graph),
        ("a run's board", f"/run/{run}", page),
        ("rejected by reason", f"/rejected?run={run}", page),
        ("two iterations compared", f"/compare?run={run}", page),
        ("rationales", f"/rationales?run={run}", page),
        ("flips", "/flips", page),
        ("the SQL page", "/sql", page),
    ]


if __name__ == "__main__":
    main()
