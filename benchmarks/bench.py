"""`make bench`: speed against plain reference scripts, in one run, on this machine, and how the ledger grows (`scale.py`).

Ratios are medians of five pairs, ours and the reference in turn, with the same model, rows, tokens, dtype and threads. The
loop's own overhead is read from the ledger of a real `addition-quick` run in a fresh home, and that of a rerun in the same home.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import gold_answers, scale, verification
from benchmarks import sampling as real_sampling
from storage.home import Home
from storage.identity import digest
from storage.lineage import Lineage
from storage.manifest import Manifest
from tasks.engines.protocol import Request, Sampling
from tasks.processes import Processes
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingResult, TrainingSpec

PAIRS = 5
WORK = ("sample", "rationalize", "answer dev", "answer test", "fine-tune", "pre-train", "verify dev", "verify test",
        "evaluate dev", "evaluate test")  # fmt: skip
"""Steps that sample, train or evaluate; everything else in a loop is overhead."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `wanted` is what it should be."""

    what: str
    ours: str
    reference: str
    result: str
    wanted: str


def main() -> None:
    """Run everything and print the table."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        home = Home.open(Path(folder) / "home")
        console.print("a fresh addition-quick run, and the same again …", style="dim")
        first_s = timed(["run", "star", "--preset", "addition-quick", "--home", str(home.root)])
        rows = overhead(home, first_s)
        again_s = timed(["run", "star", "--preset", "addition-quick", "--home", str(home.root)])
        rows.append(Row("rerun without a change", f"{again_s:.1f} s", "", f"{again_s:.1f} s", "≤ 25 s"))
        console.print("training and sampling, five pairs each …", style="dim")
        with Processes(home.logs) as processes:
            rows.append(training(home, processes, Path(folder)))
            rows += sampling(home, processes, Path(folder))
        rows += verdicts()
    console.print("sampling from a real small model (a quarter of an hour) …", style="dim")
    rows += [Row(*line) for line in real_sampling.lines()]
    table = Table("what", "starloop", "reference", "result", "wanted")
    for row in rows:
        table.add_row(row.what, row.ours, row.reference, row.result, row.wanted)
    console.print(table)
    console.print("the ledger at three sizes, and as many problems through a flow (half an hour) …", style="dim")
    console.print(scale.table(list(scale.SIZES)))


def timed(arguments: list[str]) -> float:
    """Wall seconds of a whole command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-m", "flows.cli.main", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def overhead(home: Home, first_s: float) -> list[Row]:
    """Where the loop's time went, from its ledger."""
    with Lineage.open(home, fresh=True) as lineage:
        run = lineage.runs()[0]
        iterations = lineage.iterations(run.run_id)
    wall = float(run.facts["wall_s"])
    work = sum(seconds for one in iterations for step, seconds in one.figures["seconds"].items() if step in WORK)
    startup = sum(float(one.figures["startup_s"]) for one in iterations)
    # While torch and TRL are being imported, the corpus is written; that time is startup, whatever else it is used for.
    beside_imports = min(
        float(run.facts["import_s"]), sum(iterations[0].figures["seconds"][step] for step in ("corpus", "corpus mix"))
    )
    other = wall - work - beside_imports
    startup += beside_imports
    return [
        Row("demo, whole command", f"{first_s:.0f} s", "", f"{first_s:.0f} s", "≤ 360 s"),
        Row("loop: neither sampling, training, evaluating nor startup", f"{other:.1f} of {wall:.1f} s", "", f"{other / wall:.1%}", "≤ 5 %"),
        Row("process startup inside the loop", f"{startup:.1f} s", "", f"{startup / wall:.1%}", "≤ 20 %"),
    ]  # fmt: skip


