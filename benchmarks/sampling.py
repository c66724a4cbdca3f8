"""Sampling from a real small model against plain batched `model.generate`, and llama.cpp's server beside it:
`python -m benchmarks.sampling`.

SmolLM2-135M-Instruct in float32 on two threads answers questions of GSM8K's test set, four samples each at temperature 0.7:
after the seven worked examples of our `gsm8k` prompts, and without any. Ours and the reference take turns; both have the model
open and warm before the clock starts, and may write `TOKENS` tokens a text. Tokens are counted up to the end of a text.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import llama_server
from benchmarks.gold_answers import data_folder
from benchmarks.real_model import INSTALL, gguf_file
from storage.home import Home
from storage.identity import digest
from tasks.dequantised import dequantise
from tasks.engines.protocol import Request, Sampling
from tasks.problems import gsm8k
from tasks.processes import Processes
from tasks.prompts.render import render

EXAMPLES, NONE = "7-shot", "no examples"
QUESTIONS = {EXAMPLES: 12, NONE: 32}
"""Both sides write all texts of these at once: 48 and 128 rows."""
SAMPLES = 4
TOKENS = 128
TEMPERATURE = 0.7
PAIRS = 3
THREADS = 2


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second, pair by pair. `equal` greedy texts of `compared` are token by token those of `generate`."""

    what: str
    ours: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    equal: int = 0
    compared: int = 0

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.reference, strict=True)]


def prompts_of(data: Path) -> dict[str, list[str]]:
    """The same questions with and without worked examples before them."""
    problems = gsm8k.load(f"data={data}").take("test", 0, max(QUESTIONS.values()))
    return {
        EXAMPLES: [render("gsm8k", problem).text for problem in problems[: QUESTIONS[EXAMPLES]]],
        NONE: [f"Question: {problem.question}\nSolution:" for problem in problems[: QUESTIONS[NONE]]],
    }


def measure(data: Path, file: Path, folder: Path, pairs: int = PAIRS) -> list[Speed]:
    """Both kinds of prompts, through our engine and through `generate`."""
    model = folder / "model"
    dequantise(str(file), str(model))
    found: list[Speed] = []
    with Processes(Home.open(folder / "home").logs) as processes:
        for what, prompts in prompts_of(data).items():
            asked = [
                Request(digest("bench", prompt, sample), prompt) for prompt in prompts for sample in range(SAMPLES)
            ]
            speed: dict[str, list[float]] = {"ours": [], "theirs": []}
            with processes.engine("transformers:device=cpu", model, threads=THREADS) as engine:
                list(engine.generate(asked[:SAMPLES], Sampling(TEMPERATURE, 4)))
                for _ in range(pairs):
                    began = time.perf_counter()
                    written = sum(one.tokens for one in engine.generate(asked, Sampling(TEMPERATURE, TOKENS)))
                    speed["ours"].append(written / (time.perf_counter() - began))
                    plain = generated(model, prompts, folder, temperature=TEMPERATURE, samples=SAMPLES)
                    speed["theirs"].append(sum(map(len, plain["tokens"])) / plain["seconds"])
                greedy = {one.request_id: one for one in engine.generate(asked[::SAMPLES], Sampling(0.0, TOKENS))}
            plain = generated(model, prompts, folder)
            equal = sum(
                (greedy[request.request_id].text.strip(), greedy[request.request_id].tokens) == (text, len(tokens))
                for request, text, tokens in zip(asked[::SAMPLES], plain["texts"], plain["tokens"], strict=True)
            )
            found.append(Speed(what, speed["ours"], speed["theirs"], equal, len(prompts)))
    return found


def generated(model: Path, prompts: Sequence[str], folder: Path, **how: Any) -> dict[str, Any]:
    """What plain `generate` makes of the prompts, all in one batch, in a process of its own."""
    path = folder / "generate.json"
    spec = {"model": str(model), "prompts": prompts, "max_tokens": TOKENS, "batch": len(prompts), "threads": THREADS}
    path.write_text(json.dumps(spec | how))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reference_generate", str(path)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def lines(pairs: int = PAIRS) -> list[tuple[str, str, str, str, str]]:
    """Rows of the table: what, ours, the reference, the result, what is wanted."""
    data, file = data_folder(), gguf_file()
    if data is None:
        return [("sampling from SmolLM2", "", "", "the public sets are not here; set STARLOOP_DATA_DIR", "")]
    if file is None:
        return [("sampling from SmolLM2", "", "", f"not installed: {INSTALL}", "")]
    wanted = {EXAMPLES: "≥ 3x, aim 5", NONE: "≥ 1.3x"}
    table: list[tuple[str, str, str, str, str]] = []
    with tempfile.TemporaryDirectory(prefix="starloop-sampling-") as folder:
        for speed in measure(data, file, Path(folder), pairs):
            ours, theirs = statistics.median(speed.ours), statistics.median(speed.reference)
            ratio = f"{statistics.median(speed.ratios):.2f}x ({min(speed.ratios):.2f}-{max(speed.ratios):.2f})"
            what = f"SmolLM2-135M, K={SAMPLES}, {speed.what}"
            table.append((f"{what}: tokens/s", f"{ours:,.0f}", f"{theirs:,.0f}", ratio, wanted[speed.what]))
            table.append(
                (
                    f"{what}: greedy texts equal to generate's",
                    f"{speed.equal} of {speed.compared}",
                    "",
                    f"{speed.equal / speed.compared:.0%}",
                    "100 %",
                )
            )
        for what, prompts in prompts_of(data).items():
            found = llama_server.tokens_per_second(file, prompts, SAMPLES, TOKENS, TEMPERATURE, THREADS, Path(folder))
            said = llama_server.MISSING if found is None else "4-bit weights"
            table.append(
                (
                    f"llama.cpp's server, same GGUF, {what}: tokens/s",
                    "",
                    "" if found is None else f"{found:,.0f}",
                    said,
                    "",
                )
            )
    return table  # fmt: skip


def main() -> None:
    """Print it."""
    for line in lines():
        print(" | ".join(filter(None, line)))


if __name__ == "__main__":
    main()
