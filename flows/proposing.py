"""The step `propose`: problems that the model adds to those of its iteration."""

from typing import TYPE_CHECKING

from flows.step import Model, accounting_of, joined
from storage.manifest import Manifest
from tasks.engines.protocol import Sampling
from tasks.pose import cells
from tasks.problems.protocol import Proposable
from tasks.problems.registry import load as load_problems
from tasks.propose import TEMPLATE, admit, propose
from tasks.sample import sample
from tasks.settle import settle

if TYPE_CHECKING:
    from flows.iteration import Steps


def proposed(steps: "Steps", iteration: int, model: Model, problems: Manifest) -> tuple[Manifest, dict[str, int]]:
    """The iteration's problems with those that the model adds, and how many it was asked for and how many came of it."""
    config = steps.config.propose
    if not config.problems:
        return problems, {}
    writing = steps.writing(problems, model, template=TEMPLATE)
    how = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
    call = writing | {
        "count": config.problems, "shown": config.shown, "sampling": how, "seed": steps.config.seed + iteration
    }  # fmt: skip
    attempts = steps.loop.run(iteration, "propose", propose, [call])
    known = sum((one.problems for one in steps.history), start=problems)
    by_program = config.gold != "majority" and isinstance(load_problems(steps.config.problems), Proposable)
    call = {
        "attempts": attempts[0].output.manifests["attempts"],
        "known": known,
        "source": steps.config.problems,
        "by_program": by_program,
        "cell_rows": steps.config.cell_rows,
    }
    record = steps.loop.run(iteration, "propose admit", admit, [call])[0]
    told = {"proposed": config.problems, "proposed_admitted": record.output.accounting.ok}
    new = record.output.manifests["problems"]
    if new.rows and not by_program:
        new = _settled(steps, iteration, model, new)
        told["proposed_settled"] = new.rows
    return (problems + new if new.rows else problems), told


def _settled(steps: "Steps", iteration: int, model: Model, new: Manifest) -> Manifest:
    """Those of the new problems that the model's own votes agree on."""
    config = steps.config.propose
    parts = cells(new, steps.loop.runtime.shards)
    calls = [
        steps.writing(part, model) | {"sampling": steps.drawing(), "first_sample": 0, "samples": config.votes}
        for part in parts
    ]
    votes = steps.loop.run(iteration, "propose vote", sample, calls)
    call = {
        "problems": new,
        "attempts": joined(votes, "attempts"),
        "verifier": steps.verifier,
        "least_share": config.least_share,
        "cell_rows": steps.config.cell_rows,
    }
    settled = steps.loop.run(iteration, "propose settle", settle, [call])
    if not accounting_of(settled).ok:
        steps.loop.listener.said(
            f"iteration {iteration}: of {new.rows:,} proposed problems none had an answer that "
            f"{config.least_share:.0%} of {config.votes} attempts agreed on"
        )
    return settled[0].output.manifests["problems"]
