"""A ledger of any size, written through the real shards and the real ledger: what `benchmarks.scale` measures on.

Iterations are of one size whatever the ledger's: 222,000 attempts at 27,750 problems (8 each, in cells of 4,096 problems),
every hundredth of them rationalized, a verdict on each, 11 % of them kept; so ten million attempts are 45 iterations of
five runs, a million examples and 50 checkpoints. A tenth of the kept texts repeats an example that an earlier iteration
was trained on. Texts are words of a Zipf vocabulary with numbers among them, 200 characters and more; ids are random.
"""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.manifest import Accounting, Manifest, Output

SAMPLES = 8
CELL_PROBLEMS = 4_096
ITERATION_ATTEMPTS = 222_208
RUNS = 5
ITERATIONS = 9
KEPT = 0.11
AGAIN = 0.1
HINTED = 0.01
DEV_PROBLEMS = 500
CORPUS_ROWS = 20_000

_WORDS = 5_000
_SAMPLING = '{"max_tokens":256,"stop":[],"temperature":1.0,"top_k":0,"top_p":1.0}'


@dataclass
class Synthetic:
    """What was written: the ids that questions are asked about, and what the ledger took for it."""

    ledger: Ledger
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    rows: int = 0
    attempts: int = 0
    examples: int = 0
    characters: int = 0
    ingest_s: float = 0.0
    slowest_commit_s: float = 0.0
    runs: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    commits: list[StepCommit] = field(default_factory=list)
    earlier: tuple[bytes, pa.Array] | None = None

    def __post_init__(self) -> None:
        self.shards = self.ledger.shards
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        draw = random.Random(0)
        words = {"".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(2 * _WORDS)}
        self._words = pa.array(sorted(words)[:_WORDS] + [str(number) for number in range(1000)])
        weights = 1 / np.arange(1, _WORDS + 1)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._order = self.generator.permutation(_WORDS)

    def texts(self, count: int, words: int) -> pa.Array:
        """Texts of so many words each, every fifth of them a number."""
        chosen = self._order[
            np.searchsorted(self._cumulative, self.generator.random((count, words))).clip(0, _WORDS - 1)
        ]
        chosen[:, ::5] = _WORDS + self.generator.integers(0, 1000, (count, len(range(0, words, 5))))
        lists = pa.ListArray.from_arrays(
            np.arange(0, count * words + 1, words, dtype=np.int32), self._words.take(pa.array(chosen.ravel()))
        )
        return pc.binary_join(lists, " ")

    def ids(self, count: int) -> bytes:
        return self.generator.bytes(16 * count)

    def write(self, table: str, **columns: object) -> Manifest:
        manifest = self.shards.write_columns(table, pa.table(columns))
        self.rows += manifest.rows
        return manifest

    def step(
        self,
        iteration: int,
        name: str,
        cell: int,
        accounting: Accounting,
        inputs: dict[str, Manifest],
        **outputs: Manifest,
    ) -> None:
        key = digest("key", len(self.runs), iteration, name, cell)
        parts = {
            "task": name,
            "arguments": {"iteration": iteration, "cell": cell},
            "code": digest(name),
            "ingredients": {},
        }
        self.commits.append(
            StepCommit(self.runs[-1], iteration, name, f"{iteration} {name} {cell}", key, parts, False, None, 0.1, 1.0,
                       inputs, Output(outputs, accounting, {"tokens": accounting.asked}))
        )  # fmt: skip

    def commit(self) -> None:
        """What a loop does at the end of each step."""
        began = time.perf_counter()
        self.ledger.commit_steps(self.commits)
        took = time.perf_counter() - began
        self.ingest_s += took
        self.slowest_commit_s = max(self.slowest_commit_s, took)
        self.commits = []


