"""Which requests are decoded together."""

from collections.abc import Sequence


def batches(lengths: Sequence[int], room: int, most_rows: int, most_tokens: int) -> list[list[int]]:
    """Indexes of prompts in groups, longest prompts first.

    A group has at most `most_rows` rows and `most_tokens` tokens, prompts and the `room` for what is written together (but
    always one row). It ends where the length changes once it is a quarter full: prompts of equal length then need no padding.
    Prompts of equal length stay in their order, so that those that are the same and come together stay together.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    groups: list[list[int]] = []
    group: list[int] = []
    limit = 0
    for index in order:
        shorter = bool(group) and lengths[index] < lengths[group[-1]]
        if not group or len(group) >= limit or (shorter and len(group) >= limit / 4):
            group = []
            groups.append(group)
            limit = max(1, min(most_rows, most_tokens // (lengths[index] + room)))
        group.append(index)
    return groups
