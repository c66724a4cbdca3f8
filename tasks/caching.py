"""Cached tasks: the one place that knows Prefect's cache policies, result records and retries.

The key of a task is everything that can change its result: its arguments (refs and manifests, so content) in canonical
JSON, the ingredients it declares (code digests, template texts, library versions), and the code of its own module with what
that shares with other tasks. Not the run, the home or the time.

A result is one JSON record under `<home>/results/<key>`: the output, the key's parts (what `starloop why` compares),
and who produced it when. Reading a record checks that every shard and checkpoint it names is still there; one that is
damaged or names something lost is dropped, which is a clean miss.

Tasks take `runtime` (the home, the child processes, the cancel event) beside their arguments; it never enters a key.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.filesystems import WritableFileSystem
from prefect.futures import PrefectFuture
from prefect.logging import get_logger
from prefect.serializers import Serializer
from prefect.tasks import Task
from prefect.transactions import IsolationLevel
from pydantic import PrivateAttr

from storage.errors import AccountingError, StorageFault
from storage.faults import reached
from storage.home import Home, atomic_write
from storage.identity import canonical_json, digest, show
from storage.manifest import Accounting, Manifest, Output
from storage.shards import Shards
from tasks.checkpoints import missing
from tasks.code_digest import code_of
from tasks.locks import ResultLocks
from tasks.runtime import Runtime
from tasks.sitting import remove, sitting

UNKEYED = frozenset({"runtime"})
"""Parameters that never enter a key: where work is done, not what it is."""

Ingredient = Callable[[Any], object]
"""Turns an argument (a ref) into what it stands for: code, template text, versions; must be plain JSON."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One cached result: the output, and how it came about.

    `startup_s` and `work_s` are seconds of the run that made it; `reused` counts the rows that it found already there.
    """

    output: Output
    name: str
    key: str
    key_parts: dict[str, object]
    task_run_id: str
    startup_s: float
    work_s: float
    reused: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "StepRecord":
        fields = json.loads(text)
        output = fields["output"]
        fields["output"] = Output(
            {role: Manifest(m["table"], tuple(m["shards"]), m["rows"]) for role, m in output["manifests"].items()},
            Accounting(**output["accounting"]),
            output["facts"],
        )
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class StepHandle:
    """A submitted step: wait with `result()`; `hit` then says whether an earlier task run had made it."""

    future: PrefectFuture[StepRecord]
    runtime: Runtime

    def result(self) -> StepRecord:
        """The record. Raises what the task raised, and StorageFault if the record did not reach the disk."""
        record = self.future.result()
        results = self.runtime.home.results
        if not (results / record.key).exists():
            raise StorageFault(
                f"the result of '{record.name}' was not written under {results}; "
                "free space there or make it writable, and run again"
            )
        for path in self.runtime.leftovers.pop(self.task_run_id, []):
            remove(path)
        return record

    def hit(self, record: StepRecord) -> bool:
        return record.task_run_id != self.task_run_id

    @property
    def task_run_id(self) -> str:
        return str(self.future.task_run_id)


class CachedTask:
    """What `@cached_task` makes of a function `(…, runtime) -> Output`."""

    def __init__(self, function: Callable[..., Output], ingredients: Mapping[str, Ingredient], title: str) -> None:
        functools.update_wrapper(self, function)  # pyright: ignore[reportArgumentType]
        self.function = function
        self.name = function.__name__
        self.title = title
        self._ingredients = dict(ingredients)
        self._signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> StepRecord:
            return self._run(*args, **kwargs)

        self._task: Task[..., StepRecord] = task(
            name=title,
            description=inspect.getdoc(function),
            cache_policy=_KeyPolicy(owner=self),
            result_serializer=StepRecordSerializer(),
            persist_result=True,
        )(run)

    def key_parts(self, arguments: Mapping[str, Any]) -> dict[str, object]:
        """What the key is a digest of, as plain JSON: the arguments, their ingredients, and the task's own code.

        An argument at its default is as if it were not there: so a parameter that is added changes no key.
        """
        bound = self._signature.bind_partial(**arguments)
        defaults = {name: parameter.default for name, parameter in self._signature.parameters.items()}
        keyed = {
            name: value
            for name, value in bound.arguments.items()
            if name not in UNKEYED and (defaults[name] is inspect.Parameter.empty or value != defaults[name])
        }
        return {
            "task": self.name,
            "arguments": {name: plain(value) for name, value in keyed.items()},
            "ingredients": {
                name: make(keyed[name]) for name, make in self._ingredients.items() if keyed.get(name) is not None
            },
            "code": self._code(),
        }

    def key(self, arguments: Mapping[str, Any]) -> str:
        return self.key_of(self.key_parts(arguments))

    def key_of(self, parts: Mapping[str, object]) -> str:
        """The key that these parts make."""
        return f"{self.name}-{digest(parts)}"

    def renewed(self, parts: Mapping[str, Any]) -> dict[str, object]:
        """The parts of an earlier key as they are today: the same arguments, with today's code, texts and libraries."""
        arguments = parts["arguments"]
        made = {
            name: make(arguments[name]) for name, make in self._ingredients.items() if arguments.get(name) is not None
        }
        return {**parts, "ingredients": made, "code": self._code()}

    def _code(self) -> dict[str, str]:
        return dict(sorted(code_of(self.function.__module__).modules.items()))

    def cached(self, runtime: Runtime, arguments: Mapping[str, Any]) -> StepRecord | None:
        """The valid record of these arguments, without running anything."""
        try:
            return RecordStorage(root=str(runtime.home.root)).read_record(self.key(arguments))
        except (OSError, StorageFault):
            return None

    def submit(self, run_name: str, runtime: Runtime, **arguments: Any) -> StepHandle:
        """Start it in the flow's task runner under this run name; what it shows is in the Prefect UI."""
        alone = _KeyPolicy(owner=self, isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=ResultLocks(runtime))
        named = self._task.with_options(task_run_name=run_name.replace("{", "(").replace("}", ")"), cache_policy=alone)
        named.result_storage = RecordStorage(root=str(runtime.home.root)).telling(runtime.progress.said)
        return StepHandle(named.submit(**arguments, runtime=runtime), runtime)

    def _run(self, *args: Any, **kwargs: Any) -> StepRecord:
        bound = self._signature.bind(*args, **kwargs)
        runtime: Runtime = bound.arguments["runtime"]
        runtime.check_cancelled()
        reached("task-before-work")
        runtime.processes.start()  # a run that finds everything cached imports nothing; one that does not, does so by now
        with sitting() as now:
            output = self.function(*bound.args, **bound.kwargs)
        if not output.accounting.balanced:
            raise AccountingError(unbalanced(self.title, output.accounting))
        arguments = {name: value for name, value in bound.arguments.items() if name not in UNKEYED}
        parts = _keyed.get() or self.key_parts(arguments)
        context = TaskRunContext.get()
        task_run_id = str(context.task_run.id) if context else ""
        runtime.leftovers[task_run_id] = now.leftovers
        work_s = now.elapsed() - now.startup_s
        return StepRecord(output, self.name, self.key_of(parts), parts, task_run_id, now.startup_s, work_s, now.reused)


