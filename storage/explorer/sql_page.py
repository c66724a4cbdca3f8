"""SQL that a person wrote, with the saved questions beside it: the same walls as `starloop sql` (storage/query.py)."""

import csv
import io
import time
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from storage.errors import UserMistake
from storage.explorer.saved import Saved, saved_questions
from storage.explorer.session import Session
from storage.query import Answer

ROWS, CSV_ROWS = 200, 100_000
TIMES_S = (5, 20, 60)
"""The time limits that can be chosen."""

KINDS = {"attempt_id": "attempt", "example_id": "example", "problem_id": "problem", "prompt_id": "prompt", "checkpoint_id": "checkpoint",
         "mix_id": "mix", "run_id": "run", "parent_id": "", "written_by": "checkpoint", "trained": "checkpoint",
         "ancestor_id": "checkpoint", "was_checkpoint_id": "checkpoint", "was_attempt_id": "attempt",
         "base_checkpoint_id": "checkpoint", "other_id": "example"}  # fmt: skip
"""Columns whose ids have a page."""

VIEWS = (
    "select table_name as name, 'table' as kind, estimated_size as rows from duckdb_tables() where database_name = 'lineage'\n"
    "union all select view_name, 'view', null from duckdb_views() where database_name = 'lineage' and not internal\norder by kind desc, name"
)
COLUMNS = (
    "select table_name, column_name, data_type from duckdb_columns() where database_name = 'lineage' and not internal\n"
    "order by table_name not like 'v!_%' escape '!', table_name, column_index"
)


def sql(session: Session, request: Request) -> Response:
    """Ask in SQL."""
    question = request.query_params.get("q", "")
    limit_s = _limit(request)
    answer, mistake, took = None, None, 0.0
    if question.strip():
        began = time.perf_counter()
        try:
            answer = _asked(session, question, ROWS, limit_s)
        except UserMistake as error:
            mistake = str(error)
        took = time.perf_counter() - began
    saved = saved_questions(session.home)
    name = next((one.name for one in saved if one.sql == question.strip()), None)
    return session.page(
        request, "sql.html.jinja", "/sql", name or "SQL", status=200 if mistake is None else 400, question=question, answer=answer,
        cells=[[_cell(column, value) for column, value in zip(answer.columns, row, strict=True)] for row in answer.rows] if answer else [],
        numeric=_numeric(answer), mistake=mistake, took=took, chapters=_chapters(saved), views=VIEWS, columns=COLUMNS, limit_s=limit_s, times=TIMES_S, rows=ROWS, name=name,
    )  # fmt: skip


def as_csv(session: Session, request: Request) -> Response:
    """The answer as a file, whole texts and more rows."""
    answer = _asked(session, request.query_params.get("q", ""), CSV_ROWS, _limit(request))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(answer.columns)
    writer.writerows([["" if value is None else _readable(value) for value in row] for row in answer.rows])
    return PlainTextResponse(out.getvalue().encode("utf-8", "replace"), media_type="text/csv",
                             headers={"Content-Disposition": 'attachment; filename="answer.csv"'})  # fmt: skip


def _asked(session: Session, question: str, rows: int, limit_s: int) -> Answer:
    with session.held.lineage(limit_s + 5) as lineage:
        return lineage.query(question, limit=rows, timeout_s=limit_s)


def _chapters(saved: list[Saved]) -> dict[str, list[Saved]]:
    chapters: dict[str, list[Saved]] = {}
    for one in saved:
        chapters.setdefault(one.chapter, []).append(one)
    return chapters


def _limit(request: Request) -> int:
    given = request.query_params.get("seconds", "")
    return int(given) if given in map(str, TIMES_S) else TIMES_S[1]


def _cell(column: str, value: Any) -> tuple[str, str]:
    """What a cell shows, and the kind of thing it names, if it has a page."""
    if isinstance(value, UUID):
        return value.hex, KINDS.get(column.lower(), "")
    return ("" if value is None else str(_readable(value))), "null" if value is None else ""


def _readable(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case float():
            return f"{value:.6g}" if abs(value) < 1e15 else value
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            return value


def _numeric(answer: Answer | None) -> list[bool]:
    if answer is None:
        return []
    return [
        any(isinstance(row[n], int | float) for row in answer.rows)
        and all(
            row[n] is None or (isinstance(row[n], int | float) and not isinstance(row[n], bool)) for row in answer.rows
        )
        for n in range(len(answer.columns))
    ]
