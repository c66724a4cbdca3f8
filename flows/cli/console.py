"""A run as it looks in a terminal: a line for every finished step, and one line that moves for the step under way."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from flows.progress import IterationDone, RunDone, StepDone
from storage.identity import show

LINE_EVERY_S = 10.0
"""Without a terminal, how often a step under way says how far it is."""


class ConsoleListener:
    """Draws a run. Use as a context; without a terminal it prints plain lines, as steps finish and while long ones go on."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeElapsedColumn(), console=console, transient=True,
        )  # fmt: skip
        self._live = Live(Group(self._progress), console=console, transient=True, refresh_per_second=8)
        self._task: Any = None
        self._cells: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._begun = self._told = time.monotonic()
        self._title = ""

    def __enter__(self) -> "ConsoleListener":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def said(self, text: str) -> None:
        self.console.print(Text(text, style="dim"))

    def step_started(self, iteration: int, title: str, cells: int) -> None:
        with self._lock:
            self._cells = {}
            self._title, self._told = f"{iteration} {title}", time.monotonic()
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(f"{iteration} {title}", total=None)

    def advance(self, step: str, done: int, total: int) -> None:
        with self._lock:
            self._cells[threading.get_ident()] = (done, total)
            done_all, total_all = (sum(counts) for counts in zip(*self._cells.values(), strict=True))
            if self._task is not None:
                self._progress.update(self._task, completed=done_all, total=total_all)
            if self.console.is_terminal or time.monotonic() - self._told < LINE_EVERY_S:
                return
            self._told = time.monotonic()
            line = f"{self._clock}  {self._title:<22} {done_all:,} of {total_all:,} so far"
        self.console.print(Text(line, style="dim"))

    def step_done(self, step: StepDone) -> None:
        with self._lock:
            if self._task is not None:
                self._progress.remove_task(self._task)
                self._task = None
        cached = "cached" if step.cached == step.cells else f"{step.seconds:.1f} s"
        if 0 < step.cached < step.cells:
            cached += f", {step.cached} of {step.cells} cells cached"
        self.console.print(
            Text.assemble(
                (f"{self._clock}  ", "dim"),
                f"{step.iteration} {step.title:<20} ",
                (f"{cached:<10} ", "cyan"),
                (step.note, "dim"),
            )
        )

    @property
    def _clock(self) -> str:
        return f"{time.monotonic() - self._begun:6.1f}"

    def iteration_done(self, iteration: IterationDone) -> None:
        summary = iteration.summary
        name = "base" if summary["iteration"] == 0 else f"iteration {summary['iteration']}"
        accuracy = percent(summary["held_out_accuracy"])
        interval = f"[{percent(summary['ci_low'])}, {percent(summary['ci_high'])}]"
        strata = "  ".join(f"{label} {percent(value)}" for label, value in summary["strata"].items())
        self.console.print(
            Text.assemble((f"        {name}: held-out {accuracy} ", "bold green"), (f"{interval}  {strata}", "dim"))
        )
        if "ranked_best" in summary:
            picked = ", ".join(f"{said} {percent(summary[f'ranked_{way}'])}" for way, said in PICKED.items())
            self.console.print(Text(f"        of {summary['ranked']['of']} sampled answers: {picked}", "dim"))
        if (mean := summary.get("mean_score")) is not None:
            self.said(f"        mean score of its held-out answers: {mean:.3f}")
        if said := summary.get("correctness"):
            self.said(f"        {said}")

    def run_done(self, run: RunDone) -> None:
        """The command itself says how it ended."""
        del run


PICKED = {
    "pass_at_1": "one at random is right",
    "majority": "the most common",
    "best": "the best ranked",
    "pass_at_k": "any",
}
"""Ways of picking one of several answers, as a person reads them."""


def percent(share: float | None) -> str:
    """A share as people read it; a dash where nothing was decided."""
    return "—" if share is None else f"{100 * share:.1f} %"


def run_table(status: Mapping[str, Any]) -> Table:
    """One run's iterations, as `status --json` gives them; 80 columns wide.

    dev: held-out accuracy with its interval; tried: attempts, hinted ones included; hinted: kept rationalizations; rows:
    trained on; orig: share of original data; run/hit: tasks run, and tasks found cached.
    """
    undecided = any(one["undecided"] for one in status["iterations"])
    table = Table(title=f"{status['method']} {status['name']}  {show('run', status['run_id'])[:12]}", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD,
                  padding=0, pad_edge=False)  # fmt: skip
    names = ["", "dev %", "95 %", "tried", "kept", "hinted", *(["undec."] if undecided else []), "rows", "orig%", "checkpoint",
             "run/hit", "sec"]  # fmt: skip
    for name in names:
        table.add_column(name, justify="left" if name in {"", "checkpoint"} else "right", no_wrap=True)
    for one in status["iterations"]:
        table.add_row(*_cells(one, undecided))
    return table


def _cells(one: Mapping[str, Any], undecided: bool) -> Sequence[str]:
    version = "" if one["mlflow_version"] is None else f" v{one['mlflow_version']}"
    return (
        "base" if one["iteration"] == 0 else str(one["iteration"]),
        "—" if one["held_out_accuracy"] is None else f"{100 * one['held_out_accuracy']:.1f}",
        f"{100 * one['ci_low']:.0f}–{100 * one['ci_high']:.0f}" if one["ci_low"] is not None else "—",
        f"{one['attempts']:,}",
        f"{one['kept']:,}",
        f"{one['rationalized_kept']:,}",
        *([f"{one['undecided']:,}"] if undecided else []),
        f"{one['train_rows']:,}",
        f"{100 * one['original_share']:.0f}",
        f"ckp_{one['checkpoint_id'][:6]}{version}",
        f"{one['tasks_run']}/{one['tasks_cached']}",
        f"{one['wall_s']:.0f}",
    )
