"""Forgetting a text: what holds it, what stands on it, and its erasure.

    >>> with ledger.writer() as connection:
    ...     found = find(connection, "example", "5b0d…")
    >>> found.counts, found.checkpoints
    ({'attempt': 3, 'verdict': 6, 'example': 1}, ['9b1c…'])

An example is its completion: every attempt that gave this answer to this question goes with it, and a problem whose worked
solution it is. A problem is its question, in whatever source it stands: all prompts, attempts and examples of it go. A
source is its problems. Rows of ids alone (mixes, evidence, evaluations) stay, so that it can still be asked which
checkpoints saw what is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from storage.columns import to_columns
from storage.erasures import Erased
from storage.errors import DamagedShard, UserMistake
from storage.events import FORGOTTEN
from storage.ledger import Ledger
from storage.shards import Shards
from storage.tombstones import (
    QUESTION,
    REQUEST,
    ROWS,
    SOURCE,
    TEXT,
    TEXTS,
    Tombstones,
    column_ids,
    kept_rows,
    question_digest,
    source_digest,
    text_digest,
    tombstone_rows,
)
from storage.traces import SHORTEST, rows_with

KINDS = ("example", "problem", "attempt", "source")


@dataclass(frozen=True, slots=True)
class Found:
    """What holds a text and what was made of it; all ids. `counts`: rows that go, by table.

    `checkpoints` were trained on it, `descendants` on what those wrote, or from them; `promotions` are event numbers.
    """

    what: str
    counts: dict[str, int]
    ids: dict[str, list[str]]
    barred: dict[str, list[str]]
    texts: list[str]
    mixes: list[str]
    trainings: list[str]
    checkpoints: list[str]
    descendants: list[str]
    evaluations: list[str]
    promotions: list[int]
    shards: list[tuple[str, str]]


def find(connection: duckdb.DuckDBPyConnection, what: str, identity: str) -> Found:
    """Everything that a subject leads to; `identity` is an id, or a source's name. Raises UserMistake if there is none."""
    for table in (*ROWS, "whole"):
        connection.execute(f"create or replace temp table gone_{table} (id uuid)")
    _seed(connection, what, identity)
    while sum(_add(connection, table, query) for table, query in _GROWTH):
        pass
    for table, query in _HANGING:
        _add(connection, table, query)
    ids = {table: _ids(connection, f"select id from gone_{table}") for table in ROWS}
    counts = {table: len(found) for table, found in ids.items() if found}
    if not counts:
        raise UserMistake(f"no {what} {identity!r} in the ledger; it may have been forgotten already")
    checkpoints = _ids(connection, _CHECKPOINTS)
    later = (
        "select n.checkpoint_id from v_checkpoint_ancestry n where n.depth > 0 and n.ancestor_id in (select unnest(?::uuid[])) "
        "and n.checkpoint_id not in (select unnest(?::uuid[]))"
    )
    descendants = _ids(connection, later, [checkpoints, checkpoints])
    tainted = [*checkpoints, *descendants]
    held = (
        "select distinct h.table_name, m.digest from member m join shard h using (digest) "
        f"where {' or '.join(f'h.table_name = {table!r} and m.id in (from gone_{table})' for table in ROWS)} order by 1, 2"
    )
    promoted = "select event_seq from promotion where state in ('done', 'noticed') and checkpoint_id in (select unnest(?::uuid[])) order by 1"
    return Found(
        what=what,
        counts=counts,
        ids=ids,
        barred=_barred(connection, what, identity),
        texts=_texts(connection),
        mixes=_ids(connection, _MIXES),
        trainings=_ids(connection, f"select training_id from training where mix_id in ({_MIXES})"),
        checkpoints=checkpoints,
        descendants=descendants,
        evaluations=_ids(
            connection,
            "select evaluation_id from evaluation where checkpoint_id in (select unnest(?::uuid[])) "
            "union select evaluation_id from evaluation_item where attempt_id in (from gone_attempt)",
            [tainted],
        ),
        promotions=[row[0] for row in connection.execute(promoted, [tainted]).fetchall()],
        shards=[(table, digest.hex) for table, digest in connection.execute(held).fetchall()],
    )


_MIXES = "select mix_id from mix_member where example_id in (from gone_example)"
_CHECKPOINTS = (
    f"select c.checkpoint_id from checkpoint c join training t using (training_id) where t.mix_id in ({_MIXES})"
)
_SAME_QUESTION = "select problem_id from problem where question in (select question from problem where {})"

_SAID = (
    "select q.question, a.text from attempt a join problem q using (problem_id) where a.attempt_id in (from gone_attempt) "
    "union select q.question, x.completion from example x join example_evidence e using (example_id) "
    "join problem q using (problem_id) where x.example_id in (from gone_example)"
)
"""Question and answer of everything that goes."""

