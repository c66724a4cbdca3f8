"""Pages of one thing: what it says, its graph, and what stands beside it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from storage.errors import UserMistake
from storage.explorer.details import (
    attempt_details,
    composition,
    example_details,
    nothing,
    read_evidence,
    read_members,
    read_problem,
    read_prompt,
    read_slice,
)
from storage.explorer.drawing import drawn, listed
from storage.explorer.examples import read_places
from storage.explorer.graph import (
    Web,
    attempt_web,
    checkpoint_web,
    example_web,
    mix_web,
    problem_web,
    prompt_web,
    short,
)
from storage.explorer.paging import PAGE
from storage.explorer.session import Session, number

SLICE = 50_000
"""Characters of a long text on a page of its own."""


def attempt(session: Session, request: Request) -> Response:
    """An attempt: prompt, text, verdicts; a rationalized one beside the failure it repairs."""
    identity, catalogue = _id(request), session.held.catalogue
    with session.held.lineage() as lineage:
        details = attempt_details(lineage, catalogue, identity)
        members = read_members(lineage, [one.example_id for one in details.evidence]) if details.evidence else {}
    web = attempt_web(
        catalogue, details.told, details.parents, details.children, details.roles, details.evidence, members
    )
    return _shown(session, request, "attempt", identity, web, "/attempts", details=details, members=members)


def example(session: Session, request: Request) -> Response:
    """An example: what is trained on, its evidence, and the training sets it stands in."""
    identity, catalogue = _id(request), session.held.catalogue
    with session.held.lineage() as lineage:
        details = example_details(lineage, identity)
    return _shown(session, request, "example", identity, example_web(catalogue, details), "/examples", details=details)


def problem(session: Session, request: Request) -> Response:
    """A problem and the attempts at it."""
    identity = _id(request)
    with session.held.lineage() as lineage:
        found = read_problem(lineage, identity)
        groups = lineage.rows(
            "with made as materialized (select attempt_id, checkpoint_id from attempt where problem_id = ?::uuid), "
            "good as (select distinct attempt_id from verdict where passed and aspect = '' and attempt_id in (select attempt_id from made)) "
            "select checkpoint_id, count(*), count(*) filter (where attempt_id in (select attempt_id from good)) from made group by 1",
            [identity],
        )
        evidence = read_evidence(lineage, "problem_id", identity)
    catalogue = session.held.catalogue
    groups.sort(key=lambda row: (catalogue.place(row[0]), row[0]))
    web = problem_web(found, groups, evidence)
    return _shown(session, request, "problem", identity, web, "", problem=found, groups=groups, evidence=evidence)


def prompt(session: Session, request: Request) -> Response:
    """A prompt and the attempts that answer it."""
    identity = _id(request)
    with session.held.lineage() as lineage:
        found = read_prompt(lineage, identity)
        ids = [
            row[0]
            for row in lineage.rows("select attempt_id from attempt where prompt_id = ?::uuid limit 200", [identity])
        ]
    return _shown(
        session, request, "prompt", identity, prompt_web(found, ids, len(ids)), "", prompt=found, attempts=ids
    )


def checkpoint(session: Session, request: Request) -> Response:
    """A checkpoint: what it was made from, how it scored, what it wrote."""
    identity, catalogue = _id(request), session.held.catalogue
    with session.held.lineage() as lineage:
        if identity not in catalogue.checkpoints:
            raise nothing(lineage, "checkpoint", identity)
        made = catalogue.checkpoints[identity]
        attempts = lineage.rows("select count(*) from attempt where checkpoint_id = ?::uuid", [identity])[0][0]
        evaluations = lineage.rows(
            "select evaluation_id, split, source, verifier, n, passed, undecided, accuracy, ci_low, ci_high from evaluation "
            "where checkpoint_id = ?::uuid order by split, evaluation_id", [identity],
        )  # fmt: skip
        training = lineage.rows(
            "select recipe, seed, steps, rows_seen, tokens_seen, tokens_trained, final_loss from training where training_id = ?::uuid",
            [made.training_id],
        ) if made.training_id else []  # fmt: skip
    web = checkpoint_web(catalogue, identity, attempts)
    return _shown(session, request, "checkpoint", identity, web, "/", made=made, attempts=attempts, evaluations=evaluations,
                  training=training[0] if training else None)  # fmt: skip


def mix(session: Session, request: Request) -> Response:
    """A training set, row by row."""
    identity, catalogue = _id(request), session.held.catalogue
    start = number(request, "start", 0) or 0
    with session.held.lineage() as lineage:
        rows = composition(lineage, identity)
        places = read_places(lineage, identity, start, PAGE + 1)
    return _shown(session, request, "mix", identity, mix_web(catalogue, identity, rows), "/examples", rows=rows,
                  total=sum(count for _, count in rows), places=places[:PAGE], more=len(places) > PAGE, start=start)  # fmt: skip


def text(session: Session, request: Request) -> Response:
    """A long text, a slice at a time."""
    kind, field, identity = request.path_params["kind"], request.path_params["field"], _id(request)
    start = number(request, "from", 0) or 0
    with session.held.lineage() as lineage:
        piece = read_slice(lineage, kind, identity, field, start, SLICE)
    return session.page(request, "text.html.jinja", "", f"{field} of {short(kind, identity)}", kind=kind, field=field, identity=identity,
                        piece=piece, step=SLICE)  # fmt: skip


def _shown(
    session: Session, request: Request, kind: str, identity: str, web: Web, section: str, **values: Any
) -> Response:
    return session.page(
        request, f"{kind}.html.jinja", section, f"{kind} {short(kind, identity)}", kind=kind, identity=identity, web=web,
        graph=drawn(web), came_from=listed(web, upward=True), went_into=listed(web, upward=False), catalogue=session.held.catalogue, **values,
    )  # fmt: skip


def _id(request: Request) -> str:
    identity = request.path_params["identity"].lower().replace("-", "")
    if len(identity) != 32 or set(identity) - set("0123456789abcdef"):
        raise UserMistake(f"{identity[:60]!r} is no whole id; search for its beginning")
    return identity
