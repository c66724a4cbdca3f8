"""Tree search against plain samples at equal generated tokens, and many trees at a time against one:

    starloop run rest_mcts --preset addition-mcts --home mcts
    python -m benchmarks.search --home mcts                     # add --write to put the tables into docs/methods/rest-mcts.md

The policy is the base of that run, and the value model the one that guided its last search. Every tree has its own budget: what it
generated for a problem is what samples of the same problem generate, to the nearest whole sample. From these samples the most
frequent answer is taken (self-consistency), the one that the value model likes best (best of N), or the answer with the largest sum of
values. Tokens that are only read, by the value model too, are not generated and are told apart.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.star_tables import replaced
from flows.method_config import RestMctsConfig
from flows.refs import refs_of
from flows.searching import search_of
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage
from storage.records import Attempt, Problem
from storage.significance import wilson
from tasks.engines.protocol import Sampling
from tasks.forest import LOOKED_AT, Forest, Growing, Search, after, value_of
from tasks.generation import Asked, Model, generate
from tasks.problems.registry import load as load_problems
from tasks.processes import Processes
from tasks.prompts.chat import prompt_of
from tasks.runtime import Runtime
from tasks.tree import best_of, by_summed_value
from tasks.verifiers.judging import judge
from tasks.verifiers.protocol import Verifier
from tasks.verifiers.registry import load as load_verifier

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "rest-mcts.md"
BUDGETS = {
    "3 branches, 6 rounds": (3, 6),
    "3 branches, 50 rounds": (3, 50),
    "6 branches, 50 rounds": (6, 50),
    "12 branches, 50 rounds": (12, 50),
}
"""What a tree may use: steps that are drawn after a node, and rounds."""
SAMPLES = 32
"""Samples of each problem that budgets are filled from."""
PROBLEMS = 200
ALONE = 8
"""Trees that are grown one at a time."""
THREADS = 2
HELD_OUT = ("dev", "test", "also")
"""The last words of steps that only measure."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How many of a number of problems a way of answering got right, at so many generated tokens a problem."""

    way: str
    budget: str
    right: int
    of: int
    tokens: float


@dataclass(frozen=True, slots=True)
class Speeds:
    """Generated tokens a second: many trees at a time, and one at a time."""

    trees: int
    together: float
    alone: float


class Bench:
    """A run's base, its last value model and its problems, in a home of the benchmark's own."""

    def __init__(self, run: Run, policy: Model, value: Model, count: int, runtime: Runtime) -> None:
        config = RestMctsConfig.model_validate(run.config)
        self.config, self.how = config, search_of(config)
        self.policy, self.value, self.runtime = policy, value, runtime
        self.verifier: Verifier = load_verifier(refs_of(config).verifier)
        self.problems = load_problems(config.problems).take("dev", 0, count)
        self.prompts = [prompt_of(refs_of(config).template, problem, chat=None) for problem in self.problems]

    def trees(self, how: Search, count: int | None = None, first: int = 0) -> list[Growing]:
        """Trees of the problems from `first`, grown."""
        chosen = slice(first, None if count is None else first + count)
        forest = Forest(self.problems[chosen], self.prompts[chosen], self.policy, self.value, how, 0, self.runtime)
        forest.grow()
        return forest.trees

    def samples(self) -> list[list[Attempt]]:
        """`SAMPLES` samples of every problem, in one call."""
        asked = [
            Asked(problem, prompt, index)
            for problem, prompt in zip(self.problems, self.prompts, strict=True)
            for index in range(SAMPLES)
        ]
        written = generate(asked, self.policy, Sampling(**self.config.sampling.model_dump()), 0, "sample", self.runtime)
        return [written[place : place + SAMPLES] for place in range(0, len(written), SAMPLES)]

    def greedy(self) -> list[Attempt]:
        asked = [Asked(problem, prompt, 0) for problem, prompt in zip(self.problems, self.prompts, strict=True)]
        limit = self.config.sampling.max_tokens
        return generate(asked, self.policy, Sampling(temperature=0.0, max_tokens=limit), 0, "answer", self.runtime)

    def values(self, samples: Sequence[Sequence[Attempt]]) -> list[list[float]]:
        """What the value model says of whole samples."""
        asked = [
            Asked(problem, after(prompt, one.text), 0)
            for problem, prompt, of_one in zip(self.problems, self.prompts, samples, strict=True)
            for one in of_one
        ]
        read = generate(asked, self.value, LOOKED_AT, 0, "value", self.runtime)
        worth = [value_of(one)[0] for one in read]
        return [worth[place : place + SAMPLES] for place in range(0, len(worth), SAMPLES)]

    def judged(self, problem: Problem, text: str) -> tuple[bool, str | None]:
        """Whether it is right, and what it answers."""
        attempt: Any = _Text(text)
        said = judge(self.verifier, attempt, problem)[0]
        return said.passed is True, said.answer


@dataclass(frozen=True, slots=True)
class _Text:
    """What a verifier looks at of an attempt."""

    text: str
    finish_reason: str = "stop"
    error: str | None = None
    attempt_id: str = ""


