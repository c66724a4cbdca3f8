"""The one iteration that all methods share, as steps they put together: pose, sample, verify, rationalize, mix, fine-tune,
evaluate. A step is submitted cell by cell and is there when all of its cells are.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from flows.balancing import balanced
from flows.choosing import adaptive
from flows.config import EMBEDDED, NONE, Config, TrainingConfig
from flows.gathered import Gathered, judged_of, judging, outcomes_of
from flows.held_out import Answered, HeldOut
from flows.proposing import proposed
from flows.protocol import AnyLoop
from flows.refs import names_checkpoint, refs_of
from flows.start import architecture_of, chat_in_force, stored_checkpoint
from flows.step import Model, accounting_of, joined
from flows.training_set import TrainingSet, missing_originals, training_set_of
from storage.errors import StarloopError, UserMistake
from storage.identity import show
from storage.manifest import Manifest
from tasks.caching import StepRecord
from tasks.composition import CORPUS, ORIGINAL, RATIONALIZED, SAMPLED
from tasks.engines.protocol import Sampling
from tasks.engines.registry import EngineRef, takes_messages
from tasks.evaluate import score
from tasks.finetune import finetune
from tasks.mix import MixRule, collect, mix
from tasks.pair_up import PairRule, pair_up
from tasks.pose import cells, pose
from tasks.pretrained import take_in
from tasks.problems.registry import load as load_problems
from tasks.prompts.chat import Chat
from tasks.rationalize import rationalize
from tasks.rewards import Judged, Threshold
from tasks.sample import sample
from tasks.training.embedded import Architecture
from tasks.verify import verify

LARGEST_EVALUATION_CELL = 10_000


class Steps:
    """The shared steps of one loop. Iteration 0 is the base; iterations count from 1."""

    def __init__(self, loop: AnyLoop) -> None:
        self.loop = loop
        self.config = loop.config
        refs = refs_of(self.config)
        self.template, self.verifier, self.kept_by, self.audit = refs.template, refs.verifier, refs.kept_by, refs.audit
        self.history: list[Gathered] = []
        self.problem_count = self.config.problems_per_iteration
        """How many problems an iteration asks; fewer than the setting where a budget says so."""
        self._original_data: Manifest | None = None
        self._audits: list[tuple[Any, Callable[[list[StepRecord]], list[Judged]], Gathered]] = []
        self._held_out: dict[str, Manifest] = {}
        self._answered: dict[tuple[str, str], Answered] = {}
        self.chat: Chat | None = None
        """What prompts stand in, once the base is known."""

    def settings(self, kind: type[Config]) -> Config:
        """The configuration as the method's own."""
        assert isinstance(self.config, kind)
        return self.config

    def base(self) -> Model:
        """The model that the loop starts from; the embedded one is pre-trained on the problem set's corpus, cached like any step."""
        model = self._base()
        self.chat = chat_in_force(self.config, self.loop.runtime.home, model)
        return model

    def _base(self) -> Model:
        model = self.config.model
        if names_checkpoint(model.source):
            return stored_checkpoint(self.loop.runtime.home, model.source)
        if model.source != EMBEDDED:
            return self._taken_in(model.source)
        corpus = self._original_data = self.pose(0, "corpus", 0, model.corpus_documents, "corpus")
        documents = self._collected(0, "corpus mix", corpus, CORPUS, seed=model.seed)
        return self.train(
            0,
            "pre-train",
            None,
            architecture_of(self.config, self.template),
            documents,
            model.pretraining,
            model.pretraining.steps,
            model.seed,
        )

    def problems(self, iteration: int) -> Manifest:
        """The training problems of an iteration: the next ones of the stream, or the same again."""
        if self.config.problem_choice == "adaptive":
            return adaptive(self, iteration)
        count = self.config.problems_per_iteration
        start = (iteration - 1) * count if self.config.fresh_problems else 0
        return self.pose(iteration, "train", start, self.problem_count, "problems")

    def pose(
        self, iteration: int, split: str, start: int, count: int, title: str, source: str | None = None
    ) -> Manifest:
        """Problems of a split, one shard a cell."""
        call = {
            "source": source or self.config.problems,
            "split": split,
            "start": start,
            "count": count,
            "cell_rows": self._cell_rows(split),
        }
        return joined(self.loop.run(iteration, title, pose, [call]), "problems")

    def sample(self, iteration: int, model: Model, problems: Manifest) -> Gathered:
        """K attempts at every problem, and a verdict for each."""
        self._asserted(problems)
        problems, added = proposed(self, iteration, model, problems)
        how = balanced(self, iteration, model, problems)
        parts = cells(problems, self.loop.runtime.shards)
        calls = [
            self.writing(part, model) | {"sampling": how.sampling, "first_sample": 0, "samples": self.config.samples}
            for part in parts
        ]
        attempts = self.loop.run(iteration, "sample", sample, calls)
        verdicts = self.judge(iteration, "verify", parts, attempts, self.kept_by)
        total, failed = accounting_of(verdicts), accounting_of(attempts).failed
        decided = total.ok + total.rejected
        judged = judged_of(SAMPLED, parts, attempts, verdicts)
        gathered = Gathered(problems, judged, outcomes_of(verdicts), {}, how.threshold, iteration)
        gathered.summary = {
            **added,
            **how.summary,
            "attempts": total.asked,
            "correct": total.ok,
            "undecided": total.undecided,
            "failed": failed,
            "rationalized_attempts": 0,
            "rationalized_correct": 0,
            "train_accuracy": total.ok / decided if decided else None,
            "sampled_tokens": sum(int(str(record.output.facts["tokens"])) for record in attempts),
        }
        self._audit(gathered, SAMPLED, "audit", parts, attempts)
        self.history.append(gathered)
        return gathered

    def rationalize(self, iteration: int, model: Model, gathered: Gathered) -> None:
        """A hinted retry of every problem without a right attempt; verified like the others."""
        parts = cells(gathered.problems, self.loop.runtime.shards)
        calls = [
            self.writing(part, model) | {"attempts": one.attempts, "verdicts": outcomes, "sampling": self.drawing()}
            for part, one, outcomes in zip(parts, gathered.judged, gathered.outcomes, strict=True)
        ]
        attempts = self.loop.run(iteration, "rationalize", rationalize, calls)
        verdicts = self.judge(iteration, "verify rationalized", parts, attempts, self.kept_by)
        total = accounting_of(verdicts)
        gathered.judged += judged_of(RATIONALIZED, parts, attempts, verdicts)
        gathered.summary |= {
            "attempts": gathered.summary["attempts"] + total.asked,
            "rationalized_attempts": total.asked,
            "rationalized_correct": total.ok,
            "undecided": gathered.summary["undecided"] + total.undecided,
            "failed": gathered.summary["failed"] + total.failed,
        }
        self._audit(gathered, RATIONALIZED, "audit rationalized", parts, attempts)

    def mix(
        self,
        iteration: int,
        gathered: Gathered,
        keep: str = "correct",
        threshold: Threshold | None = None,
        title: str = "mix",
    ) -> TrainingSet:
        """What passed (of this iteration, or of all so far) or is above the threshold, with the wanted share of original data."""
        mixing = self.config.mix
        if threshold is None and gathered.threshold is not None:
            threshold = Threshold("verifier", gathered.threshold)
        pool = self.history if self.config.pool == "all" else [gathered]
        share = mixing.share_in(iteration)
        rule = MixRule(keep, share, mixing.cap_per_problem, self.config.seed, mixing.dedupe, mixing.select, threshold)
        call = {
            "judged": tuple(part for one in pool for part in one.judged),
            "originals": self._originals() if share < 1 else None,
            "template": self.template,
            "rule": rule,
            "chat": self.chat,
        }
        task = mix
        if self.config.training.objective != "sft":
            task, call = pair_up, self.pairing(pool, mixing.pairs_per_problem)
        try:
            examples = training_set_of(self.loop.run(iteration, title, task, [call])[0])
        except StarloopError:
            self._finish_audits()
            raise
        examples.facts["self_share_wanted"] = share
        if (short := missing_originals(examples.facts)) > 0:
            self.loop.listener.said(
                f"iteration {iteration}: {short:,} rows of original data fewer than mix.self_share asks for; the problem "
                "set's corpus has no more"
            )
        return examples

    def pairing(self, pool: Sequence[Gathered], per_problem: int) -> dict[str, Any]:
        """What right and wrong answers are paired with."""
        return {
            "judged": tuple(part for one in pool for part in one.judged),
            "template": self.template,
            "rule": PairRule(per_problem, self.config.seed),
            "chat": self.chat,
        }

    def answers(self, iteration: int, problems: Manifest) -> TrainingSet:
        """The gold answers of the iteration's problems, without rationales."""
        return self._collected(iteration, "mix", problems, ORIGINAL, seed=self.config.seed, answers_only=True)

    def corpus(self, iteration: int) -> TrainingSet:
        """The base's own corpus again."""
        documents = self.pose(iteration, "corpus", 0, self.config.model.corpus_documents, "corpus")
        return self._collected(iteration, "mix", documents, CORPUS, seed=self.config.seed + iteration)

    def finetune(
        self, iteration: int, start: Model, examples: TrainingSet, *, slower: float = 1.0, title: str = "fine-tune"
    ) -> Model:
        """The next checkpoint, trained from `start`; `slower` is a factor of the learning rate."""
        training = self.config.training
        steps = training.steps_in(iteration)
        if slower != 1:
            training = training.model_copy(update={"learning_rate": training.learning_rate * slower})
        model = self.train(iteration, title, start, None, examples, training, steps, self.config.seed)
        self._finish_audits()
        return model

    def evaluate(self, iteration: int, model: Model, split: str) -> dict[str, Any]:
        """Greedy accuracy on dev or test, with its interval, in all and per stratum."""
        evaluation = self.config.evaluation
        count = evaluation.dev_problems if split == "dev" else evaluation.test_problems
        return self._scored(
            iteration, model, HeldOut(split, self.config.problems, split, count, self.template, self.verifier)
        )

    def evaluate_also(self, iteration: int, model: Model) -> dict[str, Any] | None:
        """The same on the problem set that must not get worse; None where there is none."""
        evaluation = self.config.evaluation
        if evaluation.also == NONE:
            return None
        return self.evaluate_set(iteration, model, "also", evaluation.also, evaluation.also_problems)

    def evaluate_set(self, iteration: int, model: Model, name: str, ref: str, count: int) -> dict[str, Any]:
        """The same on the dev problems of any set, with its own prompts and verifier; `name` is in the steps' titles."""
        other = load_problems(ref)
        return self._scored(iteration, model, HeldOut(name, ref, "dev", count, other.template, other.verifier))

    def answered(self, model: Model, split: str) -> Answered:
        """What a split was answered with when it was evaluated."""
        return self._answered[model.checkpoint_id, split]

    def _scored(self, iteration: int, model: Model, held: HeldOut) -> dict[str, Any]:
        if held.name not in self._held_out:
            title = f"{held.name} problems"
            self._held_out[held.name] = self.pose(iteration, held.split, 0, held.count, title, held.problems)
        problems = self._held_out[held.name]
        parts = cells(problems, self.loop.runtime.shards)
        limit = self.config.evaluation.max_tokens
        greedy = Sampling(temperature=0.0, max_tokens=limit, stop=self.config.sampling.stop)
        calls = [
            self.writing(part, model, seed=0, template=held.template)
            | {"sampling": greedy, "first_sample": 0, "samples": 1}
            for part in parts
        ]
        attempts = self.loop.run(iteration, f"answer {held.name}", sample, calls)
        verdicts = self.judge(iteration, f"verify {held.name}", parts, attempts, held.verifier)
        self._answered[model.checkpoint_id, held.name] = Answered(parts, attempts, verdicts)
        call = {
            "problems": problems,
            "attempts": joined(attempts, "attempts"),
            "verdicts": joined(verdicts, "verdicts"),
            "checkpoint_id": model.checkpoint_id,
            "split": held.split,
        }
        return dict(self.loop.run(iteration, f"evaluate {held.name}", score, [call])[0].output.facts)

    def writing(
        self, part: Manifest, model: Model, seed: int | None = None, template: str | None = None
    ) -> dict[str, Any]:
        """What every cell in which this model writes is called with. An engine that makes the chat itself gets the bare turn."""
        return {
            "problems": part,
            "engine": EngineRef(self.config.engine),
            "checkpoint_id": model.checkpoint_id,
            "weights_digest": model.weights_digest,
            "template": template or self.template,
            "seed": self.config.seed if seed is None else seed,
            "chat": None if takes_messages(self.config.engine) else self.chat,
        }

    def drawing(self) -> Sampling:
        return Sampling(**self.config.sampling.model_dump())

    def judge(
        self,
        iteration: int,
        title: str,
        parts: Sequence[Manifest],
        attempts: Sequence[StepRecord],
        verifier: str | None = None,
    ) -> list[StepRecord]:
        """A verdict for every attempt, cell by cell."""
        return self.loop.run(iteration, title, verify, judging(parts, attempts, verifier or self.verifier))

    def judge_again(self, iteration: int, title: str, gathered: Gathered, verifier: str) -> Gathered:
        """The same attempts with another verifier's verdicts."""
        calls = [{"problems": one.problems, "attempts": one.attempts, "verifier": verifier} for one in gathered.judged]
        verdicts = self.loop.run(iteration, title, verify, calls)
        judged = [
            replace(one, verdicts=record.output.manifests["verdicts"])
            for one, record in zip(gathered.judged, verdicts, strict=True)
        ]
        return replace(gathered, judged=judged, outcomes=outcomes_of(verdicts))

    def _audit(
        self, gathered: Gathered, origin: str, title: str, parts: Sequence[Manifest], attempts: Sequence[StepRecord]
    ) -> None:
        """A second opinion that only measures: nothing waits for it before the iteration's mix is trained on."""
        if self.audit:
            step = self.loop.start(gathered.iteration, title, verify, judging(parts, attempts, self.audit))
            self._audits.append((step, partial(judged_of, origin, parts, attempts), gathered))

    def _finish_audits(self) -> None:
        audits, self._audits = self._audits, []
        for step, judged, gathered in audits:
            gathered.audited += judged(self.loop.finish(step))

    def _originals(self) -> Manifest:
        if self._original_data is None:
            self._original_data = self.pose(0, "corpus", 0, self.config.model.corpus_documents, "original data")
        return self._original_data

    def _collected(
        self, iteration: int, title: str, problems: Manifest, origin: str, *, seed: int, answers_only: bool = False
    ) -> TrainingSet:
        call = {
            "problems": problems,
            "template": self.template,
            "origin": origin,
            "answers_only": answers_only,
            "seed": seed,
            "chat": self.chat,
        }
        return training_set_of(self.loop.run(iteration, title, collect, [call])[0])

    def train(
        self,
        iteration: int,
        title: str,
        start: Model | None,
        architecture: Architecture | None,
        examples: TrainingSet,
        training: TrainingConfig,
        steps: int,
        seed: int,
    ) -> Model:
        call = {
            "base_checkpoint_id": start.checkpoint_id if start else None,
            "architecture": architecture,
            "examples": examples.examples,
            "members": examples.members,
            "mix_id": examples.mix_id,
            "recipe": training.recipe(steps),
            "seed": seed,
            "adapter_of": self._adapted(start, training) if start and start.kind == "adapter" else None,
            "chat": self.chat,
        }
        facts = self.loop.run(iteration, title, finetune, [call])[0].output.facts
        if "preference" in facts:
            examples.facts["preference"] = facts["preference"]
        kind = str(facts["kind"])
        base = (start.base_checkpoint_id or start.checkpoint_id) if start and kind == "adapter" else None
        return Model(str(facts["checkpoint_id"]), str(facts["weights_digest"]), kind, base)

    def _adapted(self, start: Model, training: TrainingConfig) -> str | None:
        """The base of an adapter that is trained on."""
        if training.method == "full":
            name = show("ckp", start.checkpoint_id)[:12]
            raise UserMistake(
                f"{name} is an adapter, and training.method = full trains whole weights; set it to lora or qlora, or merge the "
                f"adapter with `starloop merge {name} FOLDER` and start from that folder"
            )
        return start.base_checkpoint_id

    def _taken_in(self, source: str) -> Model:
        facts = self.loop.run(0, "take in", take_in, [{"model": self.loop.find_model(source)}])[0].output.facts
        return Model(str(facts["checkpoint_id"]), str(facts["weights_digest"]))

    def _cell_rows(self, split: str) -> int:
        return LARGEST_EVALUATION_CELL if split == "corpus" else self.config.cell_rows

    def _asserted(self, problems: Manifest) -> None:
        if not problems.rows:
            raise UserMistake(f"{self.config.problems} has no training problems; name a set that has some")
