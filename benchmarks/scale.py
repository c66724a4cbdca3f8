"""How the ledger grows: `python -m benchmarks.scale --attempts 10000000`, or as a part of `make bench` at three sizes.

A synthetic ledger of each size, written and taken in as a flow does it, asked, published, rebuilt, and asked again in
SQLite; and as many problems through a real flow (up to a million: `benchmarks.million_problems`). Each measurement has a
process of its own, so that its peak memory is its own.

SQLite is the faster where a few rows are looked up by id, which it does from its indexes in well under a millisecond. DuckDB
takes in and counts faster, and needs a third of the space; and one file of it is what every reader of Arrow and Parquet can attach.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import million_problems, sqlite_ledger
from benchmarks.sqlite_ledger import SqliteLedger
from benchmarks.synthetic_ledger import Synthetic, build
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.query import snapshot_cursor
from storage.snapshot import STORED

SIZES = (100_000, 1_000_000, 10_000_000)
MOST_PROBLEMS = 1_000_000
TIMES = 5
"""How often each question is asked; the median counts."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a key of the measurements, what it is, how it is shown, and what is wanted."""

    key: str
    what: str
    show: Callable[[Any], str]
    wanted: str = ""


def seconds(value: float) -> str:
    return f"{value * 1e3:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def many(value: float) -> str:
    return f"{value:,.0f}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


LINES = (
    Line("rows", "rows taken in (attempts, verdicts, …)", many),
    Line("characters", "characters an attempt", many, "≥ 200"),
    Line("ingest", "ingest, rows/s", many, "≥ 200,000"),
    Line("slowest_commit", "longest that a step's commit took", seconds),
    Line("peak", "peak memory while ingesting", megabytes, "< 1 GB"),
    Line("parquet", "Parquet", megabytes),
    Line("ratio", "database / Parquet", lambda value: f"{value:.2f}", "≤ 1.7"),
    Line("publish", "publishing the snapshot", seconds, "≤ 2 % of a run"),
    Line("ancestry", "checkpoint → its whole ancestry", seconds, "≤ 1.5 s"),
    Line("downstream", "example → everything downstream", seconds, "≤ 0.2 s"),
    Line("sources", "example → attempts, verdicts, prompts, problems", seconds),
    Line("attempt", "one attempt by its id", seconds),
    Line("training_set", "a checkpoint's training set, with its texts", seconds),
    Line("yields", "pass rates of a run's iterations, from the rows", seconds),
    Line("parents", "who wrote every training set, from the rows", seconds),
    Line("rebuild", "rebuild from shards and events, rows/s", many),
    Line("flow_peak", "a flow's peak memory, as many problems pose → mix", megabytes, "< 1 GB"),
    Line("flow_s", "its time, with the scripted engine", seconds),
    Line("sqlite_load", "SQLite: loading, rows/s (indexes after it)", many),
    Line("sqlite_ratio", "SQLite: database / Parquet", lambda value: f"{value:.2f}"),
    *(
        Line(f"sqlite_{key}", f"SQLite: {what}", seconds)
        for key, what in (
            ("ancestry", "checkpoint → its whole ancestry"), ("downstream", "example → everything downstream"),
            ("sources", "example → attempts, verdicts, …"), ("attempt", "one attempt by its id"),
            ("training_set", "a checkpoint's training set"), ("yields", "pass rates of a run's iterations"),
            ("parents", "who wrote every training set"),
        )
    ),
)  # fmt: skip


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, action="append", help="a size; can be given several times")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the ledgers are made; a temporary folder if not given")
    parser.add_argument("--no-sqlite", action="store_true", help="measure DuckDB only")
    given = parser.parse_args()
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.measure, given.folder, sqlite=not given.no_sqlite)) + "\n")
        return
    Console().print(table(given.attempts or list(SIZES), given.folder, sqlite=not given.no_sqlite))


def table(sizes: list[int], folder: Path | None = None, *, sqlite: bool = True) -> Table:
    """One column a size."""
    found = [measured(size, folder, sqlite=sqlite) for size in sizes]
    for size, one in zip(sizes, found, strict=True):
        if size <= MOST_PROBLEMS:
            flow = million_problems.measured(size, folder)
            one |= {"flow_peak": flow["peak"], "flow_s": sum(flow[f"{step}_s"] for step in million_problems.STEPS)}
    shown = Table("what", *(f"{size:,} attempts" for size in sizes), "wanted")
    for line in LINES:
        if any(line.key in one for one in found):
            shown.add_row(
                line.what, *(line.show(one[line.key]) if line.key in one else "—" for one in found), line.wanted
            )
    return shown