def training(home: Home, processes: Processes, folder: Path) -> Row:
    """Tokens per second of the base's pre-training, through our process and through a bare SFTTrainer."""
    rows = corpus(home)
    ours: list[float] = []
    reference: list[float] = []
    recipe = Recipe(steps=100, batch_size=64, learning_rate=1e-3, warmup_steps=10, max_length=64)
    for turn in range(PAIRS):
        spec = TrainingSpec(
            base=str(base_folder(home)), examples=paths(home, rows.examples), members=paths(home, rows.members), recipe=recipe,
            seed=turn, out=str(folder / f"out-{turn}"), work=str(folder / f"work-{turn}"), threads=2,
        )  # fmt: skip
        path = spec.write(folder / f"spec-{turn}.json")
        result = TrainingResult.of(processes.call("tasks.training.sft:run", str(path), threads=2))
        ours.append(result.tokens_seen / result.work_s)
        done = subprocess.run(
            [sys.executable, "-c", f"import json; from benchmarks.reference_sft import run; print(json.dumps(run({str(path)!r})))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        reference.append(json.loads(done.stdout.splitlines()[-1])["tokens_per_second"])
    return compared("fine-tuning, tokens/s", ours, reference, "≥ 0.95")


def sampling(home: Home, processes: Processes, folder: Path) -> list[Row]:
    """Characters per second of greedy answers, and whether they are the same."""
    with Lineage.open(home) as lineage:
        answer = lineage.query("select distinct prompt from v_attempt where not hinted order by 1", limit=1024)
    prompts = [row[0] for row in answer.rows]
    base = base_folder(home)
    spec = {"model": str(base), "prompts": prompts, "max_tokens": 40, "batch": 256, "threads": 1}
    path = folder / "generate.json"
    path.write_text(json.dumps(spec))
    ours: list[float] = []
    reference: list[float] = []
    same = 0
    with processes.engine("transformers", base, threads=1) as engine:
        requests = [Request(digest("bench", prompt), prompt) for prompt in prompts]
        greedy = Sampling(temperature=0.0, max_tokens=40)
        list(engine.generate(requests[:8], greedy))
        for _ in range(PAIRS):
            began = time.perf_counter()
            texts = {response.request_id: response.text for response in engine.generate(requests, greedy)}
            ours.append(sum(map(len, texts.values())) / (time.perf_counter() - began))
            done = subprocess.run([sys.executable, "-m", "benchmarks.reference_generate", str(path)], capture_output=True,
                                  text=True, check=True)  # fmt: skip
            plain: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            reference.append(sum(map(len, plain["texts"])) / plain["seconds"])
            same = sum(texts[r.request_id] == text for r, text in zip(requests, plain["texts"], strict=True))
    return [
        compared("sampling, characters/s (one thread, batch of the reference 256)", ours, reference, "≥ 1.0, aim 2"),
        Row("greedy texts equal to generate's", f"{same} of {len(prompts)}", "", f"{same / len(prompts):.2%}", "100 %"),
    ]


def verdicts() -> list[Row]:
    """Verdicts per second of `math` with formulas that hang among them; nothing where the public sets are not here."""
    data = gold_answers.data_folder()
    if data is None:
        return []
    found = verification.measure(data)
    what = f"math: verdicts/s by two workers, {found.hang} of {found.verdicts:,} hang"
    return [Row(what, f"{found.per_second:,.0f}", "", f"{found.misjudged} misjudged", "≥ 500")]


def compared(what: str, ours: list[float], reference: list[float], wanted: str) -> Row:
    """Medians, and the median ratio with the range of the pairs."""
    ratios = [a / b for a, b in zip(ours, reference, strict=True)]
    spread = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
    return Row(what, f"{statistics.median(ours):,.0f}", f"{statistics.median(reference):,.0f}", spread, wanted)


def base_folder(home: Home) -> Path:
    """The checkpoint of iteration 0."""
    with Lineage.open(home) as lineage:
        run = lineage.runs()[0]
        return home.checkpoints / str(lineage.iterations(run.run_id)[0].checkpoint_id)


@dataclass(frozen=True, slots=True)
class Rows:
    """A training set as a trainer reads it."""

    examples: Manifest
    members: Manifest


def corpus(home: Home) -> Rows:
    """The base's corpus mix, from the event of that step."""
    query = "select payload from event where kind = 'step_committed' and payload->>'name' = 'corpus mix' limit 1"
    with Lineage.open(home) as lineage:
        outputs = json.loads(lineage.query(query).rows[0][0])["outputs"]
    examples, members = (
        Manifest(one["table"], tuple(one["shards"]), one["rows"]) for one in (outputs["examples"], outputs["members"])
    )
    return Rows(examples, members)


def paths(home: Home, manifest: Manifest) -> tuple[str, ...]:
    return tuple(str(home.shards / manifest.table / f"{shard}.parquet") for shard in manifest.shards)


if __name__ == "__main__":
    main()