_GROWTH = (
    # A problem that goes as a whole takes every attempt at it with it, and every example that was made of it.
    ("problem", "select id from gone_whole"),
    ("attempt", "select attempt_id from attempt where problem_id in (from gone_whole)"),
    ("example", "select example_id from example_evidence where problem_id in (from gone_whole)"),
    # An example is the text of its attempts; the same answer to the same question is the same text.
    (
        "attempt",
        "select attempt_id from example_evidence where example_id in (from gone_example) and attempt_id is not null",
    ),
    (
        "attempt",
        f"select a.attempt_id from attempt a join problem p using (problem_id) join ({_SAID}) same (question, text) "
        "on same.text = a.text and same.question = p.question where a.finish_reason <> 'failed'",
    ),
    ("example", "select example_id from example_evidence where attempt_id in (from gone_attempt)"),
    (
        "example",
        "select e.example_id from example_evidence e join example x using (example_id) join problem p using (problem_id) "
        f"join ({_SAID}) same (question, text) on same.text = x.completion and same.question = p.question",
    ),
    # Where no model wrote it, the problem's worked solution is the text, or a part of it.
    (
        "problem",
        f"select p.problem_id from problem p join ({_SAID}) same (question, text) on same.question = p.question "
        f"where length(p.rationale) >= {SHORTEST} and length(same.text) >= {SHORTEST} "
        "and (contains(same.text, p.rationale) or contains(p.rationale, same.text))",
    ),
    (
        "problem",
        "select problem_id from example_evidence where example_id in (from gone_example) and attempt_id is null",
    ),
    (
        "example",
        "select example_id from example_evidence where problem_id in (from gone_problem) and attempt_id is null",
    ),
    # A step of a search goes with the last solution that it is a part of, and so does whatever was written after it.
    (
        "attempt",
        "select d.parent_id from derivation d where d.role = 'step' and d.child_id in (from gone_attempt) and not exists "
        "(select 1 from derivation o where o.role = 'step' and o.parent_id = d.parent_id and o.child_id not in (from gone_attempt))",
    ),
    ("attempt", "select child_id from derivation where role = 'step' and parent_id in (from gone_attempt)"),
    (
        "attempt",
        "select n.attempt_id from node n join node above on above.node_id = n.parent_id "
        "where above.attempt_id in (from gone_attempt)",
    ),
    # What was posed by an attempt is part of its text, also the other way round, and so is a prompt that shows it.
    (
        "attempt",
        "select source_attempt_id from problem where problem_id in (from gone_whole) and source_attempt_id is not null",
    ),
    ("whole", _SAME_QUESTION.format("source_attempt_id in (from gone_attempt)")),
    (
        "attempt",
        "select d.child_id from derivation d join attempt parent on parent.attempt_id = d.parent_id join attempt child on "
        "child.attempt_id = d.child_id join prompt p on p.prompt_id = child.prompt_id where d.parent_id in (from gone_attempt) "
        f"and length(parent.text) >= {SHORTEST} and contains(p.text, parent.text)",
    ),
)
"""What each round adds, until nothing is added."""

_HANGING = (
    ("verdict", "select verdict_id from verdict where attempt_id in (from gone_attempt)"),
    ("prompt", "select prompt_id from attempt where problem_id in (from gone_whole)"),
    (
        "prompt",
        "select a.prompt_id from attempt a join node n using (attempt_id) where n.depth > 1 and a.attempt_id in (from gone_attempt) "
        "and not exists (select 1 from attempt o where o.prompt_id = a.prompt_id and o.attempt_id not in (from gone_attempt))",
    ),
    (
        "prompt",
        "select child.prompt_id from derivation d join attempt parent on parent.attempt_id = d.parent_id join attempt child "
        "on child.attempt_id = d.child_id join prompt p on p.prompt_id = child.prompt_id where d.parent_id in "
        f"(from gone_attempt) and length(parent.text) >= {SHORTEST} and contains(p.text, parent.text)",
    ),
    # A task that a prompt showed as an example, on one line: the prompt goes, and what was written to it stays.
    *(
        (
            "prompt",
            f"select child.prompt_id from problem q join derivation d on d.parent_id = q.{shown} join attempt child "
            "on child.attempt_id = d.child_id join prompt p on p.prompt_id = child.prompt_id where q.problem_id in (from gone_whole) "
            "and contains(p.text, rtrim(regexp_replace(trim(q.question), '\\s+', ' ', 'g'), ':'))",
        )
        for shown in ("problem_id", "source_attempt_id")
    ),
)


