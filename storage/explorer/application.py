"""The explorer as an ASGI application: which address is which page, and what is said where something is wrong."""

import threading
from collections.abc import Callable
from importlib import resources

import duckdb
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from storage.errors import StarloopError, UserMistake
from storage.explorer import finding_pages, loop_pages, sql_page, thing_pages
from storage.explorer.gate import Gate
from storage.explorer.session import Session
from storage.home import Home

Page = Callable[[Session, Request], Response]

PAGES: dict[str, Page] = {
    "/": loop_pages.runs,
    "/run/{identity}": loop_pages.board,
    "/rejected": loop_pages.rejected,
    "/compare": loop_pages.comparison,
    "/rationales": loop_pages.rationales,
    "/flips": loop_pages.flips,
    "/attempts": finding_pages.attempts,
    "/examples": finding_pages.examples,
    "/go": finding_pages.go,
    "/attempt/{identity}": thing_pages.attempt,
    "/example/{identity}": thing_pages.example,
    "/problem/{identity}": thing_pages.problem,
    "/prompt/{identity}": thing_pages.prompt,
    "/checkpoint/{identity}": thing_pages.checkpoint,
    "/mix/{identity}": thing_pages.mix,
    "/text/{kind}/{identity}/{field}": thing_pages.text,
    "/sql": sql_page.sql,
    "/sql.csv": sql_page.as_csv,
}


def open_explorer(home: Home, token: str, port: int) -> Gate:
    """The application behind its gate, on the snapshot of a home as it is now. Raises StorageFault if that is damaged."""
    session = Session(home)
    threading.Thread(target=lambda: session.held.catalogue, name="catalogue", daemon=True).start()

    def bound(page: Page) -> Callable[[Request], Response]:
        return lambda request: page(session, request)

    def mistaken(request: Request, error: Exception) -> Response:
        if not isinstance(error, UserMistake | StarloopError):
            said = str(error).splitlines()[0] if isinstance(error, duckdb.Error) else "there is no such page"
        else:
            said = str(error)
        known = isinstance(error, UserMistake) or not isinstance(error, StarloopError | duckdb.Error)
        return session.page(
            request,
            "error.html.jinja",
            "",
            "Not found" if known else "Cannot be read",
            404 if known else 500,
            said=said,
        )

    def fresh(request: Request) -> Response:
        del request
        return JSONResponse({"newer": session.held.newer()})

    def reload(request: Request) -> Response:
        session.reload()
        back = request.query_params.get("to", "/")
        return RedirectResponse(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/", 303)

    routes = [Route(path, bound(page), methods=["GET"]) for path, page in PAGES.items()]
    application = Starlette(
        routes=[
            *routes,
            Route("/fresh", fresh, methods=["GET"]),
            Route("/reload", reload, methods=["POST"]),
            Mount("/static", StaticFiles(directory=str(resources.files("storage") / "explorer" / "static"))),
        ],
        exception_handlers={UserMistake: mistaken, StarloopError: mistaken, duckdb.Error: mistaken, 404: mistaken},
    )
    return Gate(application, token, port)
