"""`starloop merge`: an adapter put into its base, as a folder of whole weights."""

from pathlib import Path

from storage.home import Home
from storage.identity import show


def merge(checkpoint: str, out: Path, /, *, home: Path | None = None) -> None:
    """Put an adapter into its base and write the whole model to a folder: to serve it, publish it, or start a loop from it.

    Parameters
    ----------
    checkpoint
        An adapter of this home (ckp_…), or the beginning of its id.
    out
        A folder that is not there yet.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from storage.errors import UserMistake
    from storage.lineage import find_checkpoint
    from tasks.processes import Processes

    opened = Home.existing(home)
    found = find_checkpoint(opened, checkpoint)
    name = show("ckp", found.checkpoint_id)
    if found.kind != "adapter" or found.parent_id is None:
        raise UserMistake(f"{name} is no adapter but holds whole weights: {opened.checkpoints / found.checkpoint_id}")
    if out.exists():
        raise UserMistake(f"{out} is there already; name a folder that is not")
    adapter, base = (opened.checkpoints / one for one in (found.checkpoint_id, found.parent_id))
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with Processes(opened.logs, preload=("engine",)) as processes:
        made = processes.call("tasks.training.merged:merge", str(adapter), str(base), str(out.absolute()))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{out}: {made['parameters']:,} parameters, {name[:12]} put into {show('ckp', found.parent_id)[:12]}")
    console.print(f"start from it with --set model.source={out}", style="dim")
