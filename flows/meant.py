"""Which checkpoint a person means by a run, a checkpoint or `latest`, and where it stands."""

from dataclasses import dataclass

from flows.method_config import CONFIGS
from storage.answers import Run
from storage.errors import UserMistake
from storage.identity import show
from storage.lineage import Lineage

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Meant:
    """A checkpoint, and the run that it is an iteration of (None: of none in this home)."""

    checkpoint_id: str
    run: Run | None


def meant(lineage: Lineage, text: str) -> Meant:
    """What an id or its beginning names: of a run the checkpoint that it tested last; `latest` is the run that was completed last.

    Raises UserMistake where there is none.
    """
    named = lineage.find(_latest(lineage) if text == LATEST else text, ("run", "checkpoint"))
    if named.kind == "checkpoint":
        run_id = made_by(lineage, named.id)
        return Meant(named.id, lineage.run(run_id) if run_id else None)
    run = lineage.run(named.id)
    made = [one.checkpoint_id for one in lineage.iterations(run.run_id) if one.checkpoint_id is not None]
    if made:
        return Meant(_tested_last(lineage, run) or made[-1], run)
    arms = ", ".join(show("run", one.run_id)[:12] for one in lineage.arms(run.run_id))
    hint = f"it is a group; name one of its runs: {arms}" if arms else "it has finished no iteration"
    raise UserMistake(f"{show('run', run.run_id)[:12]} has no checkpoint: {hint}")


def made_by(lineage: Lineage, checkpoint_id: str) -> str | None:
    """The run that a checkpoint is an iteration of, one that trained it rather than one that started from it, the latest of several."""
    query = (
        "select i.run_id from v_iteration i join run r using (run_id) where i.checkpoint_id = ? "
        "order by i.iteration desc, r.started_at desc, i.run_id limit 1"
    )
    rows = lineage.rows(query, [checkpoint_id])
    return rows[0][0] if rows else None


def base_of(lineage: Lineage, run_id: str | None, checkpoint_id: str) -> str:
    """What a run started from; a checkpoint that no run has is its own."""
    bases = [one.checkpoint_id for one in lineage.iterations(run_id) if one.iteration == 0] if run_id else []
    return bases[0] or checkpoint_id if bases else checkpoint_id


def _tested_last(lineage: Lineage, run: Run) -> str | None:
    """The checkpoint of a run's last test: its last one, or its best on dev."""
    tested = (run.facts.get("final_test") or {}).get("evaluation_id")
    rows = lineage.rows("select checkpoint_id from evaluation where evaluation_id = ?", [tested]) if tested else []
    return rows[0][0] if rows else None


def _latest(lineage: Lineage) -> str:
    done = [one for one in lineage.runs() if one.method in CONFIGS and one.state == "completed"]
    done = [one for one in done if not lineage.arms(one.run_id)]
    if not done:
        raise UserMistake("no run of this home is completed yet, so there is no latest one")
    return max(done, key=lambda one: one.finished_at or one.started_at).run_id
