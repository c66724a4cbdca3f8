"""Which MLflow a home talks to, whether it answers, and how its own store follows a home that was moved.

A user's `MLFLOW_TRACKING_URI` wins; without one it is the home's own store, `<home>/mlflow.db` with artifacts in
`<home>/mlartifacts`, written here as `home` so that it stays the same store wherever the home lies. Nothing here
imports mlflow.
"""

import os
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from storage.errors import StorageFault
from storage.home import atomic_write

HOME = "home"
"""The destination that is the home's own store."""

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database holds absolute artifact addresses (as of 3.17)."""


def configured(tracking_uri: str | None = None) -> str | None:
    """The tracking server asked for, or None for the home's own store."""
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None


def destination(home_root: Path, tracking_uri: str | None = None) -> str:
    """What the server is called in files: `home`, or its address without user name and password."""
    uri = configured(tracking_uri)
    if uri is None or uri == own(home_root):
        return HOME
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def address(home_root: Path, tracking_uri: str | None = None) -> str:
    """What an MLflow client opens."""
    return configured(tracking_uri) or own(home_root)


def own(home_root: Path) -> str:
    """The address of the home's own store; a person may point `MLFLOW_TRACKING_URI` at it too."""
    return f"sqlite:///{home_root.resolve() / 'mlflow.db'}"


def artifacts(home_root: Path) -> str:
    """Where the home's own store keeps artifacts."""
    return (home_root.resolve() / "mlartifacts").as_uri()


def answers(uri: str, timeout_s: float = 5.0) -> bool:
    """Whether an http(s) server says anything at all; True for every other kind of address."""
    if not uri.startswith(("http://", "https://")):
        return True
    parts = urlsplit(uri)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/") + "/health"))
    try:
        urllib.request.urlopen(bare, timeout=timeout_s).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        return answer.code not in (502, 503, 504)
    except urllib.error.URLError as fault:
        return "certificate" in str(fault.reason).lower()
    except OSError:
        return False
    return True


def silence(to: str) -> str:
    """The sentence for a server that does not answer."""
    return (
        f"MLflow at {to} does not answer; what it should be told waits in the outbox, and is told with its own times "
        "by the next run that reaches it"
    )


def untold(cause: str, names: list[str]) -> str:
    """The sentence for messages that MLflow would not take."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"MLflow was not told {names[0]}{more}: {cause}; it stays in the outbox, and logs/mlflow.log has the details"


def moved(home_root: Path) -> bool:
    """Whether the home's own store was last written to while the home lay elsewhere."""
    last = _last_root(home_root)
    return last is not None and last != str(home_root.resolve())


def follow(home_root: Path) -> None:
    """Point the home's own store at its artifacts where they lie now; remembers where that is."""
    root, last = home_root.resolve(), _last_root(home_root)
    if last is not None and last != str(root):
        before, now = artifacts_of(last), artifacts(root)
        try:
            with closing(sqlite3.connect(root / "mlflow.db", timeout=30)) as database, database:
                known = {
                    (table, column)
                    for table, _ in PLACES
                    for (column,) in database.execute("select name from pragma_table_info(?)", (table,))
                }
                for table, column in PLACES:
                    if (table, column) in known:
                        database.execute(
                            f"update {table} set {column} = ? || substr({column}, ?) where {column} = ? or substr({column}, 1, ?) = ?",
                            (now, len(before) + 1, before, len(before) + 1, before + "/"),
                        )
        except sqlite3.Error as fault:
            raise StorageFault(
                f"the MLflow store in {root} cannot follow its home from {last} ({fault}); move the home back, or delete "
                "mlflow.db, mlartifacts and outbox/delivered to have it made again"
            ) from fault
    if last != str(root):
        _place(root).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(_place(root), str(root).encode())


def artifacts_of(root: str) -> str:
    """`artifacts` of a home that lay at `root`."""
    return (Path(root) / "mlartifacts").as_uri()


def _place(home_root: Path) -> Path:
    return home_root / "outbox" / "place"


def _last_root(home_root: Path) -> str | None:
    try:
        return _place(home_root).read_text()
    except FileNotFoundError:
        return None
