"""`starloop export`: training sets as rows, lineage as OpenLineage events or W3C PROV."""

from pathlib import Path
from typing import Literal

from storage.home import Home
from storage.lineage import Lineage


def export(
    what: Literal["mix", "openlineage", "prov"],
    identity: str,
    /,
    *,
    to: Path,
    force: bool = False,
    home: Path | None = None,
) -> None:
    """Write a training set, or lineage, for other tools.

    Parameters
    ----------
    what
        mix: a training set with where each row came from (ID: a mix, a checkpoint, or a run for all of its sets).
        openlineage: a run's events. prov: the provenance of a run or a checkpoint.
    identity
        mix_…, ckp_… or run_…, or the beginning of one.
    to
        For mix: a .parquet or .jsonl file, or a folder for `datasets.load_from_disk`. For openlineage: a .jsonl file. For prov:
        a .json, .provn or .ttl file.
    force
        Replace what is there.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    with Lineage.open(Home.existing(home), fresh=True) as lineage:
        match what:
            case "mix":
                from storage.export.training_set import export_training_set

                done = export_training_set(lineage, identity, to, force=force)
                said = f"{done.rows:,} rows of {len(done.mixes)} training set{'s' if len(done.mixes) > 1 else ''}"
            case "openlineage":
                from storage.export.lineage_events import export_openlineage

                said = f"{export_openlineage(lineage, identity, to, force=force):,} events"
            case "prov":
                from storage.export.provenance import export_prov

                said = f"{export_prov(lineage, identity, to, force=force):,} records"
    Console(soft_wrap=True, highlight=False).print(f"{said} → {to}", markup=False)
