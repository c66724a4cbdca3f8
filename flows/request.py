"""What a person asks of a flow, in the terminal or in the Prefect UI's form, and the session that carries it out.

Every field of `overrides` is empty by default, which means "as the preset says" and nothing else: a form that submits all of its
fields untouched changes nothing, and what can be switched off has a word for it (`none`, `own`, `all`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from flows.aliases import reconcile
from flows.budget import Budget
from flows.config import Config, LoopConfig, StopConfig
from flows.loop import Loop, flow_run_id, loop_of, runtime_of
from flows.machine import usable_cores, workers
from flows.method_config import (
    CONFIGS,
    CareStarConfig,
    GsrConfig,
    RestConfig,
    RestEmConfig,
    RestMctsConfig,
    SelfInstructConfig,
    StarConfig,
)
from flows.progress import Listener
from flows.refs import check, code_behind, settled
from flows.resolving import methods_of, presets, resolve
from flows.watched import watching
from storage.home import Home
from storage.identity import content_id
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.occupancy import at_work
from tasks.runtime import Runtime


def optional(kind: type[BaseModel], name: str) -> type[BaseModel]:
    """The same settings, each of them empty unless given; nested ones likewise."""
    fields: dict[str, Any] = {}
    for field_name, info in kind.model_fields.items():
        annotation: Any = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = optional(annotation, f"{name}{annotation.__name__.removesuffix('Config')}")
        elif info.metadata:
            annotation = _annotated(annotation, info.metadata)
        if type(None) not in get_args(annotation) or get_origin(annotation) not in {Union, UnionType}:
            annotation = annotation | None
        title = field_name.replace("_", " ")
        fields[field_name] = (annotation, Field(default=None, title=title, description=info.description))
    return create_model(
        name, __config__=ConfigDict(extra="forbid"), __doc__=f"{kind.__doc__} Empty: as the preset says.", **fields
    )


def _annotated(annotation: Any, metadata: list[Any]) -> Any:
    from typing import Annotated

    return Annotated[(annotation, *metadata)]


CareStarOverrides = optional(CareStarConfig, "CareStarOverrides")
GsrOverrides = optional(GsrConfig, "GsrOverrides")
RestOverrides = optional(RestConfig, "RestOverrides")
RestEmOverrides = optional(RestEmConfig, "RestEmOverrides")
RestMctsOverrides = optional(RestMctsConfig, "RestMctsOverrides")
SelfInstructOverrides = optional(SelfInstructConfig, "SelfInstructOverrides")
StarOverrides = optional(StarConfig, "StarOverrides")


def preset_field(method: str | None = None) -> Any:
    """A choice of the presets of a method, or of all."""
    fitting = [name for name, one in presets().items() if method is None or method in methods_of(one)]
    return Field(
        default=None, title="preset", description="a ready-made run", json_schema_extra={"enum": [None, *fitting]}
    )


class Request(BaseModel):
    """A preset, and what of it should be different."""

    model_config = ConfigDict(extra="forbid")

    preset: str | None = preset_field()
    home: str | None = Field(
        default=None, title="home", description="folder of the ledger; empty: STARLOOP_HOME or ./.starloop"
    )

    def settings(self) -> dict[str, Any]:
        """What was given, nested."""
        overrides = cast(BaseModel, self.overrides)  # pyright: ignore[reportAttributeAccessIssue]
        return pruned(overrides.model_dump())


class CareStarRequest(Request):
    """A CARE-STaR run: a preset, and what of it should be different."""

    preset: str | None = preset_field("care_star")
    overrides: CareStarOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=CareStarOverrides, title="overrides", description="every empty field is as the preset says"
    )


class GsrRequest(Request):
    """A GSR run: a preset, and what of it should be different."""

    overrides: GsrOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=GsrOverrides, title="overrides", description="every empty field is as the preset says"
    )


class RestRequest(Request):
    """A ReST run: a preset, and what of it should be different."""

    preset: str | None = preset_field("rest")
    overrides: RestOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=RestOverrides, title="overrides", description="every empty field is as the preset says"
    )


class RestEmRequest(Request):
    """A ReST-EM run: a preset, and what of it should be different."""

    preset: str | None = preset_field("rest_em")
    overrides: RestEmOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=RestEmOverrides, title="overrides", description="every empty field is as the preset says"
    )


class RestMctsRequest(Request):
    """A ReST-MCTS* run: a preset, and what of it should be different."""

    preset: str | None = preset_field("rest_mcts")
    overrides: RestMctsOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=RestMctsOverrides, title="overrides", description="every empty field is as the preset says"
    )


class SelfInstructRequest(Request):
    """A Self-Instruct run: a preset, and what of it should be different."""

    preset: str | None = preset_field("self_instruct")
    overrides: SelfInstructOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=SelfInstructOverrides, title="overrides", description="every empty field is as the preset says"
    )


class StarRequest(Request):
    """A STaR run: a preset, and what of it should be different."""

    preset: str | None = preset_field("star")
    overrides: StarOverrides = Field(  # pyright: ignore[reportInvalidTypeForm]
        default_factory=StarOverrides, title="overrides", description="every empty field is as the preset says"
    )


REQUESTS: dict[str, type[Request]] = {
    "care_star": CareStarRequest,
    "gsr": GsrRequest,
    "rest": RestRequest,
    "rest_em": RestEmRequest,
    "rest_mcts": RestMctsRequest,
    "self_instruct": SelfInstructRequest,
    "star": StarRequest,
}
"""Method to what its flow is asked with."""


def pruned(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what was left empty."""
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        inner = pruned(value) if isinstance(value, dict) and name != "set" else value
        if inner is not None and inner != {}:
            kept[name] = inner
    return kept