def compare(bench: Bench) -> list[Answered]:
    """Every way of answering, for each budget."""
    found: list[Answered] = []
    greedy = bench.greedy()
    right = sum(bench.judged(p, one.text)[0] for p, one in zip(bench.problems, greedy, strict=True))
    found.append(Answered("greedy", "", right, len(greedy), statistics.mean(one.tokens or 0 for one in greedy)))
    samples = bench.samples()
    values = bench.values(samples)
    judged = [[bench.judged(p, one.text) for one in of_one] for p, of_one in zip(bench.problems, samples, strict=True)]
    for name, (branch, rounds) in BUDGETS.items():
        trees = bench.trees(replace(bench.how, rule=replace(bench.how.rule, branch=branch, rounds=rounds)))
        budgets = [one.tokens for one in trees]
        picked = {"MCTS*, best leaf": [_best_leaf(bench, one) for one in trees],
                  "MCTS*, summed value": [_summed(bench, one) for one in trees]}  # fmt: skip
        kept = [_within(of_one, budget) for of_one, budget in zip(samples, budgets, strict=True)]
        used = statistics.mean(
            sum(one.tokens or 0 for one in of_one[:count]) for of_one, count in zip(samples, kept, strict=True)
        )
        plain = {
            "self-consistency": _majority,
            "best of N by value": _most_valued,
            "summed value of N": _summed_samples,
        }
        for way, outcome in picked.items():
            found.append(Answered(way, name, sum(outcome), len(outcome), statistics.mean(budgets)))
        for way, pick in plain.items():
            hits = sum(
                pick(verdicts[:count], worth[:count])
                for verdicts, worth, count in zip(judged, values, kept, strict=True)
            )
            found.append(Answered(way, name, hits, len(kept), used))
    return found


def speeds(bench: Bench) -> Speeds:
    """Trees grown together, and the first of them one by one; both with the engines open and warm."""
    bench.trees(bench.how, 2)
    began = time.perf_counter()
    together = sum(one.tokens for one in bench.trees(bench.how))
    fast = together / (time.perf_counter() - began)
    began = time.perf_counter()
    alone = sum(bench.trees(bench.how, 1, place)[0].tokens for place in range(ALONE))
    return Speeds(len(bench.problems), fast, alone / (time.perf_counter() - began))


def _best_leaf(bench: Bench, one: Growing) -> bool:
    leaf = best_of(one.tree.finished())
    return leaf is not None and bench.judged(one.problem, leaf.solution)[0]


def _summed(bench: Bench, one: Growing) -> bool:
    leaves = one.tree.finished()
    judged = [bench.judged(one.problem, leaf.solution) for leaf in leaves]
    chosen = by_summed_value([leaf.value for leaf in leaves], [answer for _, answer in judged])
    return chosen is not None and judged[chosen][0]


def _within(samples: Sequence[Attempt], budget: int) -> int:
    """How many of the samples come nearest to the budget, one at least."""
    count, spent = 1, samples[0].tokens or 0
    while count < len(samples) and spent + (samples[count].tokens or 0) / 2 <= budget:
        spent += samples[count].tokens or 0
        count += 1
    return count


def _majority(judged: Sequence[tuple[bool, str | None]], values: Sequence[float]) -> bool:
    del values
    answers = Counter(answer for _, answer in judged if answer is not None)
    if not answers:
        return False
    chosen = answers.most_common(1)[0][0]
    return next(right for right, answer in judged if answer == chosen)


def _most_valued(judged: Sequence[tuple[bool, str | None]], values: Sequence[float]) -> bool:
    return judged[max(range(len(values)), key=lambda place: values[place])][0]


def _summed_samples(judged: Sequence[tuple[bool, str | None]], values: Sequence[float]) -> bool:
    chosen = by_summed_value(values, [answer for _, answer in judged])
    return chosen is not None and judged[chosen][0]


@contextmanager
def opened(home: Home, count: int) -> Any:
    """The newest finished ReST-MCTS* run of a home, as a bench."""
    with Lineage.open(home, fresh=True) as lineage:
        runs = [
            run
            for run in lineage.runs()
            if run.method == "rest_mcts" and run.state == "completed" and not run.config["arms"]
        ]
        run = runs[0]
        iterations = lineage.iterations(run.run_id)
        base = lineage.checkpoint(str(iterations[0].checkpoint_id))
        fitted = lineage.rows(
            "select distinct value_checkpoint_id, iteration from v_node where run_id = ? and value_checkpoint_id is not null "
            "order by iteration desc limit 1", [run.run_id],
        )  # fmt: skip
        value = lineage.checkpoint(fitted[0][0])
        with (
            tempfile.TemporaryDirectory(prefix="starloop-search-") as folder,
            Processes(Path(folder) / "logs") as processes,
        ):
            own = Home.open(Path(folder) / "home")
            if own.checkpoints.is_dir():
                own.checkpoints.rmdir()
            os.symlink(home.checkpoints, own.checkpoints)
            runtime = Runtime(own, processes, workers=1, threads=THREADS)
            try:
                config = RestMctsConfig.model_validate(run.config)
                yield Bench(
                    run,
                    Model(config.engine, base.checkpoint_id, base.weights_digest),
                    Model(config.value.engine, value.checkpoint_id, value.weights_digest),
                    count, runtime,
                )  # fmt: skip
            finally:
                runtime.close()