def measured(size: int, folder: Path | None, *, sqlite: bool) -> dict[str, Any]:
    """`measure` in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="starloop-scale-", dir=folder) as temporary:
        command = [sys.executable, "-m", "benchmarks.scale", "--measure", str(size), "--folder", temporary]
        done = subprocess.run(
            [*command, *([] if sqlite else ["--no-sqlite"])], stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])


def measure(size: int, folder: Path, *, sqlite: bool) -> dict[str, Any]:
    """Everything about a ledger of this size."""
    home = Home.open(folder / "home")
    ledger = Ledger(home)
    made = build(ledger, size)
    found: dict[str, Any] = {
        "rows": made.rows,
        "characters": made.characters / made.attempts,
        "ingest": made.rows / made.ingest_s,
        "slowest_commit": made.slowest_commit_s,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    found["publish"] = clocked(lambda: ledger.publish(force=True))
    found["parquet"] = sum(file.stat().st_size for file in home.shards.rglob("*.parquet"))
    found["ratio"] = home.lineage_db.stat().st_size / found["parquet"]
    found |= asked(home, made)
    with ledger.writer() as connection:
        counts = counted(connection)
        found["parents"] = clocked(lambda: [connection.execute(f"from {view}").fetchall() for view in STORED])
    if sqlite:
        with Lineage.open(home) as lineage:
            found |= beside(home, folder, made, lineage, found["parquet"])
    found["rebuild"] = made.rows / clocked(ledger.rebuild)
    with ledger.writer() as connection:
        assert counted(connection) == counts, "a rebuilt ledger has other rows"
    ledger.close()
    return found


def asked(home: Home, made: Synthetic) -> dict[str, float]:
    """Seconds a question takes on the snapshot."""
    with Lineage.open(home) as lineage:
        example, attempt, last = subjects(lineage, made)
        run = made.runs[0]
        found = {
            "ancestry": median(lambda: lineage.checkpoint_ancestry(last)),
            "downstream": median(lambda: lineage.example_descendants(example)),
            "sources": median(lambda: lineage.example_lineage(example)),
            "attempt": median(lambda: lineage.query(f"select * from attempt where attempt_id = '{attempt}'")),
            "training_set": median(lambda: lineage.training_set(last)),
            "yields": clocked(lambda: lineage.yields(run)),
        }
        assert len(lineage.checkpoint_ancestry(last)) == 1 + sum(
            step.step == "mix" for step in lineage.steps(made.runs[-1])
        )
    return found


def beside(home: Home, folder: Path, made: Synthetic, lineage: Lineage, parquet: int) -> dict[str, float]:
    """The same in SQLite, and that it gives the same answers."""
    example, attempt, last = subjects(lineage, made)
    other = SqliteLedger(folder / "ledger.sqlite", home, snapshot_cursor(home))
    questions = {
        "ancestry": (sqlite_ledger.ANCESTRY, last), "downstream": (sqlite_ledger.DOWNSTREAM, example), "sources": (sqlite_ledger.SOURCES, example),
        "attempt": (sqlite_ledger.ATTEMPT, attempt), "training_set": (sqlite_ledger.TRAINING_SET, last),
    }  # fmt: skip
    found = {f"sqlite_{name}": median(partial(other.ask, *question)) for name, question in questions.items()}
    found["sqlite_yields"] = clocked(lambda: other.ask(sqlite_ledger.YIELDS, made.runs[0]))
    assert {(row[0].hex(), row[1]) for row in other.ask(*questions["ancestry"])} == {
        (one.checkpoint_id, one.depth) for one in lineage.checkpoint_ancestry(last)
    }
    assert {(row[0].hex(), row[1]) for row in other.ask(*questions["downstream"])} == {
        (one.checkpoint_id, one.depth) for one in lineage.example_descendants(example)
    }
    assert len(other.ask(*questions["sources"])) == len(lineage.example_lineage(example).sources)
    assert len(other.ask(*questions["training_set"])) == len(lineage.training_set(last))
    assert [row[1:] for row in other.ask(sqlite_ledger.YIELDS, made.runs[0])] == [
        (one.attempts, one.kept, one.tokens) for one in lineage.yields(made.runs[0]) if one.attempts
    ]
    return found | {
        "sqlite_load": made.rows / (other.load_s + other.index_s),
        "sqlite_ratio": other.file.stat().st_size / parquet,
        "sqlite_parents": other.store_s,
    }


def subjects(lineage: Lineage, made: Synthetic) -> tuple[str, str, str]:
    """An example of the first iteration, one of its attempts, and the last checkpoint."""
    row = lineage.query(
        "select example_id, attempt_id from example_evidence where origin = 'sampled' order by 1 limit 1"
    ).rows[0]
    return row[0].hex, row[1].hex, made.checkpoints[-1]


def counted(connection: Any) -> list[tuple[Any, ...]]:
    """The number of rows of every table, and a sum over their ids' hashes."""
    tables = (
        "problem",
        "prompt",
        "attempt",
        "verdict",
        "example",
        "example_evidence",
        "mix_member",
        "member",
        "step",
        "event",
    )
    return [
        connection.execute(f"select count(*), sum(hash(columns(*))) from {table}").fetchall()[0] for table in tables
    ]


def clocked(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(work: Callable[[], object]) -> float:
    return statistics.median(clocked(work) for _ in range(TIMES))


if __name__ == "__main__":
    main()