def build(ledger: Ledger, attempts: int) -> Synthetic:
    """Writes and commits a ledger of so many attempts (and those at held-out problems)."""
    made = Synthetic(ledger)
    while made.attempts < attempts:
        made.runs.append(
            ledger.start_run(f"synthetic {len(made.runs)}", "star", None, {}, run_id=digest("run", len(made.runs)))
        )
        base = model = _corpus(made)
        _evaluate(made, 0, model)
        for iteration in range(1, ITERATIONS + 1):
            model = _iterate(made, iteration, base, model, min(ITERATION_ATTEMPTS, attempts - made.attempts))
            _evaluate(made, iteration, model)
            ledger.record(
                "iteration_finished", {"run_id": made.runs[-1], "iteration": iteration, "checkpoint_id": model}
            )
            if made.attempts >= attempts:
                break
        ledger.finish_run(made.runs[-1], "completed")
    return made


def _iterate(made: Synthetic, iteration: int, base: str, model: str, attempts: int) -> str:
    problems = -(-attempts // SAMPLES)
    cells = [
        _problems(made, iteration, cell, size, "train", "problems")
        for cell, size in enumerate(_sizes(problems, CELL_PROBLEMS))
    ]
    made.commit()
    sampled = [_attempts(made, iteration, "sample", cell, ids, model, SAMPLES) for cell, ids in enumerate(cells)]
    made.commit()
    passed = [_verdicts(made, iteration, "verify", cell, one) for cell, one in enumerate(sampled)]
    made.commit()
    hinted = [_attempts(made, iteration, "rationalize", cell, ids[: 16 * int(len(ids) // 16 * SAMPLES * HINTED)], model, 1, one)
              for cell, (ids, one) in enumerate(zip(cells, sampled, strict=True))]  # fmt: skip
    made.commit()
    mended = [_verdicts(made, iteration, "verify rationalized", cell, one) for cell, one in enumerate(hinted)]
    made.commit()
    mix_id = _mix(made, iteration, [*passed, *mended])
    return _train(made, iteration, base, mix_id)


@dataclass(frozen=True)
class _Cell:
    """Attempts that were written: ids, problems, texts; and which of them passed, with what verdict."""

    attempts: bytes
    problems: bytes
    texts: pa.Array
    manifest: Manifest
    origin: str = "sampled"
    passed: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    verdicts: bytes = b""


def _problems(made: Synthetic, iteration: int, cell: int, count: int, split: str, name: str) -> bytes:
    ids = made.ids(count)
    manifest = made.write(
        "problem", problem_id=_column(ids), source=_same("synthetic", count), split=_same(split, count), question=made.texts(count, 18),
        gold=pa.array(np.arange(count).astype(str)), rationale=pa.nulls(count, pa.string()), stratum=_same("1 digit", count),
        weight=np.ones(count), info=_same("{}", count), licence=_same("CC0-1.0", count), source_attempt_id=pa.nulls(count, pa.binary(16)),
    )  # fmt: skip
    made.step(iteration, name, cell, Accounting(count, count), {}, problems=manifest)
    return ids


def _attempts(
    made: Synthetic,
    iteration: int,
    name: str,
    cell: int,
    problems: bytes,
    model: str,
    samples: int,
    parents: _Cell | None = None,
) -> _Cell:
    count = len(problems) // 16
    prompts, total = made.ids(count), count * samples
    ids, texts = made.ids(total), made.texts(total, 40)
    hinted = parents is not None
    asked, prompted = _repeated(problems, samples), _repeated(prompts, samples)
    made.characters += pc.sum(pc.utf8_length(texts)).as_py() or 0
    made.attempts += total
    outputs = {
        "attempts": made.write(
            "attempt", attempt_id=_column(ids), request_id=_column(made.ids(total)), problem_id=_column(asked), prompt_id=_column(prompted),
            checkpoint_id=_column(bytes.fromhex(model) * total), engine=_same("transformers float32", total), sampling=_same(_SAMPLING, total),
            sample_index=np.arange(total) % samples, seed=np.zeros(total, np.int64), text=texts, finish_reason=_same("stop", total),
            prompt_tokens=made.generator.integers(20, 90, total), tokens=made.generator.integers(40, 200, total),
            logprob=made.generator.normal(-40, 10, total), error=pa.nulls(total, pa.string()),
        ),
        "prompts": made.write(
            "prompt", prompt_id=_column(prompts), text=made.texts(count, 24), template=_same("plain", count),
            template_digest=_column(bytes.fromhex(digest("template")) * count), hinted=pa.array([hinted]).take(pa.array(np.zeros(count, np.int8))),
        ),
    }  # fmt: skip
    if parents is not None:
        made_from = b"".join(parents.attempts[128 * n : 128 * n + 16] for n in range(count))
        outputs["derivations"] = made.write(
            "derivation", child_id=_column(ids), parent_id=_column(made_from), role=_same("rationalizes", count)
        )
    made.step(iteration, name, cell, Accounting(total, total), {}, **outputs)
    return _Cell(ids, asked, texts, outputs["attempts"], "rationalized" if hinted else "sampled")


def _verdicts(made: Synthetic, iteration: int, name: str, cell: int, judged: _Cell) -> _Cell:
    count = len(judged.attempts) // 16
    ids, passed = made.ids(count), made.generator.random(count) < KEPT
    manifest = made.write(
        "verdict", verdict_id=_column(ids), attempt_id=_column(judged.attempts), verifier=_same("math", count),
        verifier_digest=_column(bytes.fromhex(digest("math")) * count), aspect=_same("", count), passed=pa.array(passed),
        score=pa.nulls(count, pa.float64()), answer=pa.array(made.generator.integers(0, 1000, count).astype(str)), reason=pa.nulls(count, pa.string()),
    )  # fmt: skip
    right = int(passed.sum())
    made.step(
        iteration, name, cell, Accounting(count, right, count - right), {"attempts": judged.manifest}, verdicts=manifest
    )
    return _Cell(judged.attempts, judged.problems, judged.texts, judged.manifest, judged.origin, passed, ids)


def _mix(made: Synthetic, iteration: int, cells: list[_Cell]) -> str:
    """The kept attempts' texts as examples; the first tenth of them is what an earlier mix was trained on too."""
    rows = [
        (
            cell.attempts[16 * n : 16 * n + 16],
            cell.problems[16 * n : 16 * n + 16],
            cell.verdicts[16 * n : 16 * n + 16],
            cell.origin,
        )
        for cell in cells
        for n in np.flatnonzero(cell.passed).tolist()
    ]
    count = len(rows)
    texts = pa.concat_arrays([cell.texts.filter(pa.array(cell.passed)) for cell in cells])
    ids, again = made.ids(count), 0
    if made.earlier is not None:
        again = min(int(count * AGAIN), len(made.earlier[1]))
        ids = made.earlier[0][: 16 * again] + ids[16 * again :]
        texts = pa.concat_arrays([made.earlier[1].slice(0, again), texts.slice(again)])
    made.examples += count - again
    made.earlier = ids[16 * again :], texts.slice(again)
    origins = pa.array([row[3] for row in rows])
    return _commit_mix(
        made, iteration, "mix", ids, texts, origins,
        made.write(
            "example_evidence", example_id=_column(ids), problem_id=_column(b"".join(row[1] for row in rows)), origin=origins,
            attempt_id=_column(b"".join(row[0] for row in rows)), verdict_id=_column(b"".join(row[2] for row in rows)),
            evidence_id=_column(made.ids(count)),
        ),
    )  # fmt: skip


def _corpus(made: Synthetic) -> str:
    """A base, trained on worked examples."""
    problems = _problems(made, 0, 0, CORPUS_ROWS, "train", "corpus")
    examples, origins = made.ids(CORPUS_ROWS), _same("corpus", CORPUS_ROWS)
    evidence = made.write(
        "example_evidence", example_id=_column(examples), problem_id=_column(problems), origin=origins,
        attempt_id=pa.nulls(CORPUS_ROWS, pa.binary(16)), verdict_id=pa.nulls(CORPUS_ROWS, pa.binary(16)), evidence_id=_column(made.ids(CORPUS_ROWS)),
    )  # fmt: skip
    mix_id = _commit_mix(made, 0, "corpus mix", examples, made.texts(CORPUS_ROWS, 40), origins, evidence)
    return _train(made, 0, None, mix_id)


def _commit_mix(
    made: Synthetic, iteration: int, name: str, examples: bytes, texts: pa.Array, origins: pa.Array, evidence: Manifest
) -> str:
    count = len(texts)
    mix_id, order = digest("mix", len(made.runs), iteration), made.generator.permutation(count)
    original = pc.sum(pc.equal(origins, "corpus")).as_py()
    shuffled = _column(examples).take(pa.array(order))
    made.step(
        iteration, name, 0, Accounting(count, count), {}, evidence=evidence,
        examples=made.write("example", example_id=_column(examples), prompt=made.texts(count, 24), completion=texts),
        members=made.write("mix_member", mix_id=_column(bytes.fromhex(mix_id) * count), position=np.arange(count), example_id=shuffled,
                           role=origins.take(pa.array(order)), pair=pa.nulls(count, pa.int64()), weight=np.ones(count)),
        mix=made.write("mix", mix_id=_column(bytes.fromhex(mix_id)), rows=[count], original_rows=[original], generated_rows=[count - original]),
    )  # fmt: skip
    made.commit()
    return mix_id


def _train(made: Synthetic, iteration: int, base: str | None, mix_id: str) -> str:
    training_id, checkpoint_id = digest("training", mix_id), digest("checkpoint", mix_id)
    made.checkpoints.append(checkpoint_id)
    none, own = pa.nulls(1, pa.binary(16)), _column(bytes.fromhex(training_id))
    parent = _column(bytes.fromhex(base)) if base else none
    made.step(
        iteration, "fine-tune", 0, Accounting(1, 1), {},
        training=made.write("training", training_id=own, base_checkpoint_id=parent, mix_id=_column(bytes.fromhex(mix_id)), recipe=["{}"], seed=[0],
                            trainer_digest=_column(bytes.fromhex(digest("trainer"))), steps=[100], rows_seen=[6400], tokens_seen=[640_000],
                            tokens_trained=[320_000], final_loss=[0.5]),
        checkpoint=made.write("checkpoint", checkpoint_id=_column(bytes.fromhex(checkpoint_id)), kind=["full"],
                              weights_digest=_column(bytes.fromhex(digest(checkpoint_id))), files=[json.dumps({})], parent_id=parent, training_id=own,
                              source=pa.nulls(1, pa.string())),
    )  # fmt: skip
    made.commit()
    return checkpoint_id


def _evaluate(made: Synthetic, iteration: int, model: str) -> None:
    problems = _problems(made, iteration, 0, DEV_PROBLEMS, "dev", "dev problems")
    before = made.attempts
    answered = _verdicts(
        made, iteration, "verify dev", 0, _attempts(made, iteration, "answer dev", 0, problems, model, 1)
    )
    made.attempts = before  # held-out answers come on top
    evaluation_id, count, right = digest("evaluation", model), DEV_PROBLEMS, int(answered.passed.sum())
    made.step(
        iteration, "evaluate dev", 0, Accounting(count, right, count - right), {},
        evaluation=made.write(
            "evaluation", evaluation_id=_column(bytes.fromhex(evaluation_id)), checkpoint_id=_column(bytes.fromhex(model)), source=["synthetic"],
            split=["dev"], engine=["transformers float32"], sampling=[_SAMPLING], verifier=["math"],
            verifier_digest=_column(bytes.fromhex(digest("math"))), n=[count], passed=[right], undecided=[0], accuracy=[right / count], ci_low=[0.0], ci_high=[1.0],
        ),
        items=made.write("evaluation_item", evaluation_id=_column(bytes.fromhex(evaluation_id) * count), problem_id=_column(problems),
                         attempt_id=_column(answered.attempts), verdict_id=_column(answered.verdicts)),
    )  # fmt: skip
    made.commit()


def _sizes(total: int, largest: int) -> Iterator[int]:
    for start in range(0, total, largest):
        yield min(largest, total - start)


def _column(data: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(16), len(data) // 16, [None, pa.py_buffer(data)])


def _repeated(ids: bytes, times: int) -> bytes:
    return np.repeat(np.frombuffer(ids, "V16"), times).tobytes()


def _same(value: str, count: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(count, np.int8)))
