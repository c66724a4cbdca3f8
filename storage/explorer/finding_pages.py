"""Pages that look for something: attempts, examples, an id."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from storage.errors import UserMistake
from storage.explorer.attempts import find_attempts
from storage.explorer.examples import find_examples
from storage.explorer.filters import VERDICTS, Filter
from storage.explorer.session import Session
from storage.lineage import NAMED

PAGES = {"example": "/example/{}", "checkpoint": "/checkpoint/{}", "attempt": "/attempt/{}", "run": "/run/{}", "mix": "/mix/{}",
         "problem": "/problem/{}", "prompt": "/prompt/{}"}  # fmt: skip
"""Where each kind of thing is shown; verdicts, steps, trainings and evaluations are parts of other pages."""


def attempts(session: Session, request: Request) -> Response:
    """Search attempts."""
    wanted, catalogue = Filter.of(request.query_params), session.held.catalogue
    with session.held.lineage() as lineage:
        page = find_attempts(lineage, catalogue, wanted, request.query_params.get("after"))
    return session.page(
        request, "attempts.html.jinja", "/attempts", "Attempts", wanted=wanted, page=page, catalogue=catalogue, verdicts=VERDICTS,
        runs=_runs_with_attempts(session),
    )  # fmt: skip


def examples(session: Session, request: Request) -> Response:
    """Search examples."""
    wanted, catalogue = Filter.of(request.query_params), session.held.catalogue
    with session.held.lineage() as lineage:
        origins = [row[0] for row in lineage.rows("select distinct origin from example_evidence order by 1", [])]
        page = find_examples(lineage, catalogue, wanted, request.query_params.get("after"))
    return session.page(
        request, "examples.html.jinja", "/examples", "Examples", wanted=wanted, page=page, catalogue=catalogue, verdicts=VERDICTS[:3],
        origins=origins, runs=_runs_with_attempts(session),
    )  # fmt: skip


def go(session: Session, request: Request) -> Response:
    """To what an id names; a list where it could be several."""
    text = request.query_params.get("id", "").strip()
    if not text:
        return RedirectResponse("/", 303)
    with session.held.lineage() as lineage:
        try:
            found = [lineage.find(text)]
        except UserMistake as mistake:
            found = lineage.nearest_ids(text, tuple(PAGES), 12)
            if not found:
                raise UserMistake(str(mistake)) from mistake
        for one in found[:1] if len(found) == 1 else []:
            if one.kind in PAGES:
                return RedirectResponse(PAGES[one.kind].format(one.id), 303)
            column = NAMED[one.kind]
            beside = {"verdict": ("verdict", "attempt"), "step": ("step", "run"), "evaluation": ("evaluation", "checkpoint"),
                      "training": ("checkpoint", "checkpoint")}[one.kind]  # fmt: skip
            rows = lineage.rows(f"select {beside[1]}_id from {beside[0]} where {column} = ?::uuid limit 1", [one.id])
            if rows:
                return RedirectResponse(PAGES[beside[1]].format(rows[0][0]), 303)
            raise UserMistake(f"{text[:60]!r} is a {one.kind} that has no page; ask for it on the SQL page")
    return session.page(request, "choices.html.jinja", "", "Which one?", text=text, found=found)


def _runs_with_attempts(session: Session) -> list[tuple[str, str]]:
    catalogue = session.held.catalogue
    written = {one.run_id for one in catalogue.attempts.placed}
    return [(one.run_id, one.name) for one in catalogue.runs.values() if one.run_id in written]