def _seed(connection: duckdb.DuckDBPyConnection, what: str, identity: str) -> None:
    match what:
        case "problem":
            _add(connection, "whole", _SAME_QUESTION.format("problem_id = ?"), [identity])
        case "source":
            _add(connection, "whole", _SAME_QUESTION.format("source = ?"), [identity])
        case "example" | "attempt":
            _add(connection, what, f"select {what}_id from {what} where {what}_id = ?", [identity])
        case _:
            raise UserMistake(f"a {what} cannot be forgotten; give one of: {', '.join(KINDS)}")


def _add(connection: duckdb.DuckDBPyConnection, table: str, query: str, given: Sequence[str] = ()) -> int:
    """How many ids were new."""
    statement = (
        f"insert into gone_{table} select distinct * from ({query}) new (id) where id not in (from gone_{table})"
    )
    return int(connection.execute(statement, list(given)).fetchall()[0][0])


def _ids(connection: duckdb.DuckDBPyConnection, query: str, given: Sequence[object] = ()) -> list[str]:
    return sorted({row[0].hex for row in connection.execute(query, list(given)).fetchall()})


def _barred(connection: duckdb.DuckDBPyConnection, what: str, identity: str) -> dict[str, list[str]]:
    """The digests by which tasks know what they must not take up again."""
    rows = connection.execute
    questions = rows("select distinct question from problem where problem_id in (from gone_whole)").fetchall()
    answers = rows(
        f"select question, text from ({_SAID}) said (question, text) where text <> '' "
        "and question not in (select question from problem where problem_id in (from gone_whole)) "
        "union select question, rationale from problem where rationale is not null and problem_id in (from gone_problem) "
        "and problem_id not in (from gone_whole)"
    ).fetchall()
    requests = (
        "select request_id from attempt where attempt_id in (from gone_attempt) and problem_id not in (from gone_whole)"
    )
    return {
        QUESTION: sorted(question_digest(question) for (question,) in questions),
        TEXT: sorted(text_digest(question, text) for question, text in answers),
        REQUEST: _ids(connection, requests),
        SOURCE: [source_digest(identity)] if what == "source" else [],
    }


def _texts(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The texts themselves, the longest first: to be looked for, never to be kept."""
    found: dict[str, None] = {}
    for table, columns in TEXTS.items():
        for column in columns:
            gone = "gone_whole" if column == "question" else f"gone_{table}"
            query = f"select distinct {column} from {table} where {table}_id in (from {gone}) and {column} <> ''"
            found |= dict.fromkeys(row[0] for row in connection.execute(query).fetchall())
    return sorted(found, key=lambda text: (-len(text), text))


def forget(ledger: Ledger, found: Found, reason: str, runs: Sequence[str]) -> list[Erased]:
    """Erases it for good and gives back the shards that went; the caller has the home alone.

    `runs` are those whose reports may show it. First tombstones and rewritten shards, then the event, then everything else.
    """
    shards = ledger.shards
    buried = shards.write_columns("tombstone", to_columns("tombstone", tombstone_rows(found.ids | found.barred)))
    tombstones = Tombstones.of(ledger.home)
    erased = [_rewritten(shards, table, digest, tombstones) for table, digest in found.shards]
    erased += _strays(ledger, found, tombstones)
    ledger.record(
        FORGOTTEN,
        {
            "what": found.what,
            "reason": reason,
            "rows": found.counts,
            "tombstones": {"table": buried.table, "shards": list(buried.shards), "rows": buried.rows},
            "erased": [one.plain() for one in erased],
            "runs": sorted(runs),
            "checkpoints": found.checkpoints,
            "descendants": found.descendants,
        },
    )
    return erased


def _rewritten(shards: Shards, table: str, digest: str, tombstones: Tombstones) -> Erased:
    """A shard without its forgotten rows, written beside it."""
    try:
        left = kept_rows(table, shards.verified(digest, table), tombstones)
    except DamagedShard:
        return Erased(table, digest)  # nothing of it can be trusted, and its text must go all the same
    (replaced_by,) = shards.write_columns(table, left, left.num_rows).shards if left.num_rows else (None,)
    return Erased(table, digest, replaced_by)


def _strays(ledger: Ledger, found: Found, tombstones: Tombstones) -> list[Erased]:
    """Shards that no step names, left by a process that died, if they hold any of it: they are made again when asked for."""
    with ledger.writer() as connection:
        known = {row[0].hex for row in connection.execute("select digest from shard").fetchall()}
    strays = []
    for table in ROWS:
        for path in sorted((ledger.home.shards / table).glob("[!.]*.parquet")):
            if path.stem in known:
                continue
            ids = set(column_ids(ledger.shards.table(path.stem, table), f"{table}_id"))
            if not ids.isdisjoint(tombstones.ids.get(table, ())) or rows_with(path, found.texts):
                strays.append(Erased(table, path.stem))
    return strays
