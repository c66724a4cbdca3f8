"""Every cached task by the name that stands in its keys."""

from importlib import import_module

from storage.errors import UserMistake
from tasks.caching import CachedTask

TASKS = {
    "collect": "tasks.mix:collect",
    "finetune": "tasks.finetune:finetune",
    "mix": "tasks.mix:mix",
    "pose": "tasks.pose:pose",
    "rationalize": "tasks.rationalize:rationalize",
    "sample": "tasks.sample:sample",
    "score": "tasks.evaluate:score",
    "search": "tasks.search:search",
    "take_in": "tasks.pretrained:take_in",
    "value_set": "tasks.value_model:value_set",
    "verify": "tasks.verify:verify",
}
"""Task name to where it is written."""


def task_of(name: str) -> CachedTask:
    """The task of a name; UserMistake for one that this checkout does not have."""
    if name not in TASKS:
        raise UserMistake(f"no task {name!r}; this checkout has: {', '.join(sorted(TASKS))}")
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)
