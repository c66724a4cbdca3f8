"""Self-Instruct: aligning language models with self-generated instructions (Wang et al. 2022, arXiv 2212.10560).

In rounds, until there are enough new instructions:
  1. the model goes on with a list of tasks, six of people's and two of its own (eight of people's while it has none);
  2. what is malformed, impossible for text, or too near to anything that is there (ROUGE-L above 0.7) is refused;
  3. it says of each new instruction whether it is a classification, which decides
  4. how instances are asked for: label first for classifications, input first for the rest; then they are filtered, too.
Then 5. the base is fine-tuned on the instances, each in a form drawn for it, with the loss on the output alone.

**Nothing here checks that an output is right.** In the paper's own sample 54 % of the instances were right in every field; the filters
look at form and novelty only. What is measured on held-out seeds is how near an answer's words are to a reference (ROUGE-L).

Departures: seeds are held out for that, so fewer stand in prompts; an instruction keeps its capitals, where the released code lower-cases
it; the examples in the classification and instance prompts are our own; the model that is trained is the one that wrote (the paper's is
GPT-3, asked and fine-tuned through its interface). `iterations` above 1 let the fine-tuned model write on, which the paper does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import flow

from flows import course
from flows.expected import waits_for
from flows.gathered import judged_of
from flows.instruction_rounds import draws, figures, refusals, seeds_in, sentence
from flows.iteration import Steps
from flows.loop import CELLS_SIDE_BY_SIDE
from flows.method_config import UNCHECKED, SelfInstructConfig
from flows.protocol import AnyLoop
from flows.request import SelfInstructRequest, run_name
from flows.step import Model, accounting_of, joined
from flows.training_set import TrainingSet, mixed, training_set_of
from storage.manifest import Manifest
from tasks.caching import StepRecord
from tasks.composition import SAMPLED
from tasks.engines.protocol import Sampling
from tasks.instances import admit_instances, classify_instructions, make_instances
from tasks.instruction_mix import mix_instructions
from tasks.instructions import admit_instructions, propose_instructions
from tasks.pose import CORPUS, cells
from tasks.problems.protocol import SPLITS
from tasks.rewards import Judged


@flow(name="self-instruct", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def self_instruct(request: SelfInstructRequest) -> list[str]:
    """Let a model write tasks with inputs and outputs from a few of people's, and fine-tune it on them; correctness is not checked.

    Args:
        request: a preset, and what of it should be different
    """
    return course.run_each("self_instruct", request)


def improve(loop: AnyLoop) -> None:
    """Self-Instruct's loop."""
    loop.listener.said(f"self_instruct: {UNCHECKED}")
    course.improve(loop, Written().iterate)


@dataclass
class Written:
    """What a loop has written so far: instructions that were admitted, and their instances with verdicts."""

    pool: Manifest = field(default_factory=lambda: Manifest("problem", (), 0))
    rounds: int = 0
    judged: list[Judged] = field(default_factory=list)

    def iterate(self, steps: Steps, n: int, base: Model, model: Model) -> course.Made:
        """Rounds until there is enough, and one fine-tuning."""
        config = steps.settings(SelfInstructConfig)
        seeds = {split: steps.pose(n, split, 0, seeds_in(config, split), f"{split} seeds") for split in SPLITS}
        told: list[dict[str, Any]] = []
        before = len(self.judged)
        while len(told) < config.rounds and sum(one["admitted"] for one in told) < config.target:
            self.rounds += 1
            told.append(self.round(steps, n, model, seeds))
            steps.loop.listener.said(f"round {self.rounds}: {sentence(told[-1])}")
        judged = self.judged if config.pool == "all" else self.judged[before:]
        examples = self.mix(steps, n, judged)
        trained = steps.finetune(n, base if config.restart == "base" else model, examples)
        return course.Made(trained, figures(told) | mixed(examples))

    def round(self, steps: Steps, n: int, model: Model, seeds: dict[str, Manifest]) -> dict[str, Any]:
        """Propose, admit, and ask for instances of what was admitted; the round's figures."""
        config, run = steps.settings(SelfInstructConfig), steps.loop.run
        proposing = Sampling(**config.proposing.model_dump())
        calls = [
            steps.writing(seeds["train"], model) | {"pool": self.pool, "draw": draw, "sampling": proposing}
            for draw in draws(config, self.rounds)
        ]
        proposed = run(n, f"propose {self.rounds}", propose_instructions, calls)
        call = {
            "attempts": joined(proposed, "attempts"), "seeds": seeds["train"] + seeds["dev"] + seeds["test"], "pool": self.pool,
            "threshold": config.novelty, "cell_rows": config.cell_rows,
        }  # fmt: skip
        admission = run(n, f"admit {self.rounds}", admit_instructions, [call])[0]
        fresh = admission.output.manifests["problems"]
        told = dict(admission.output.facts) | {"round": self.rounds, "written": admission.output.accounting.asked}
        told["attempts"] = accounting_of(proposed).asked
        if not fresh.rows:
            return told | {"classifications": 0, "instances": 0, "instances_admitted": 0, "instances_refused": {}}
        self.pool += fresh
        parts = [fresh] if waits_for(fresh.shards[0]) else cells(fresh, steps.loop.runtime.shards)
        return told | self.instances(steps, n, model, parts)

    def instances(self, steps: Steps, n: int, model: Model, parts: Sequence[Manifest]) -> dict[str, Any]:
        """Inputs and outputs of new instructions, with verdicts; their figures."""
        config, run = steps.settings(SelfInstructConfig), steps.loop.run
        yes_or_no = Sampling(temperature=0, max_tokens=3, stop=("\n", "Task:"))
        calls = [steps.writing(part, model) | {"sampling": yes_or_no} for part in parts]
        tests = run(n, f"classify {self.rounds}", classify_instructions, calls)
        answering = config.answering.model_dump()
        answering["stop"] = (*answering["stop"], f"Example {config.instances + 1}")
        calls = [
            steps.writing(part, model) | {"classified": _attempts(test), "sampling": Sampling(**answering)}
            for part, test in zip(parts, tests, strict=True)
        ]
        made = run(n, f"instances {self.rounds}", make_instances, calls)
        calls = [
            {"problems": part, "attempts": _attempts(one), "classified": _attempts(test), "most": config.instances}
            for part, one, test in zip(parts, made, tests, strict=True)
        ]
        verdicts = run(n, f"admit instances {self.rounds}", admit_instances, calls)
        self.judged += judged_of(SAMPLED, parts, made, verdicts)
        total = accounting_of(verdicts)
        return {
            "classifications": sum(int(str(one.output.facts.get("classifications", 0))) for one in tests),
            "instances": total.asked,
            "instances_admitted": total.ok,
            "instances_refused": refusals(one.output.facts for one in verdicts),
        }

    def mix(self, steps: Steps, n: int, judged: Sequence[Judged]) -> TrainingSet:
        """Every admitted instance, and the seeds' own."""
        config = steps.settings(SelfInstructConfig)
        call = {
            "judged": tuple(judged),
            "originals": steps.pose(n, CORPUS, 0, seeds_in(config, CORPUS), "seed instances")
            if config.include_seeds
            else None,
            "template": steps.template,
            "longest": config.longest,
            "seed": config.seed,
            "chat": steps.chat,
        }
        return training_set_of(steps.loop.run(n, "mix", mix_instructions, [call])[0])


def _attempts(record: StepRecord) -> Manifest:
    return record.output.manifests["attempts"]
