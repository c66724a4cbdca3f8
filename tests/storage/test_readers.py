"""Readers and writers side by side: two flows share a home, and somebody keeps the snapshot open all the while."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from storage.home import Home
from storage.ledger import Ledger

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}

FLOW = """
import json, sys, time
from pathlib import Path
from small_loop import Story, attempt, problem, verdict
from storage.home import Home
from storage.ledger import Ledger
from storage.manifest import Accounting

name, rounds = sys.argv[2], int(sys.argv[3])
home = Home(Path(sys.argv[1]))
ledger = Ledger(home)
story = Story(home, ledger, run_id=ledger.start_run(name, "star", None, {}))
print("started", flush=True)
begun, steps, waits, published = time.monotonic(), 0, [], []
for _ in range(rounds):
    asked = [problem(1000 * steps + number) for number in range(50)]
    made = [attempt(one, name, story.run_id, sample=steps) for one in asked]
    story.step(steps, "sample", Accounting(50, 50), problems=tuple(asked), attempts=tuple(row for _, row in made),
               prompts=tuple(prompt for prompt, _ in made))
    story.step(steps, "verify", Accounting(50, 50), verdicts=tuple(verdict(row, True) for _, row in made))
    steps += 2
    clock = time.monotonic()
    story.commit()
    waits.append(time.monotonic() - clock)
    clock = time.monotonic()
    if ledger.publish():
        published.append(time.monotonic() - clock)
    time.sleep(0.05)
elapsed = time.monotonic() - begun
ledger.finish_run(story.run_id, "completed", {})
ledger.publish(force=True)
print(json.dumps({"elapsed": elapsed, "published": published, "longest_wait": max(waits)}))
"""

READER = """
import duckdb, json, sys, time
from pathlib import Path
ledger = duckdb.connect(sys.argv[1], read_only=True)
print("reading", flush=True)
counts, longest = set(), 0.0
while not Path(sys.argv[2]).exists():
    clock = time.monotonic()
    counts.add(ledger.sql("select count(*) from v_attempt").fetchall()[0][0])
    longest = max(longest, time.monotonic() - clock)
    time.sleep(0.02)
print(json.dumps({"counts": sorted(counts), "longest": longest}))
"""


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs the script, once it has said that it has begun."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    child = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() in {"started", "reading"}, child.communicate()[1]
    return child


def ended(child: subprocess.Popen[str]) -> dict:
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def test_a_reader_keeps_its_snapshot_through_two_flows_and_nobody_waits_or_fails(home: Home, ledger: Ledger):
    ledger.start_run("before", "star", None, {})
    ledger.publish(force=True)
    ledger.close()
    stop = home.root / "stop"
    reader = started(READER, home.lineage_db, stop)
    flows = [started(FLOW, home.root, name, 12) for name in ("one", "two")]
    told = [ended(flow) for flow in flows]
    stop.touch()
    read = ended(reader)
    assert read["counts"] == [0]  # what it opened, from the first look to the last
    assert read["longest"] < 10
    for flow in told:
        assert flow["longest_wait"] < 10
        # A publication is paid for by the fifty times as long pause after it, which the last one still owes.
        assert sum(flow["published"][:-1]) <= 0.02 * flow["elapsed"]
    with duckdb.connect(str(home.lineage_db), read_only=True) as after:
        steps = after.sql("select run, count(*) from v_step group by run order by run").fetchall()
        assert steps == [("one", 24), ("two", 24)]
        assert after.sql("select count(*) from v_attempt").fetchall() == [(1200,)]
