"""Lineage as W3C PROV: of a run (its steps), or of a checkpoint (every step of any run that it came from, down to the base).

Entities are shards, training sets and checkpoints; activities are steps, below their runs; agents are starloop and the
versions of verifiers. A checkpoint was derived from its base, from its training set, and from the checkpoints that wrote
that set's examples. Content is written once, so of several steps with the same output the one that computed it first generated it; a
step that found its result in the cache is told as an activity that used its inputs, with `starloop:cached`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.answers import Run, Step
from storage.errors import UserMistake
from storage.export.destination import new_file, required
from storage.export.exchanged import Exchanged, StepShard, exchanged
from storage.identity import digest, show
from storage.judged import version_of
from storage.lineage import Lineage

FORMATS = {".json": "json", ".provn": "provn", ".ttl": "rdf"}
"""Ending to what `prov` calls it."""


def export_prov(lineage: Lineage, identity: str, to: Path, *, force: bool = False) -> int:
    """Writes the provenance of a run or a checkpoint; how many records. The ending says as what: .json, .provn or .ttl.

    Raises UserMistake for another ending, and if a package is not installed, with the command that does it.
    """
    if to.suffix.lower() not in FORMATS:
        raise UserMistake(f"no format for {to.suffix!r}; give a name that ends in {', '.join(FORMATS)}")
    required("prov", "prov[rdf]")
    kind = FORMATS[to.suffix.lower()]
    if kind == "rdf":
        required("rdflib", "prov[rdf]")
    document = provenance(lineage, identity)
    with new_file(to, force) as temporary, open(temporary, "x", encoding="utf-8") as out:
        document.serialize(out, format=kind, **({"rdf_format": "turtle"} if kind == "rdf" else {}))
    return len(document.get_records())


def provenance(lineage: Lineage, identity: str) -> Any:
    """The `ProvDocument` of a run or a checkpoint."""
    named = lineage.find(identity, ("run", "checkpoint"))
    gathered = _of_run(lineage, named.id) if named.kind == "run" else _of_checkpoint(lineage, named.id)
    return _Document(lineage, gathered).made()


@dataclass(slots=True)
class _Gathered:
    """Steps with their runs and what they read and wrote, in the order in which they were committed."""

    runs: dict[str, Run] = field(default_factory=dict)
    steps: list[tuple[Run, Step]] = field(default_factory=list)
    things: dict[str, Exchanged] = field(default_factory=dict)

    def add(self, lineage: Lineage, run: Run) -> None:
        """All of a run."""
        steps = lineage.steps(run.run_id)
        self.runs[run.run_id] = run
        self.steps += [(run, step) for step in steps]
        self.things |= exchanged(lineage, run.run_id, steps)

    def only(self, wanted: set[str]) -> "_Gathered":
        """These steps, and the runs that they are of."""
        steps = sorted((one for one in self.steps if one[1].step_id in wanted), key=lambda one: one[1].committed_at)
        return _Gathered({run.run_id: run for run, _ in steps}, steps, self.things)


def _of_run(lineage: Lineage, run_id: str) -> _Gathered:
    gathered = _Gathered()
    gathered.add(lineage, lineage.run(run_id))
    return gathered


def _of_checkpoint(lineage: Lineage, checkpoint_id: str) -> _Gathered:
    """Back from the step that made it, through whatever wrote what that step read, as far as it goes."""
    whole = _Gathered()
    for run in sorted(lineage.runs(), key=lambda one: (one.started_at, one.run_id)):
        whole.add(lineage, run)
    makers = _makers(whole)
    if f"checkpoint/{checkpoint_id}" not in makers:
        raise UserMistake(f"{show('ckp', checkpoint_id)} was not made by a step here, so it has no provenance")
    waiting, wanted = [f"checkpoint/{checkpoint_id}"], set[str]()
    while waiting:
        step_id = makers.get(waiting.pop())
        if step_id is not None and step_id not in wanted:
            wanted.add(step_id)
            waiting += whole.things[step_id].read
    return whole.only(wanted)


def _makers(gathered: _Gathered) -> dict[str, str]:
    """Each thing to the step that computed it first; a cached step only where no other is known."""
    makers: dict[str, str] = {}
    for hits in (False, True):
        for _, step in sorted(gathered.steps, key=lambda one: one[1].committed_at):
            if step.hit is hits:
                for thing in gathered.things[step.step_id].written:
                    makers.setdefault(thing, step.step_id)
    return makers


class _Document:
    """One PROV document under way; every entity and agent stands in it once."""

    def __init__(self, lineage: Lineage, gathered: _Gathered) -> None:
        from prov.model import PROV, ProvDocument

        self._lineage = lineage
        self._gathered = gathered
        self._prov = PROV
        self._makers = _makers(gathered)
        self._known: set[str] = set()
        self._document = ProvDocument()
        self._document.add_namespace("starloop", "urn:starloop:")

    def made(self) -> Any:
        self._agent("starloop", {"prov:type": self._prov["SoftwareAgent"]})
        for run in self._gathered.runs.values():
            about = {"prov:label": run.name, "starloop:method": run.method, "starloop:state": run.state}
            self._document.activity(f"starloop:run/{run.run_id}", run.started_at, run.finished_at, about)
            self._document.wasAssociatedWith(f"starloop:run/{run.run_id}", "starloop:agent/starloop")
        for run, step in self._gathered.steps:
            self._step(run, step, self._gathered.things[step.step_id])
        self._derivations()
        return self._document

    def _step(self, run: Run, step: Step, things: Exchanged) -> None:
        from datetime import timedelta

        name = f"starloop:step/{step.step_id}"
        begun = step.committed_at - timedelta(seconds=step.startup_s + step.work_s)
        about = {
            "prov:label": step.cell, "starloop:iteration": step.iteration, "starloop:step": step.step,
            "starloop:cached": step.hit, "starloop:asked": step.asked, "starloop:ok": step.ok,
            "starloop:rejected": step.rejected, "starloop:undecided": step.undecided, "starloop:failed": step.failed,
        }  # fmt: skip
        self._document.activity(name, begun, step.committed_at, about)
        self._document.wasInformedBy(name, f"starloop:run/{run.run_id}")
        self._document.wasAssociatedWith(name, self._who(step))
        for thing, shard in things.read.items():
            self._document.used(name, self._entity(thing, shard))
        for thing, shard in things.written.items():
            entity = self._entity(thing, shard)
            if self._makers.get(thing) == step.step_id:
                self._document.wasGeneratedBy(entity, name, step.committed_at)

    def _who(self, step: Step) -> str:
        """The version of a verifier that judged, else starloop."""
        ingredients = step.key_parts.get("ingredients", {})
        if step.key_parts.get("task") != "verify" or "verifier" not in ingredients:
            return "starloop:agent/starloop"
        version = version_of(step.key_parts["arguments"]["verifier"], digest(ingredients["verifier"]))
        return self._agent(f"verifier/{version}", {"prov:type": self._prov["SoftwareAgent"], "prov:label": version})

    def _agent(self, name: str, about: dict[str, Any]) -> str:
        identifier = f"starloop:agent/{name}"
        if identifier not in self._known:
            self._known.add(identifier)
            self._document.agent(identifier, about)
        return identifier

    def _entity(self, thing: str, shard: StepShard | None = None) -> str:
        identifier = f"starloop:{thing}"
        if identifier not in self._known:
            self._known.add(identifier)
            about: dict[str, Any] = {"starloop:kind": thing.partition("/")[0]}
            if shard is not None:
                about |= {"prov:type": self._prov["Collection"], "starloop:rows": shard.rows}
            self._document.entity(identifier, about)
        return identifier

    def _derivations(self) -> None:
        """What each checkpoint that a step here made was made from: its base, its training set, the writers of that."""
        made = {thing.partition("/")[2] for thing in self._makers if thing.startswith("checkpoint/")}
        query = "select checkpoint_id, mix_id, relation, parent_id, examples from v_checkpoint_parent order by 1, 3, 4"
        for checkpoint_id, mix_id, relation, parent_id, examples in self._lineage.rows(query, []):
            if checkpoint_id not in made:
                continue
            child, mix = self._entity(f"checkpoint/{checkpoint_id}"), self._entity(f"mix/{mix_id}")
            if (key := f"{child} {mix}") not in self._known:
                self._known.add(key)
                self._document.wasDerivedFrom(child, mix)
            about = {"starloop:relation": relation} | ({"starloop:examples": examples} if examples else {})
            self._document.wasDerivedFrom(child, self._entity(f"checkpoint/{parent_id}"), other_attributes=about)
