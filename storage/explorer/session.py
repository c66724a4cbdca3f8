"""What the pages of one explorer share: the snapshot it holds, and how a page is made of it."""

import threading
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse

from storage.errors import UserMistake
from storage.explorer.held import Held
from storage.explorer.rendering import environment
from storage.home import Home

SECTIONS = (("/", "Runs"), ("/attempts", "Attempts"), ("/examples", "Examples"), ("/rationales", "Rationales"),
            ("/compare", "Compare"), ("/rejected", "Rejected"), ("/flips", "Flips"), ("/sql", "SQL"))  # fmt: skip


class Session:
    """One explorer. `held` is replaced when somebody asks for the newer snapshot, and by nothing else."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.held = Held(home)
        self._lock = threading.Lock()

    def reload(self) -> None:
        """Takes the snapshot that is there now; requests under way end on the one they began with."""
        with self._lock:
            if self.held.newer():
                self.held = Held(self.home)

    def page(
        self, request: Request, template: str, section: str, title: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page of this explorer."""
        held = self.held
        html = environment().get_template(template).render(
            title=title, section=section, sections=SECTIONS, held=held, newer=held.newer(), home=str(self.home.root),
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""), **values,
        )  # fmt: skip
        return HTMLResponse(html.encode("utf-8", "replace"), status)


def number(request: Request, name: str, default: int | None = None) -> int | None:
    """A number of the address. Raises UserMistake if it is none."""
    given = request.query_params.get(name, "").strip()
    if not given:
        return default
    if not given.isdecimal() or len(given) > 12:
        raise UserMistake(f"{name} is a number, not {given[:40]!r}")
    return int(given)


def chosen_run(session: Session, request: Request) -> str | None:
    """The run of the address, or the latest that is no group and has attempts; None where there is no such run."""
    catalogue = session.held.catalogue
    given = request.query_params.get("run", "").strip().removeprefix("run_").replace("-", "").lower()
    if given:
        found = [one for one in catalogue.runs if one.startswith(given)]
        if len(found) != 1:
            raise UserMistake(f"no run {given[:40]!r} in {session.home.root}; choose one of the list")
        return found[0]
    written = {one.run_id for one in catalogue.attempts.placed}
    return next((one for one in catalogue.runs if one in written), next(iter(catalogue.runs), None))
