"""`starloop adopt`: keep a step's results after a change of code that does not matter."""

from pathlib import Path

from storage.home import Home
from storage.lineage import Lineage


def adopt(run: str, step: str, /, *, reason: str, iteration: int | None = None, home: Path | None = None) -> None:
    """Accept a step's results as what today's code, texts and libraries would give. It is recorded, with the reason.

    Parameters
    ----------
    run
        A run id, or the beginning of one.
    step
        A step's name as the run shows it, such as sample or fine-tune.
    reason
        Why the change does not matter.
    iteration
        Only this iteration's.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.adoption import adopt as accept

    opened = Home.existing(home)
    with Lineage.open(opened, fresh=True) as lineage:
        run_id = lineage.find(run, ("run",)).id
    made = accept(opened, run_id, step, reason, iteration)
    console = Console(highlight=False)
    if not made:
        console.print(f"nothing to adopt: what '{step}' stands for is what it was", markup=False)
    for one in made:
        console.print(
            f"{one.iteration} {one.step} {one.cell}: {one.old_key[-8:]} stands for {one.new_key[-8:]}", markup=False
        )
