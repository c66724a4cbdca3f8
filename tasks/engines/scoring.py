"""How likely a model finds texts that are there already: the log-likelihood of a completion after its prompt.

The tokens are those of training: the prompt's, the completion's, and the token that ends a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scored:
    """The sum of the completion's tokens' log probabilities in nats, its end included, and how many tokens these are."""

    logprob: float
    tokens: int


def log_likelihoods(
    model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], most_tokens: int
) -> list[Scored]:
    """One for every pair of token rows, in order; batches of rows of like length, of at most so many tokens."""
    import torch

    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]) - len(completions[row]))
    found: dict[int, Scored] = {}
    while order:
        longest = len(prompts[order[0]]) + len(completions[order[0]])
        count = max(1, most_tokens // longest)
        rows, order = order[:count], order[count:]
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        scored = torch.zeros(len(rows), longest, dtype=torch.bool)
        for place, row in enumerate(rows):
            text = [*prompts[row], *completions[row]]
            tokens[place, : len(text)] = torch.tensor(text)
            mask[place, : len(text)] = 1
            scored[place, max(1, len(prompts[row])) : len(text)] = True
        with torch.inference_mode():
            logits = model(
                input_ids=tokens.to(model.device), attention_mask=mask.to(model.device), use_cache=False
            ).logits
            after = torch.log_softmax(logits[:, :-1].float(), dim=-1)
            each = after.gather(2, tokens[:, 1:, None].to(after.device))[..., 0].double().cpu()
        sums = (each * scored[:, 1:]).sum(dim=1).tolist()
        counts = scored.sum(dim=1).tolist()
        found |= {row: Scored(total, count) for row, total, count in zip(rows, sums, counts, strict=True)}
    return [found[row] for row in range(len(prompts))]
