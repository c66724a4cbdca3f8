"""The table of what a disturbance costs, as `make faults` writes it into docs/reliability.md."""

from dataclasses import dataclass
from pathlib import Path

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
