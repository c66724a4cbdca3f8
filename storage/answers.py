"""What the ledger answers with: one frozen record a question. Ids are 32 hex digits, times UTC, durations seconds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.records import Evaluation, Example


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `state`: running, completed, failed, cancelled or stopped; `starts`: how often it was started or resumed."""

    run_id: str
    name: str
    method: str
    preset: str | None
    config: dict[str, Any]
    parent_run_id: str | None
    prefect_flow_run_id: str | None
    state: str
    starts: int
    started_at: datetime
    finished_at: datetime | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run; times in seconds."""

    step_id: str
    iteration: int
    step: str
    cell: str
    hit: bool
    startup_s: float
    work_s: float
    asked: int
    ok: int
    rejected: int
    undecided: int
    failed: int
    rows_written: int
    committed_at: datetime
    prefect_task_run_id: str | None
    cache_key: str
    key_parts: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Iteration:
    """An iteration's figures as the flow wrote them down; `figures` holds all of them."""

    iteration: int
    held_out_accuracy: float | None
    ci_low: float | None
    ci_high: float | None
    n: int | None
    attempts: int | None
    kept: int | None
    rationalized_kept: int | None
    undecided: int | None
    train_rows: int | None
    original_share: float | None
    checkpoint_id: str | None
    tasks_run: int | None
    tasks_cached: int | None
    wall_s: float | None
    finished_at: datetime
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Yield:
    """What became of an iteration's attempts at training problems, counted from the rows; hinted ones and refinements apart."""

    iteration: int
    attempts: int
    kept: int
    undecided: int
    pass_rate: float | None
    rationalized: int
    rationalized_kept: int
    rationalized_undecided: int
    failed: int
    problems: int
    problems_solved: int
    tokens: int
    refined: int = 0
    refined_kept: int = 0
    refined_undecided: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation with its place in a run."""

    iteration: int
    step: str
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Stratum:
    """A stratum's share of an evaluation; `accuracy` is weighted and leaves undecided ones out."""

    stratum: str
    n: int
    passed: int
    undecided: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Source:
    """One piece of evidence for an example in a mix: the attempt, what it answered and how it was judged.

    `passed` is None where it was undecided and where no model wrote the example.
    """

    mix_id: str
    origin: str
    problem_id: str
    question: str | None
    gold: str | None
    attempt_id: str | None
    text: str | None
    prompt_id: str | None
    prompt: str | None
    hinted: bool | None
    verdict_id: str | None
    verifier: str | None
    passed: bool | None
    reason: str | None
    checkpoint_id: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """A place in a training set; `checkpoint_id` is None until it has been trained on."""

    mix_id: str
    position: int
    role: str
    training_id: str | None
    checkpoint_id: str | None


@dataclass(frozen=True, slots=True)
class Descendant:
    """A checkpoint that has an example in its history: `depth` 0 was trained on it, 1 on what such a one wrote or from its weights."""

    checkpoint_id: str
    depth: int


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a lineage: (kind, id) stands on (to_kind, to_id). `examples`: how many of a mix it stands for."""

    mix_id: str
    depth: int
    kind: str
    id: str
    relation: str
    to_kind: str
    to_id: str
    examples: int | None


@dataclass(frozen=True, slots=True)
class ExampleLineage:
    """Everything about one example: its evidence, the links from it down to the base, and what it went into."""

    example: Example
    sources: list[Source]
    links: list[Link]
    uses: list[Use]


@dataclass(frozen=True, slots=True)
class Parent:
    """What a checkpoint was directly made from. `relation`: base, an origin (sampled, …), a derivation's role, or posed."""

    relation: str
    parent_id: str
    examples: int | None


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A checkpoint on the way down to the base; `depth` 0 is the one asked for, `rows` the size of its training set."""

    checkpoint_id: str
    depth: int
    kind: str
    source: str | None
    training_id: str | None
    mix_id: str | None
    rows: int | None
    original_rows: int | None
    parents: tuple[Parent, ...]


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A place in a checkpoint's training set; of its `sources`, one is shown. A text that was forgotten is None."""

    position: int
    example_id: str
    origin: str
    weight: float
    prompt: str | None
    completion: str | None
    sources: int
    problem_id: str | None
    attempt_id: str | None
    verdict_id: str | None
    written_by: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """What an id names."""

    kind: str
    id: str
