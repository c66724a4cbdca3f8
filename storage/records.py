"""The rows of the ledger, one frozen record a table, and how each gets its id from its content.

Content tables hold no run, time or duration: the same work done twice is the same row. What happened when, and in
which run, stands in `run`, `step` and `event`, which are made from the event files.

Types map to columns: ids (fields named `*_id` or in `ID_FIELDS`) are UUIDs, held here as 32 hex digits; JSON
values are held as canonical JSON text.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from storage.identity import canonical_json, content_id
from storage.nodes import Node


@dataclass(frozen=True, slots=True)
class Problem:
    """One task with its gold answer. `rationale` is the worked solution that came with it, if one did.

    `stratum` groups problems in reports (digits, level, subject); `weight` is its weight in an accuracy, so that strata of
    unequal size can count equally. `info` is JSON for the verifier and the templates (choices, tests, hint).
    """

    TABLE: ClassVar[str] = "problem"
    problem_id: str
    source: str
    split: str
    question: str
    gold: str | None
    rationale: str | None = None
    stratum: str = ""
    weight: float = 1.0
    info: str = "{}"
    licence: str = ""
    source_attempt_id: str | None = None

    @classmethod
    def of(
        cls,
        source: str,
        split: str,
        question: str,
        gold: str | None,
        *,
        info: dict[str, object] | None = None,
        rationale: str | None = None,
        stratum: str = "",
        weight: float = 1.0,
        licence: str = "",
        source_attempt_id: str | None = None,
    ) -> Self:
        """A problem under its content id: everything that it is, its split, stratum and weight among it."""
        text = canonical_json(info or {})
        identity = content_id(
            "problem", source=source, split=split, question=question, gold=gold, rationale=rationale, stratum=stratum,
            weight=weight, info=text,
        )  # fmt: skip
        return cls(
            identity, source, split, question, gold, rationale, stratum, weight, text, licence, source_attempt_id
        )


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt, exactly as the model reads it. `hinted`: the template showed the gold answer."""

    TABLE: ClassVar[str] = "prompt"
    prompt_id: str
    text: str
    template: str
    template_digest: str
    hinted: bool

    @classmethod
    def of(cls, text: str, template: str, template_digest: str, hinted: bool) -> Self:
        identity = content_id("prompt", text=text, template=template, template_digest=template_digest, hinted=hinted)
        return cls(identity, text, template, template_digest, hinted)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One generation, kept whether it was right, wrong or failed.

    `finish_reason`: stop, length, or failed (`text` then holds what came, `error` why). `tokens` and
    `prompt_tokens` count model tokens (None where a server did not tell); `logprob` is the sum over generated tokens in nats at the sampling temperature
    (None where an engine does not tell it). `sampling` is canonical JSON.
    """

    TABLE: ClassVar[str] = "attempt"
    attempt_id: str
    request_id: str
    problem_id: str
    prompt_id: str
    checkpoint_id: str
    engine: str
    sampling: str
    sample_index: int
    seed: int
    text: str
    finish_reason: str
    prompt_tokens: int | None
    tokens: int | None
    logprob: float | None = None
    error: str | None = None

    @staticmethod
    def request(
        problem_id: str, prompt_text: str, checkpoint_id: str, engine: str, sampling: str, sample_index: int, seed: int
    ) -> str:
        """The id of the request: what seeds its randomness and finds work already done.

        `engine` names the engine with its dtype and quantisation.
        """
        return content_id(
            "request",
            problem=problem_id,
            prompt=prompt_text,
            model=checkpoint_id,
            engine=engine,
            sampling=sampling,
            sample_index=sample_index,
            seed=seed,
        )

    @staticmethod
    def identity(request_id: str, engine: str, text: str, finish_reason: str) -> str:
        """`engine` is the whole name with the version of its code: the same words by another version are another attempt."""
        return content_id("attempt", request=request_id, engine=engine, text=text, finish_reason=finish_reason)


@dataclass(frozen=True, slots=True)
class Derivation:
    """That one attempt was made from another: a rationalization from the failure it repairs, a refinement from its candidates; or from
    a problem that was shown to its writer as an example (role `seed`).
    """

    TABLE: ClassVar[str] = "derivation"
    child_id: str
    parent_id: str
    role: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's word on one attempt. `passed` None is undecided, with its reason: never wrong and never right."""

    TABLE: ClassVar[str] = "verdict"
    verdict_id: str
    attempt_id: str
    verifier: str
    verifier_digest: str
    aspect: str
    passed: bool | None
    score: float | None
    answer: str | None
    reason: str | None

    @classmethod
    def of(
        cls,
        attempt_id: str,
        verifier: str,
        verifier_digest: str,
        passed: bool | None,
        *,
        aspect: str = "",
        score: float | None = None,
        answer: str | None = None,
        reason: str | None = None,
    ) -> Self:
        identity = content_id(
            "verdict",
            attempt=attempt_id,
            verifier=verifier,
            digest=verifier_digest,
            aspect=aspect,
            passed=passed,
            score=score,
            answer=answer,
            reason=reason,
        )
        return cls(identity, attempt_id, verifier, verifier_digest, aspect, passed, score, answer, reason)


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: the prompt as trained on (no hint) and the completion that carries the loss."""

    TABLE: ClassVar[str] = "example"
    example_id: str
    prompt: str
    completion: str

    @classmethod
    def of(cls, prompt: str, completion: str) -> Self:
        return cls(content_id("example", prompt=prompt, completion=completion), prompt, completion)


@dataclass(frozen=True, slots=True)
class ExampleEvidence:
    """Where an example came from: `origin` is sampled, rationalized, refined, original, corpus or imported.

    `attempt_id` and `verdict_id` are None for examples that no model wrote. `evidence_id` is made from the rest; by
    it, a mix knows which evidence was its own and which was found later for the same text.
    """

    TABLE: ClassVar[str] = "example_evidence"
    example_id: str
    problem_id: str
    origin: str
    attempt_id: str | None = None
    verdict_id: str | None = None
    evidence_id: str = ""

    def __post_init__(self) -> None:
        if not self.evidence_id:
            identity = content_id(
                "evidence",
                example=self.example_id,
                problem=self.problem_id,
                origin=self.origin,
                attempt=self.attempt_id,
                verdict=self.verdict_id,
            )
            object.__setattr__(self, "evidence_id", identity)


@dataclass(frozen=True, slots=True)
class Mix:
    """A training set: its id is the digest of its ordered members with weights and roles."""

    TABLE: ClassVar[str] = "mix"
    mix_id: str
    rows: int
    original_rows: int
    generated_rows: int


@dataclass(frozen=True, slots=True)
class MixMember:
    """One place in a training set. `role`: sampled, rationalized, refined, original, corpus, or (for pairs) chosen, rejected.

    `pair` numbers preference pairs; None outside them.
    """

    TABLE: ClassVar[str] = "mix_member"
    mix_id: str
    position: int
    example_id: str
    role: str
    pair: int | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Training:
    """One fine-tuning as it was asked for and what it really saw.

    `recipe` and `environment` are canonical JSON; `tokens_trained` counts tokens that carried loss, over all steps.
    """

    TABLE: ClassVar[str] = "training"
    training_id: str
    base_checkpoint_id: str | None
    mix_id: str
    recipe: str
    seed: int
    trainer_digest: str
    steps: int
    rows_seen: int
    tokens_seen: int
    tokens_trained: int
    final_loss: float | None

    @staticmethod
    def identity(base_checkpoint_id: str | None, mix_id: str, recipe: str, seed: int, trainer_digest: str) -> str:
        return content_id(
            "training", base=base_checkpoint_id, mix=mix_id, recipe=recipe, seed=seed, trainer=trainer_digest
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights with what is needed to use them. `kind`: full, adapter, value (it reads and writes nothing) or external; `source`: a
    ref for models taken from outside.

    `files` is canonical JSON, file name to digest. The folder is `checkpoints/<checkpoint_id>` under home;
    an external one, which wrote imported attempts and was never here, has neither.
    """

    TABLE: ClassVar[str] = "checkpoint"
    checkpoint_id: str
    kind: str
    weights_digest: str
    files: str
    parent_id: str | None
    training_id: str | None
    source: str | None = None

    @staticmethod
    def identity(files: dict[str, str], base_checkpoint_id: str | None) -> str:
        """The digest of weights, config, tokenizer, chat template and generation config; for adapters also the base."""
        return content_id("checkpoint", files=files, base=base_checkpoint_id)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A checkpoint scored on a split. `accuracy` is weighted by the problems' weights and leaves undecided ones out.

    `ci_low` and `ci_high`: Wilson 95 % interval at the effective sample size (sum w)^2 / sum w^2.
    """

    TABLE: ClassVar[str] = "evaluation"
    evaluation_id: str
    checkpoint_id: str
    source: str
    split: str
    engine: str
    sampling: str
    verifier: str
    verifier_digest: str
    n: int
    passed: int
    undecided: int
    accuracy: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True)
class EvaluationItem:
    """One problem's outcome in an evaluation."""

    TABLE: ClassVar[str] = "evaluation_item"
    evaluation_id: str
    problem_id: str
    attempt_id: str
    verdict_id: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """That something was forgotten: an id or a digest, never a text.

    `kind`: the table of a row that is gone (problem, prompt, attempt, verdict, example), or what tasks must not take
    up again: request, source, question, or text (an answer to a question); see `storage.tombstones`.
    """

    TABLE: ClassVar[str] = "tombstone"
    tombstone_id: str
    kind: str


Record = (
    Problem
    | Prompt
    | Attempt
    | Derivation
    | Verdict
    | Example
    | ExampleEvidence
    | Mix
    | MixMember
    | Training
    | Checkpoint
    | Evaluation
    | EvaluationItem
    | Node
    | Tombstone
)

RECORDS: dict[str, type[Record]] = {
    record.TABLE: record
    for record in (
        Problem,
        Prompt,
        Attempt,
        Derivation,
        Verdict,
        Example,
        ExampleEvidence,
        Mix,
        MixMember,
        Training,
        Checkpoint,
        Evaluation,
        EvaluationItem,
        Node,
        Tombstone,
    )
}
"""The content tables, by name: what shards may hold."""

ID_FIELDS = frozenset({"weights_digest", "template_digest", "verifier_digest", "trainer_digest"})
"""Digest columns whose names do not end in `_id`, stored as UUIDs all the same."""
