"""`starloop release`: a checkpoint as a folder that a model hub takes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from storage.home import Home


def release(
    checkpoint: str,
    folder: Path,
    /,
    *,
    merged: Annotated[bool, Parameter(negative=())] = False,
    licence: str | None = None,
    name: str = "",
    home: Path | None = None,
) -> None:
    """Write safetensors, tokenizer, a model card from the ledger and all settings to a folder. Nothing is uploaded.

    Parameters
    ----------
    checkpoint
        A checkpoint of this home (ckp_…), a run (the checkpoint it tested last), the beginning of an id, or latest.
    folder
        A folder that is not there yet.
    merged
        Of an adapter, whole weights in place of the adapter.
    licence
        The licence of the weights, as hubs write it: apache-2.0. Without it the card lists the licences of the data and names none.
    name
        What the card is headed; the folder's name if not given.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.console import ConsoleListener
    from flows.release import release as write

    console = Console(highlight=False, soft_wrap=True)
    with ConsoleListener(console) as listening:
        made = write(Home.existing(home), listening, checkpoint, folder, merged=merged, licence=licence, name=name)
    size = sum(path.stat().st_size for path in made.iterdir())
    console.print(
        f"{folder}: {len(list(made.iterdir()))} files, {size:,} bytes; read {folder / 'README.md'} before you upload it",
        markup=False,
    )
