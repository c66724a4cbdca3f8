"""How likely a model finds what was kept: the quantity that a fine-tune on it makes larger (the M-step of ReST-EM)."""

from collections.abc import Sequence

from storage.errors import EngineFault
from storage.manifest import Accounting, Manifest, Output
from storage.records import Example, MixMember
from tasks.caching import cached_task
from tasks.composition import GENERATED
from tasks.engines.protocol import Scorer
from tasks.engines.scoring import Scored
from tasks.ingredients import engine_code
from tasks.runtime import Runtime
from tasks.sitting import startup_took
from tasks.training.pairs import CHOSEN

MOST_EXAMPLES = 2_000
"""More would say no more: the mean of so many is known to a hundredth of their spread."""
BATCH_ROWS = 500


@cached_task("likelihood", engine=engine_code)
def likelihood(
    examples: Manifest,
    members: Manifest,
    engine: str,
    checkpoint_id: str,
    weights_digest: str,
    runtime: Runtime,
) -> Output:
    """The mean log-likelihood a token, in nats, of the first `MOST_EXAMPLES` members that models wrote, under the checkpoint."""
    wanted = [one.example_id for one in runtime.shards.iterate(members, MixMember) if one.role in (*GENERATED, CHOSEN)][
        :MOST_EXAMPLES
    ]
    texts = {one.example_id: one for one in runtime.shards.iterate(examples, Example)}
    pairs = [(texts[example_id].prompt, texts[example_id].completion) for example_id in wanted]
    found = scored_by(pairs, engine, checkpoint_id, weights_digest, runtime)
    tokens = sum(one.tokens for one in found)
    mean = sum(one.logprob for one in found) / tokens if tokens else None
    return Output(
        {}, Accounting(len(pairs), ok=len(found)), {"log_likelihood": mean, "rows": len(found), "scored_tokens": tokens}
    )


def scored_by(
    texts: Sequence[tuple[str, str]], engine: str, checkpoint_id: str, weights_digest: str, runtime: Runtime
) -> list[Scored]:
    """How likely the checkpoint finds each completion after its prompt, in order. Raises EngineFault where the engine cannot say, or
    holds other weights.
    """
    found: list[Scored] = []
    if not texts:
        return found
    with runtime.engines.lease(engine, runtime.home.checkpoints / checkpoint_id) as (model, startup_s):
        startup_took(startup_s)
        if not isinstance(model, Scorer):
            raise EngineFault(f"the engine {model.name} cannot say how likely a text is; take transformers")
        if model.weights_digest != weights_digest:
            raise EngineFault(
                f"the engine holds weights {model.weights_digest}, the step's checkpoint has {weights_digest}"
            )
        for start in range(0, len(texts), BATCH_ROWS):
            found += model.log_likelihoods(texts[start : start + BATCH_ROWS])
            runtime.check_cancelled()
    return found
