"""What a fault that is not ours is for the person at the terminal: one sentence with what to do, or a defect to be shown whole."""

import os
from pathlib import Path

from storage.errors import ServerFault, StarloopError, StorageFault
from storage.home import Home, storage_fault


def attributed(error: BaseException) -> StarloopError | None:
    """The fault behind an exception: a server that went away, or a file that cannot be used. None: a defect of ours.

    Prefect wraps what its client raises, so the causes are looked at as well.
    """
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    for one in chain:
        if type(one).__module__.partition(".")[0] in {"httpx", "httpcore"} or isinstance(one, ConnectionError):
            return _server_fault(one)
    if isinstance(error, OSError):
        return _file_fault(error)
    return None


def _server_fault(error: BaseException) -> ServerFault:
    url = os.environ.get("PREFECT_API_URL", "its address")
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    return ServerFault(
        f"the Prefect server at {url} stopped answering ({said}); see that it runs, then give the same command again: "
        "what was finished is kept"
    )


def _file_fault(error: OSError) -> StorageFault:
    if error.filename is None:
        return storage_fault(error, Home.at().root)
    if isinstance(error, FileNotFoundError):
        return StorageFault(
            f"{error.filename} is not there; put it back, or give the same command again to have it made"
        )
    return storage_fault(error, Path(str(error.filename)))