def cached_task(title: str, **ingredients: Ingredient) -> Callable[[Callable[..., Output]], CachedTask]:
    """Make a function `(…, runtime: Runtime) -> Output` a cached Prefect task.

    `title` is its name in the Prefect UI. `ingredients` name the parameters that stand for code or text, each with the
    function that resolves them; everything else is keyed by value.
    """
    return lambda function: CachedTask(function, ingredients, title)


def unbalanced(step: str, accounting: Accounting) -> str:
    """The sentence for a step that lost or invented rows."""
    a = accounting
    return (
        f"the step '{step}' was asked for {a.asked} rows and accounts for {a.ok + a.rejected + a.undecided + a.failed} "
        f"({a.ok} ok, {a.rejected} rejected, {a.undecided} undecided, {a.failed} failed); nothing of it was kept, run again"
    )


def plain(value: Any) -> object:
    """An argument as plain JSON for the key; raises TypeError for what has no canonical form.

    A record that says itself what of it decides a result (`canonical()`) is taken at its word.
    """
    if callable(canonical := getattr(value, "canonical", None)):
        return canonical()
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    canonical_json(value)
    return value


_keyed: ContextVar[dict[str, object] | None] = ContextVar("keyed", default=None)


@dataclass(eq=False)
class _KeyPolicy(CachePolicy):
    """Prefect's seam: the key is the digest of `CachedTask.key_parts`."""

    owner: CachedTask | None = None

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        if self.owner is None:
            return None
        parts = self.owner.key_parts({name: value for name, value in inputs.items() if name not in UNKEYED})
        # The record holds the parts of the very key it is stored under, also when a source file is edited meanwhile.
        _keyed.set(parts)
        return self.owner.key_of(parts)


