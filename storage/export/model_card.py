"""A model card from the ledger: what a checkpoint was made from, how good it is, and how to make it again.

    >>> card_of(lineage, checkpoint_id).text().splitlines()[0]
    '---'

It is a README.md as model hubs read it, front matter and all. Nothing in it is asked of a person but the licence.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.evidence import looks, met, mixes_behind
from storage.identity import show
from storage.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Score:
    """An evaluation as the card shows it."""

    evaluation_id: str
    source: str
    split: str
    n: int
    undecided: int
    accuracy: float
    ci_low: float
    ci_high: float
    verifier: str


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """A training set behind a checkpoint, and the checkpoint in its history that was trained on it."""

    mix_id: str
    checkpoint_id: str
    rows: int
    original_rows: int


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where problems came from that a training set stands on."""

    source: str
    licence: str
    problems: int


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that a card says. `contaminated`: examples that meet a test problem, None where nothing was tested."""

    title: str
    checkpoint_id: str
    weights_digest: str
    adapter: bool
    merged: bool
    method: str
    what: str
    iteration: int
    run_id: str | None
    run_name: str
    run_at: str
    base: str
    base_name: str | None
    verifiers: str
    licence: str | None
    looks: int
    contaminated: int | None
    libraries: str
    forced: str | None = None
    scores: list[Score] = field(default_factory=list)
    mixes: list[TrainedOn] = field(default_factory=list)
    sources: list[DataSource] = field(default_factory=list)
    promotions: list[str] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The card as Markdown."""
        from jinja2 import Environment, StrictUndefined

        template = Path(__file__).with_suffix(".md.jinja").read_text(encoding="utf-8")
        environment = Environment(
            undefined=StrictUndefined,
            trim_blocks=False,
            lstrip_blocks=False,
            keep_trailing_newline=True,
            autoescape=False,
        )
        return environment.from_string(template).render(card=self)

    def document(self) -> str:
        """What it takes to make it again, as JSON."""
        return json.dumps(self.settings, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def card_of(
    lineage: Lineage, checkpoint_id: str, *, title: str = "", licence: str | None = None, merged: bool = False
) -> Card:
    """The card of a checkpoint. Raises UserMistake for an id that names nothing."""
    checkpoint = lineage.checkpoint(checkpoint_id)
    ancestry = lineage.checkpoint_ancestry(checkpoint_id)
    made = _made(lineage, checkpoint_id)
    trained = _training(lineage, checkpoint.training_id)
    scores = _scores(lineage, checkpoint_id)
    tested = [one for one in scores if one.split == "test"]
    promoted = _promotions(lineage, checkpoint_id)
    gates: list[dict[str, Any]] = next((row[5] for row in promoted if row[5]), [])
    root = ancestry[-1]
    mixes = mixes_behind(lineage, checkpoint_id)
    adapter = checkpoint.kind == "adapter"
    base = lineage.checkpoint(checkpoint.parent_id) if checkpoint.parent_id else None
    base_name = next((one.source for one in (base, lineage.checkpoint(root.checkpoint_id)) if one and one.source), None)
    config: dict[str, Any] = made.get("config", {})
    return Card(
        title=title or str(config.get("model_name") or show("ckp", checkpoint_id)[:12]),
        checkpoint_id=checkpoint_id,
        weights_digest=checkpoint.weights_digest,
        adapter=adapter and not merged,
        merged=merged,
        method=str(made.get("method", "starloop")).replace("_", "-"),
        what=_what(lineage, trained.get("mix_id")),
        iteration=int(made.get("iteration", 0)),
        run_id=made.get("run_id"),
        run_name=_cell(str(made.get("name", ""))),
        run_at=f"{made['started_at']:%Y-%m-%d}" if made else "",
        base=_cell(base_name or f"`ckp_{root.checkpoint_id}`, pre-trained by starloop on worked examples"),
        base_name=base_name if base_name and "/" in base_name and not base_name.startswith((".", "/")) else None,
        verifiers=_cell(", ".join(sorted({one.verifier for one in scores})) or "nothing"),
        licence=licence,
        looks=looks(lineage, tested[0].evaluation_id).evaluations if tested else 0,
        contaminated=sum(one.examples for one in met(lineage, mixes, [one.evaluation_id for one in tested])) if tested else None,
        libraries=", ".join(f"{name} {version}" for name, version in sorted(trained.get("libraries", {}).items())) or "none recorded",
        forced=next((_cell(row[3]) for row in promoted if row[2] and row[3]), None),
        scores=scores,
        mixes=[
            TrainedOn(one.mix_id, one.checkpoint_id, one.rows or 0, one.original_rows or 0)
            for one in ancestry if one.mix_id is not None
        ],
        sources=_sources(lineage, mixes),
        promotions=[_cell(f"{row[0]}, {row[1]:%Y-%m-%d}{', forced' if row[2] else ''}") for row in promoted],
        gates=[gate | {"said": _cell(str(gate["said"]))} for gate in gates],
        settings={
            "checkpoint_id": checkpoint_id,
            "weights_digest": checkpoint.weights_digest,
            "files": json.loads(checkpoint.files),
            "training": trained,
            "run": {"run_id": made.get("run_id"), "method": made.get("method"), "preset": made.get("preset"), "config": config},
            "mixes": mixes,
            "evaluations": [one.evaluation_id for one in scores],
        },
    )  # fmt: skip


def _made(lineage: Lineage, checkpoint_id: str) -> dict[str, Any]:
    query = (
        "select i.run_id, r.name, r.method, r.preset, r.config, r.started_at, i.iteration from v_iteration i join run r using (run_id) "
        "where i.checkpoint_id = ? order by i.iteration desc, r.started_at desc limit 1"
    )
    names = ("run_id", "name", "method", "preset", "config", "started_at", "iteration")
    rows = lineage.rows(query, [checkpoint_id])
    return {name: value for row in rows for name, value in zip(names, row, strict=True)}


def _training(lineage: Lineage, training_id: str | None) -> dict[str, Any]:
    """The training of a checkpoint, and the libraries that its step's key names."""
    if training_id is None:
        return {}
    query = "select base_checkpoint_id, mix_id, recipe, seed, steps, rows_seen, tokens_trained, final_loss from training where training_id = ?"
    row = lineage.rows(query, [training_id])[0]
    keys = "select key_parts->'ingredients'->'recipe'->'libraries' from step where facts->>'training_id' = ? order by event_seq desc limit 1"
    libraries = lineage.rows(keys, [training_id])
    names = ("base_checkpoint_id", "mix_id", "recipe", "seed", "steps", "rows_seen", "tokens_trained", "final_loss")
    found = dict(zip(names, row, strict=True)) | {"training_id": training_id}
    found["recipe"] = json.loads(found["recipe"])
    return found | {"libraries": (libraries[0][0] or {}) if libraries else {}}


def _what(lineage: Lineage, mix_id: str | None) -> str:
    """What its last training set holds, in words: `1,893 sampled and 107 original examples`."""
    if mix_id is None:
        return "none of this home"
    roles = lineage.rows(
        "select role, count(*) from mix_member where mix_id = ? group by role order by 2 desc, 1", [mix_id]
    )
    counted = " and ".join(f"{count:,} {role}" for role, count in roles)
    return f"{counted} examples"


def _scores(lineage: Lineage, checkpoint_id: str) -> list[Score]:
    query = (
        "select evaluation_id, source, split, n, undecided, accuracy, ci_low, ci_high, verifier from evaluation "
        "where checkpoint_id = ? and accuracy is not null order by split desc, source, n desc, evaluation_id"
    )
    return [Score(*row) for row in lineage.rows(query, [checkpoint_id])]


def _sources(lineage: Lineage, mixes: list[str]) -> list[DataSource]:
    query = (
        "select p.source, p.licence, count(distinct p.problem_id) from v_mix_source s join problem p using (problem_id) "
        "where s.mix_id in (select unnest(?::uuid[])) group by all order by 1, 2"
    )
    return [DataSource(_cell(source), _cell(licence), count) for source, licence, count in lineage.rows(query, [mixes])]


def _promotions(lineage: Lineage, checkpoint_id: str) -> list[tuple[Any, ...]]:
    query = (
        "select model_name || '@' || alias || ' version ' || version, happened_at, forced, reason, action, gates from v_promotion "
        "where checkpoint_id = ? and state = 'done' order by event_seq desc"
    )
    return lineage.rows(query, [checkpoint_id])


def _cell(text: str) -> str:
    """Text in a table: one line, and nothing that would end the cell or be read as HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
