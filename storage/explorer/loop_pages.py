"""Pages about loops: runs, a run's health, its rejects, two iterations beside each other, rationales, flips."""

from starlette.requests import Request
from starlette.responses import Response

from storage.answers import Run
from storage.errors import UserMistake
from storage.explorer.board import read_board
from storage.explorer.comparing import CHANGES, choose, compare
from storage.explorer.flips import read_flips
from storage.explorer.outcomes import read_outcomes
from storage.explorer.paging import PAGE
from storage.explorer.rationales import find_rationales
from storage.explorer.session import Session, chosen_run, number
from storage.report.curve import accuracy_curve


def runs(session: Session, request: Request) -> Response:
    """Every run, arms under their group."""
    catalogue = session.held.catalogue
    with session.held.lineage() as lineage:
        scores = lineage.rows(
            "select run_id, list(held_out_accuracy order by iteration) from v_iteration where held_out_accuracy is not null group by 1",
            [],
        )
    grouped: dict[str | None, list[Run]] = {}
    for run in catalogue.runs.values():
        parent = run.parent_run_id if run.parent_run_id in catalogue.runs else None
        grouped.setdefault(parent, []).append(run)
    listed = [
        (run, depth)
        for top in grouped.get(None, [])
        for run, depth in [(top, 0), *((arm, 1) for arm in grouped.get(top.run_id, []))]
    ]
    return session.page(request, "runs.html.jinja", "/", "Runs", runs=listed, scores=dict(scores), catalogue=catalogue)


def board(session: Session, request: Request) -> Response:
    """A run's loop-health board; of a group, its arms' curves."""
    catalogue, identity = session.held.catalogue, request.path_params["identity"].lower()
    run = catalogue.runs.get(identity)
    if run is None:
        raise UserMistake(f"no run {identity[:40]!r} here; choose one of the list")
    with session.held.lineage() as lineage:
        arms = lineage.arms(identity)
        boards = [read_board(lineage, catalogue, one) for one in arms or [run]]
    shown = [one.arm for one in boards if one.arm.dev]
    curve = accuracy_curve(shown, 980, 330) if shown else None
    return session.page(
        request,
        "board.html.jinja",
        "/",
        run.name,
        run=run,
        boards=boards,
        group=bool(arms),
        curve=curve,
        catalogue=catalogue,
    )


def rejected(session: Session, request: Request) -> Response:
    """A run's rejected and undecided attempts by reason."""
    run_id = chosen_run(session, request)
    found = None
    if run_id:
        with session.held.lineage() as lineage:
            found = read_outcomes(lineage, session.held.catalogue, run_id)
    return session.page(
        request, "rejected.html.jinja", "/rejected", "Rejected", run_id=run_id, found=found, runs=_judged(session)
    )


def comparison(session: Session, request: Request) -> Response:
    """Two iterations of a run on the same held-out problems."""
    catalogue, given = session.held.catalogue, request.query_params
    change = given.get("change") or "gained"
    if change not in CHANGES:
        raise UserMistake(f"no change {change[:40]!r}; there are: {', '.join(CHANGES)}")
    pairs = {(one.run_id, one.split) for one in catalogue.evaluations}
    several = {key for key in pairs if sum((one.run_id, one.split) == key for one in catalogue.evaluations) > 1}
    run_id = (
        chosen_run(session, request)
        if given.get("run")
        else next((one for one in catalogue.runs if (one, "dev") in several), None)
    )
    run_id = run_id or next((run for run, _ in several), None)
    split = given.get("split") or (
        "dev" if (run_id, "dev") in pairs else next((s for r, s in pairs if r == run_id), "dev")
    )
    found = None
    if run_id and (run_id, split) in several:
        before, after = choose(catalogue, run_id, split, number(request, "from"), number(request, "to"))
        with session.held.lineage() as lineage:
            found = compare(lineage, before, after, change, number(request, "start", 0) or 0)
    return session.page(
        request, "compare.html.jinja", "/compare", "Compare", found=found, run_id=run_id, split=split, change=change, changes=CHANGES,
        runs=[(one, catalogue.run_name(one)) for one in catalogue.runs if any(run == one for run, _ in several)],
        splits=sorted({s for r, s in pairs if r == run_id}), page=PAGE,
        iterations=[one for one in catalogue.evaluations if one.run_id == run_id and one.split == split],
    )  # fmt: skip


def rationales(session: Session, request: Request) -> Response:
    """Rationalized attempts beside the failures that they repair."""
    catalogue, run_id = session.held.catalogue, chosen_run(session, request)
    there = [
        (one.run_id, catalogue.run_name(one.run_id)) for one in catalogue.attempts.placed if "rationalize" in one.step
    ]
    runs = [(one, catalogue.run_name(one)) for one in catalogue.runs if one in dict(there)]
    if not request.query_params.get("run") and runs:
        run_id = runs[0][0]
    iteration, verdict, found = number(request, "iteration"), request.query_params.get("verdict", ""), None
    if run_id:
        with session.held.lineage() as lineage:
            found = find_rationales(lineage, catalogue, run_id, iteration, verdict, request.query_params.get("after"))
    iterations = sorted({one.iteration for one in catalogue.attempts.of(run_id or "") if "rationalize" in one.step})
    return session.page(request, "rationales.html.jinja", "/rationales", "Rationales", run_id=run_id, runs=runs, found=found,
                        iteration=iteration, verdict=verdict, iterations=iterations)  # fmt: skip


def flips(session: Session, request: Request) -> Response:
    """Verdicts that no longer hold."""
    after = request.query_params.get("after", "")
    if after and (len(after) != 32 or set(after) - set("0123456789abcdef")):
        raise UserMistake("this page is of another snapshot; look again from the beginning")
    with session.held.lineage() as lineage:
        found = read_flips(lineage, after)
    return session.page(request, "flips.html.jinja", "/flips", "Flips", flips=found[:PAGE], more=len(found) > PAGE)


def _judged(session: Session) -> list[tuple[str, str]]:
    catalogue = session.held.catalogue
    judged = {one.run_id for one in catalogue.verdicts.placed}
    return [(one, catalogue.run_name(one)) for one in catalogue.runs if one in judged]
