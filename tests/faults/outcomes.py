"""The table of what a disturbance costs, as `make faults` writes it into docs/reliability.md."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- outcomes: written by `make faults` -->", "<!-- end of outcomes -->"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One disturbance: what it was, what was lost for good, what had to be done again, and how long the second run took."""

    disturbance: str
    what: str
    lost: str
    redone: str
    seconds: float


def keep(config: pytest.Config, test: str, outcome: Outcome, undisturbed_s: float) -> None:
    """Appends an outcome to those of this and earlier sessions."""
    line = json.dumps({"test": test, "undisturbed_s": undisturbed_s, "outcome": asdict(outcome)})
    with _file(config).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def kept(config: pytest.Config) -> tuple[list[Outcome], float]:
    """The last outcome of each test, in the order of the tests, and how long the last undisturbed run took."""
    lines = [json.loads(line) for line in _file(config).read_text(encoding="utf-8").splitlines()]
    latest = {line["test"]: Outcome(**line["outcome"]) for line in lines}
    return [latest[test] for test in sorted(latest)], lines[-1]["undisturbed_s"]


def forget(config: pytest.Config) -> None:
    """Of what earlier sessions found, nothing stays."""
    _file(config).unlink(missing_ok=True)


def _file(config: pytest.Config) -> Path:
    assert config.cache is not None
    return config.cache.mkdir("starloop-faults") / "outcomes.jsonl"


def write(outcomes: list[Outcome], undisturbed_s: float) -> None:
    """Replaces what stands between the markers."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [
        BEGIN,
        "",
        f"{len(outcomes)} disturbances; every one ended with the same rows as the undisturbed run, which took {undisturbed_s:.0f} s.",
        "",
        "| disturbance | what was true then | what was lost | what was redone | seconds to finish |",
        "| --- | --- | --- | --- | ---: |",
        *(f"| {o.disturbance} | {o.what} | {o.lost} | {o.redone} | {o.seconds:.0f} |" for o in outcomes),
        "",
        END,
    ]
    PAGE.write_text(before + "\n".join(lines) + after, encoding="utf-8")


def counted(**things: int) -> str:
    """`2 tasks, 117 requests`; `nothing` if all are zero."""
    parts = [f"{count} {name if count != 1 else name.removesuffix('s')}" for name, count in things.items() if count > 0]
    return ", ".join(parts) or "nothing"
