"""The step `choose`: which problems of a fixed pool an iteration samples (AdaSTaR)."""

from typing import TYPE_CHECKING

from storage.manifest import Manifest
from tasks.choose import Visited, choose
from tasks.composition import SAMPLED

if TYPE_CHECKING:
    from flows.iteration import Steps


def adaptive(steps: "Steps", iteration: int) -> Manifest:
    """The problems that are on top after what earlier iterations made of theirs."""
    config = steps.config
    pool = steps.pose(iteration, "train", 0, config.problem_pool, "problem pool")
    visited = tuple(
        Visited(gathered.iteration, judged.problems, judged.attempts, judged.verdicts, outcomes.digest)
        for gathered in steps.history
        for judged, outcomes in zip(
            (one for one in gathered.judged if one.origin == SAMPLED), gathered.outcomes, strict=True
        )
    )
    call = {
        "pool": pool, "history": visited, "count": steps.problem_count, "cell_rows": config.cell_rows
    }  # fmt: skip
    return steps.loop.run(iteration, "choose problems", choose, [call])[0].output.manifests["problems"]
