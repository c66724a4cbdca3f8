"""The options' tasks as plain functions on five small problems, answered by a script in a real process."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from storage.home import Home
from storage.identity import digest
from storage.manifest import Manifest, Output
from storage.records import Problem
from tasks.engines.protocol import Sampling
from tasks.pose import pose
from tasks.processes import Processes
from tasks.prompts.chat import prompt_of
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.sample import sample
from tasks.verify import verify

QUESTIONS = [{"question": f"{n}+{n}", "answer": str(2 * n)} for n in range(1, 6)]
DRAW = Sampling(temperature=1.0, max_tokens=20)
CHECKPOINT = "c" * 32


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Processes(tmp_path / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(tmp_path / "home"), processes)
        yield runtime
        runtime.close()


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    return f"jsonl:{path},question=question,gold=answer"


@pytest.fixture
def problems(runtime: Runtime, source: str) -> Manifest:
    return pose.function(source, "train", 0, 5, 2, runtime).manifests["problems"]


@pytest.fixture
def written(runtime: Runtime, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What every cell in which a script writes is called with. Answers are by question, or by whole prompt."""
    count = 0

    def by(answers: dict[str, Any], problems: Sequence[Problem] = (), template: str = "plain") -> dict[str, Any]:
        nonlocal count
        count += 1
        prompts = {one.question: prompt_of(template, one).text for one in problems}
        path = tmp_path / f"answers-{count}.json"
        path.write_text(json.dumps({prompts.get(name, name): answer for name, answer in answers.items()}))
        return {
            "engine": f"scripted:{path}",
            "checkpoint_id": CHECKPOINT,
            "weights_digest": digest("scripted", str(runtime.home.checkpoints / CHECKPOINT)),
            "template": template,
            "seed": 0,
        }

    return by


@pytest.fixture
def answer(runtime: Runtime, written: Callable[..., dict[str, Any]]) -> Callable[..., Judged]:
    """Attempts at problems with their verdicts: `answer(problems, {"1+1": ["2", "3"]}, samples=4)`."""

    def ask(
        problems: Manifest, answers: dict[str, Any], samples: int = 1, verifier: str = "exact", **changes: Any
    ) -> Judged:
        rows = runtime.shards.read(problems, Problem)
        call = written(answers, rows) | {"problems": problems, "sampling": DRAW, "first_sample": 0, "samples": samples}
        attempts = sample.function(**call | changes, runtime=runtime).manifests["attempts"]
        verdicts = verify.function(problems, attempts, verifier, runtime).manifests["verdicts"]
        return Judged("sampled", problems, attempts, verdicts)

    return ask


def rows(runtime: Runtime, output: Output, role: str, record: Any) -> list[Any]:
    """What an output holds under a role."""
    return runtime.shards.read(output.manifests[role], record)