def table(found: Sequence[Answered]) -> str:
    """The comparison as Markdown: a row a way, a column a budget."""
    greedy = found[0]
    lines = [
        f"| {greedy.of} dev problems; accuracy (generated tokens a problem) | "
        + " | ".join(BUDGETS) + " |",
        "| --- |" + " --- |" * len(BUDGETS),
    ]  # fmt: skip
    for way in dict.fromkeys(one.way for one in found[1:]):
        cells = [one for one in found if one.way == way]
        lines.append(f"| {way} | " + " | ".join(f"{one.right / one.of:.1%} ({one.tokens:.0f})" for one in cells) + " |")
    interval = wilson(greedy.right / greedy.of, greedy.of)
    half = (
        ""
        if interval is None
        else f"; an interval of 95 % at that size is up to ± {50 * (interval.high - interval.low):.0f} points wide"
    )
    lines.append("")
    lines.append(f"Greedy, one answer: {greedy.right / greedy.of:.1%} ({greedy.tokens:.0f} tokens){half}.")
    return "\n".join(lines)


def speed_line(measured: Speeds) -> str:
    return (
        f"{measured.trees} trees at a time: {measured.together:,.0f} generated tokens/s; one at a time: {measured.alone:,.0f}; "
        f"**{measured.together / measured.alone:.1f}x**."
    )


def loops(home: Home) -> str:
    """Every finished loop of the home beside the others, as Markdown: accuracy, what was gained and lost, tokens and seconds."""
    lines = [
        "| method, problems an iteration | dev, base and each iteration | test, base → final | dev problems gained, lost | "
        "generated tokens an iteration | seconds an iteration |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with Lineage.open(home, fresh=True) as lineage:
        runs = [run for run in lineage.runs() if run.state == "completed" and not run.config["arms"]]
        for run in sorted(runs, key=lambda run: (run.method, run.started_at)):
            done = lineage.iterations(run.run_id)
            dev = " ".join(f"{one.held_out_accuracy:.1%}" for one in done if one.held_out_accuracy is not None)
            gained, lost = lineage.rows(
                "select count(*) filter (where change = 'gained'), count(*) filter (where change = 'lost') "
                "from v_item_change where run_id = ? and split = 'dev'", [run.run_id],
            )[0]  # fmt: skip
            count = max(one.iteration for one in done)
            own = [
                step for step in run.facts["steps"] if step["iteration"] and step["step"].split()[-1] not in HELD_OUT
            ]
            tokens, seconds = (sum(step[name] for step in own) / count for name in ("tokens", "seconds"))
            test = f"{run.facts['base_accuracy']:.1%} → {run.facts['final_accuracy']:.1%}"
            what = f"{run.method}, {run.config['problems_per_iteration']}"
            lines.append(f"| {what} | {dev} | {test} | +{gained} −{lost} | {tokens:,.0f} | {seconds:.0f} |")
    return "\n".join(lines)


def inside_the_trees(home: Home) -> str:
    """What the trees of the newest ReST-MCTS* run came to, iteration by iteration."""
    lines = [
        "| iteration | trees | nodes | generated tokens | trees with a right solution | right by best leaf | right by summed value | "
        "right among all solutions | value loss |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with Lineage.open(home, fresh=True) as lineage:
        run = next(run for run in lineage.runs() if run.method == "rest_mcts" and run.state == "completed")
        for one in lineage.iterations(run.run_id):
            if not one.iteration:
                continue
            got = one.figures
            trees = int(str(got["trees"]))
            share = {name: int(str(got[name])) / trees for name in ("any_right", "best_right", "summed_right")}
            lines.append(
                f"| {one.iteration} | {trees} | {int(str(got['nodes'])) / trees:.0f} | {int(str(got['sampled_tokens'])) / trees:.0f} | "
                f"{share['any_right']:.0%} | {share['best_right']:.0%} | {share['summed_right']:.0%} | {got['train_accuracy']:.0%} | "
                f"{got['value_loss']:.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and with --write put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the home of a finished rest_mcts run")
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument(
        "--write", action="store_true", help="replace the measured sections of docs/methods/rest-mcts.md"
    )
    given = parser.parse_args()
    given.home = Home.existing(given.home)
    with opened(given.home, given.problems) as bench:
        measured = speed_line(speeds(bench))
        compared = table(compare(bench))
    told = f"{inside_the_trees(given.home)}\n\n{loops(given.home)}"
    print(f"{compared}\n\n{measured}\n\n{told}")
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        for name, section in (("search", compared), ("speed", measured), ("loop", told)):
            text = replaced(text, name, section)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
