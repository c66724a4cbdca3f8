"""`starloop explore`: the lineage in a browser, read-only."""

import secrets
import socket
import sys
from pathlib import Path

from storage.errors import UserMistake
from storage.home import Home

PORT = 8420
"""Where it is looked for first; another free one is taken if this is not."""


def explore(*, port: int | None = None, browser: bool = False, home: Path | None = None) -> None:
    """Look at the lineage in a browser: search, walk the graph of an example both ways, compare iterations, ask in SQL.

    Prints the address, which carries the token of this session, and serves it until Ctrl-C. Nothing can be changed there.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 for any free one. 8420, or any free one where that is taken, if not given.
    browser
        Open the address in the browser.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    import uvicorn

    from storage.explorer.application import open_explorer

    opened = Home.existing(home)
    listener = listening(port)
    number, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    address = f"http://127.0.0.1:{number}/?token={token}"
    config = uvicorn.Config(
        open_explorer(opened, token, number), lifespan="off", log_level="warning", access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    sys.stdout.write(f"the lineage of {opened.root} is at\n\n  {address}\n\nCtrl-C ends it\n")
    sys.stdout.flush()
    if browser:
        import webbrowser

        webbrowser.open(address)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        sys.stdout.write("closed\n")


def listening(port: int | None) -> socket.socket:
    """A socket on loopback. Raises UserMistake if the port that was asked for is taken."""
    for wanted in (PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError) as error:
            listener.close()
            if port is not None:
                reason = getattr(error, "strerror", None) or str(error)
                raise UserMistake(
                    f"port {port} on 127.0.0.1 cannot be used ({reason}); give another with --port, or 0 for any"
                ) from error
        else:
            return listener
    raise UserMistake("no port on 127.0.0.1 is free")
