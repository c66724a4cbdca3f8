"""`starloop resume`: go on with a run as it was asked for."""

from pathlib import Path

from storage.errors import UserMistake
from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage


def resume(run: str, /, *, home: Path | None = None) -> None:
    """Go on with a run: what is finished is found cached, and what failed or was never reached is done.

    Parameters
    ----------
    run
        A run id, or the beginning of one; of a group, all its arms.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.run import carry_out, on_server
    from flows.cli.status import show_end
    from flows.request import REQUESTS

    opened = Home.existing(home)
    with Lineage.open(opened, fresh=True) as lineage:
        found = lineage.run(lineage.find(run, ("run",)).id)
    if found.method == "compare":
        from flows.cli.compare import show_comparison
        from flows.compare import CompareRequest

        asked = CompareRequest.model_validate({**found.config, "home": str(opened.root)})
        show_comparison(opened, on_server("compare", lambda: asked, opened, Console()), json_=False)
        return
    if found.method not in REQUESTS:
        raise UserMistake(
            f"{show('run', found.run_id)} is a {found.method}, which has nothing to go on with; start it again instead"
        )
    show_end(opened, carry_out(found.method, found.preset, found.config, opened, Console()))
