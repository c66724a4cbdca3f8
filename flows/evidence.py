"""The evidence for a promotion, gathered: candidate and champion answer the same problems, and the ledger and MLflow are asked.

Both answer under the settings of the candidate's run: its engine, prompts, verifier and test problems. These are the cells of
any run, so what the candidate's own run has measured is found cached, and a second promotion generates nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.aliases import Registry
from flows.config import NONE, LoopConfig
from flows.gates import REPRODUCED, Evidence
from flows.iteration import Steps
from flows.loop import Loop
from flows.meant import base_of, meant
from flows.method_config import config_class
from flows.start import chat_in_force, stored_checkpoint
from flows.step import Model
from flows.validation import validated
from storage.answers import Run
from storage.checkpoints import checkpoint_fault
from storage.errors import UserMistake
from storage.evidence import (
    RecordedAnswer,
    looks,
    met,
    mixes_behind,
    paired,
    recorded_answers,
    tainted_examples,
    tainted_items,
)
from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage
from tasks.engines.registry import takes_messages

FIRST, SECOND = 1, 0
"""Which iteration of the promotion's own run the candidate's steps stand in, and which those of the one it is compared with."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint with the run that made it, and that run's base."""

    checkpoint_id: str
    run: Run
    config: LoopConfig
    base_id: str


@dataclass(frozen=True, slots=True)
class Opponent:
    """Who is to be beaten: a champion, or where there is none the candidate's own base. `base_id` is that of its run."""

    checkpoint_id: str
    base_id: str
    version: int | None

    @property
    def words(self) -> str:
        held = f"version {self.version}" if self.version is not None else "its own base"
        return f"{held} ({show('ckp', self.checkpoint_id)[:12]})"


def candidate_of(lineage: Lineage, text: str) -> Candidate:
    """The checkpoint that is meant, with the settings of its run. Raises UserMistake where no run of a method made it."""
    found = meant(lineage, text)
    if found.run is None:
        name = show("ckp", found.checkpoint_id)[:12]
        raise UserMistake(f"no run of this home has {name} as an iteration's checkpoint; name one of a run")
    run = found.run
    config = validated(
        config_class(run.method), {**run.config, "arms": ()}, f"the settings of {show('run', run.run_id)[:12]}"
    )
    return Candidate(found.checkpoint_id, run, config, base_of(lineage, run.run_id, found.checkpoint_id))


@dataclass(frozen=True, slots=True)
class Scores:
    """The evaluation ids of one checkpoint: on test, and on each named set."""

    test: str
    sets: dict[str, str]


def gather(
    loop: Loop, registry: Registry, candidate: Candidate, opponent: Opponent | str, sets: Sequence[str], model_name: str, version: int
) -> Evidence:  # fmt: skip
    """Everything that the gates look at; `opponent` is why there is nobody to compare with, where that is so."""
    home = registry.home
    steps = Steps(loop)
    mine = scored(steps, candidate.checkpoint_id, candidate.base_id, sets, FIRST)
    theirs = (
        None if isinstance(opponent, str) else scored(steps, opponent.checkpoint_id, opponent.base_id, sets, SECOND)
    )
    loop.settle()
    with Lineage.open(home, fresh=True) as lineage:
        answered = recorded_answers(lineage, mine.test, REPRODUCED)
        judged = [mine.test, *mine.sets.values()]
        others = [theirs.test, *theirs.sets.values()] if theirs else []
        mixes = mixes_behind(lineage, candidate.checkpoint_id)
        fault, files = digests(home, lineage, candidate.checkpoint_id)
        again = reproduced(registry, model_name, version, answered, candidate.config.engine)
        return Evidence(
            against=opponent if isinstance(opponent, str) else opponent.words,
            test=paired(lineage, mine.test, theirs.test) if theirs else None,
            uncompared=opponent if isinstance(opponent, str) else "",
            sets={name: paired(lineage, mine.sets[name], theirs.sets[name]) for name in mine.sets} if theirs else {},
            looks=looks(lineage, mine.test),
            met=tuple(met(lineage, mixes, list(dict.fromkeys(judged)))),
            mixes=len(mixes),
            evaluations=len(set(judged)),
            tainted_examples=tainted_examples(lineage, candidate.checkpoint_id),
            tainted_items=tainted_items(lineage, list(dict.fromkeys([*judged, *others]))),
            digest_fault=fault,
            files=files,
            same=again.same,
            asked=len(answered),
            unloaded=again.fault,
            first_difference=again.difference,
        )


def scored(steps: Steps, checkpoint_id: str, base_id: str, sets: Sequence[str], iteration: int) -> Scores:
    """A checkpoint on the test problems and on each set, as cells of the loop's own; its prompts stand in the chat of its base."""
    home, config = steps.loop.runtime.home, steps.config
    steps.chat = chat_in_force(config, home, Model(base_id, ""))
    model = stored_checkpoint(home, checkpoint_id)
    test = str(steps.evaluate(iteration, model, "test")["evaluation_id"])
    also = {}
    if config.evaluation.also != NONE:
        facts = steps.evaluate_also(iteration, model) or {}
        also[config.evaluation.also] = str(facts["evaluation_id"])
    for ref in sets:
        if ref not in also:
            also[ref] = str(
                steps.evaluate_set(iteration, model, ref, ref, config.evaluation.also_problems)["evaluation_id"]
            )
    return Scores(test, also)


def digests(home: Home, lineage: Lineage, checkpoint_id: str) -> tuple[str | None, int]:
    """What is wrong with a checkpoint's files, or with those of an adapter's base; and how many files were looked at."""
    files = 0
    checkpoint = lineage.checkpoint(checkpoint_id)
    needed = [
        checkpoint,
        *([lineage.checkpoint(checkpoint.parent_id)] if checkpoint.kind == "adapter" and checkpoint.parent_id else []),
    ]
    for one in needed:
        files += len(json.loads(one.files))
        if fault := checkpoint_fault(home, one.checkpoint_id, one.files):
            return fault, files
    return None, files


@dataclass(frozen=True, slots=True)
class Again:
    """How many recorded answers came out the same, the first that did not, and why there are none."""

    same: int
    difference: str | None = None
    fault: str | None = None


def reproduced(
    registry: Registry, model_name: str, version: int, answered: Sequence[RecordedAnswer], engine: str
) -> Again:
    """Ask the registered version what was asked before."""
    if not answered:
        return Again(0)
    sampling: dict[str, Any] = json.loads(answered[0].sampling)
    words = answered[0].engine.partition("@")[0].split()
    asked = {
        "prompts": [one.prompt for one in answered],
        "max_tokens": sampling["max_tokens"],
        "stop": sampling["stop"],
        "dtype": words[1] if words[0] == "transformers" and len(words) > 1 else None,
        "chat": takes_messages(engine),
    }
    told = registry.reproduce(model_name, version, asked)
    if "fault" in told:
        return Again(0, fault=told["fault"])
    different = [(one, text) for one, text in zip(answered, told["texts"], strict=True) if one.text != text]
    if not different:
        return Again(len(answered))
    one, text = different[0]
    return Again(
        len(answered) - len(different),
        f"{one.prompt[-40:]!r} was answered {one.text[-60:]!r} and is now {text[-60:]!r}",
    )