def run_name() -> str:
    """What a run is called in the Prefect UI: method, preset and the settings that differ."""
    from prefect.runtime import flow_run

    request = flow_run.parameters.get("request")
    request = (
        request if isinstance(request, Request) else Request.model_validate({"preset": (request or {}).get("preset")})
    )
    changed = request.settings() if hasattr(request, "overrides") else {}
    name = changed.get("name") or request.preset or "no preset"
    rest = ", ".join(f"{key}={value}" for key, value in _flat(changed).items() if key not in {"name", "arms"})
    return f"{flow_run.flow_name} {name}{f' ({rest})' if rest else ''}"


class Runs:
    """The loops that one flow run works through."""

    def __init__(
        self, method: str, request: Request, home: Home, runtime: Runtime, ledger: Ledger, told: Listener
    ) -> None:
        self._method = method
        self._preset = request.preset
        self._settings = request.settings()
        self._ledger = ledger
        self.listener = told
        self._group: str | None = None
        self._budget: Budget | None = None
        self.home = home
        self.runtime = runtime
        self.run_ids: list[str] = []

    def configurations(self, kind: type[Config]) -> Iterator[Config]:
        """The request's configuration, or its arms one after another, grouped under one run.

        The limits in `stop` hold for all arms together, and the first that is reached ends them all. An arm that sets
        limits of its own has those beside.
        """
        whole = settled(resolve(self._method, self._preset, self._settings), self.home)
        assert isinstance(whole, kind)
        for one in whole.expanded():
            check(one)
        if not whole.arms:
            yield whole
            return
        settings = whole.model_dump(mode="json")
        run_id = content_id("group", method=self._method, settings=settings)
        with self.group(whole.name or self._preset or self._method, settings, run_id, whole.stop):
            for arm in whole.expanded():
                self.listener.said(f"arm {arm.name}")
                yield arm
                if self.stopped:
                    break

    @contextmanager
    def group(self, name: str, settings: dict[str, Any], run_id: str, stop: StopConfig) -> Iterator[dict[str, Any]]:
        """One run for the loops inside it, which share the limits of `stop`. What is put into the dictionary becomes facts of the run."""
        self._group = self._ledger.start_run(
            name=name,
            method=self._method,
            preset=self._preset,
            config=settings,
            run_id=run_id,
            prefect_flow_run_id=flow_run_id(),
        )
        self._budget = Budget(stop)
        state, facts = "failed", {}
        try:
            yield facts
            state = "stopped" if self.stopped else "completed"
        finally:
            if self.runtime.cancelled.is_set():
                state = "cancelled"
            facts = {"arms": list(self.run_ids), "why": self._budget.reached, **facts}
            self._ledger.finish_run(self._group, state=state, facts=facts)
            self._ledger.publish(force=True)
            self.run_ids.insert(0, self._group)

    @property
    def stopped(self) -> bool:
        """Whether a limit for all loops of the group was reached."""
        return self._budget is not None and bool(self._budget.reached)

    def lineage(self) -> Lineage:
        """What is in the ledger by now, for reading."""
        self._ledger.publish(force=True)
        return Lineage.open(self.home)

    @contextmanager
    def loop(self, config: LoopConfig, method: str | None = None) -> Iterator[Loop]:
        """One loop, in the ledger and in MLflow; of the flow's method, or of another."""
        config = settled(config, self.home)
        code = code_behind(config)
        whole = self._budget
        budgets = [] if whole is None else [whole]
        if whole is None or config.stop != whole.stop:
            budgets.append(Budget(config.stop))
        with loop_of(
            method or self._method,
            self._preset,
            config,
            code,
            self.runtime,
            self._ledger,
            self.listener,
            budgets,
            self._group,
        ) as loop:
            self.run_ids.append(loop.run_id)
            yield loop


@contextmanager
def session(method: str, request: Request) -> Iterator[Runs]:
    """Home, ledger and child processes for one flow run."""
    home = Home.open(Path(request.home) if request.home else None)
    engines = workers()
    ledger = Ledger(home)
    try:
        with at_work(home), watching(home) as told:
            ledger.catch_up()
            reconcile(home, ledger, told)
            with runtime_of(home, told, workers=engines, threads=usable_cores()) as runtime:
                yield Runs(method, request, home, runtime, ledger, told)
    finally:
        ledger.close()


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


assert set(REQUESTS) == set(CONFIGS)