class StepRecordSerializer(Serializer):
    """Prefect's seam: a result is its own JSON."""

    type: str = "starloop-step-record"

    def dumps(self, obj: StepRecord) -> bytes:
        return obj.to_json().encode()

    def loads(self, blob: bytes) -> StepRecord:
        return StepRecord.from_json(blob)


def adopt_record(home: Home, old_key: str, new_key: str, parts: dict[str, object]) -> None:
    """The result under `old_key` also stands under `new_key`, whose parts are these. Raises StorageFault if it is gone."""
    try:
        content = json.loads(RecordStorage(root=str(home.root)).read_path(old_key))
    except OSError as error:
        raise StorageFault(f"the cached result {old_key} is gone; run its step again instead of adopting it") from error
    record = replace(StepRecord.from_json(content["result"]), key=new_key, key_parts=parts)
    content["metadata"]["storage_key"] = new_key
    content["result"] = record.to_json()
    atomic_write(home.results / new_key, json.dumps(content).encode())


class RecordStorage(WritableFileSystem):
    """Prefect's seam: records as files under `<home>/results`, atomic to write and checked when read."""

    _block_type_name = "starloop records"
    root: str
    _say: Callable[[str], None] | None = PrivateAttr(default=None)

    def telling(self, say: Callable[[str], None]) -> "RecordStorage":
        """The same, and `say` hears why a record is dropped."""
        self._say = say
        return self

    def read_record(self, key: str) -> StepRecord:
        """The record under a key; raises OSError if there is none and StorageFault if it does not hold (any more)."""
        return self._checked(key, (Home(Path(self.root)).results / key).read_bytes())

    def read_path(  # pyright: ignore[reportIncompatibleMethodOverride] - Prefect calls it both ways
        self, path: str, *, _sync: bool = True
    ) -> bytes:
        content = (Home(Path(self.root)).results / path).read_bytes()
        self._checked(path, content)
        return content

    def write_path(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, path: str, content: bytes, *, _sync: bool = True
    ) -> None:
        reached("result-before-write")
        atomic_write(Home(Path(self.root)).results / path, content, "result-before-rename")
        reached("result-after-write")

    async def aread_path(self, path: str) -> bytes:
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        self.write_path(path, content)

    def _resolve_path(self, path: str) -> None:
        """Keys stay relative, so that a home that was moved still hits."""

    def _checked(self, key: str, content: bytes) -> StepRecord:
        home = Home(Path(self.root))
        try:
            record = StepRecord.from_json(json.loads(content)["result"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._dropped(key, f"it cannot be read ({error})") from error
        shards = Shards(home)
        for manifest in record.output.manifests.values():
            if not shards.exists(manifest):
                raise self._dropped(key, f"a shard of its {manifest.table} rows is gone")
            if not shards.intact(manifest):
                raise self._dropped(key, f"a shard of its {manifest.table} rows is damaged")
        facts = record.output.facts
        checkpoint, names = facts.get("checkpoint_id"), facts.get("files")
        recorded = [str(name) for name in names] if isinstance(names, list) else []
        if isinstance(checkpoint, str) and (gone := missing(home.checkpoints / checkpoint, recorded)):
            raise self._dropped(key, f"{gone[0]} of its checkpoint {show('ckp', checkpoint)} is gone")
        return record

    def _dropped(self, key: str, why: str) -> StorageFault:
        (Home(Path(self.root)).results / key).unlink(missing_ok=True)
        sentence = f"the cached result {key} was dropped: {why}; it is computed again"
        get_logger("starloop").warning(sentence)
        if self._say is not None:
            self._say(sentence)
        return StorageFault(sentence)
