"""Accuracy per stratum and iteration, as a table whose cells are shaded: the same to the eye and to a screen reader."""

from dataclasses import dataclass

from storage.report.arms import Arm
from storage.report.svg import percent


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the heat map; `shade` 0 to 10."""

    shown: str
    shade: int
    said: str


def heat(arm: Arm) -> list[tuple[str, list[Cell]]]:
    """A row a stratum, a cell an iteration, and the two looks at test last."""
    table = []
    for stratum in arm.strata:
        looks = [
            ("base" if n.iteration == 0 else f"iteration {n.iteration}", n.figures.get("strata") or {})
            for n in arm.iterations
        ]
        looks += [
            (f"{name} on test", test.strata)
            for name, test in (("base", arm.base_test), ("final", arm.final_test))
            if test
        ]
        table.append((stratum, [_cell(stratum, name, strata.get(stratum)) for name, strata in looks]))
    return table


def strata_sentence(arm: Arm) -> str:
    """Where the model began weakest and where it is weakest now."""
    if not arm.strata or not arm.final or not arm.base:
        return "Accuracy per stratum appears once the base has been evaluated."
    first, last = (
        {name: share for name, share in score.strata.items() if share is not None} for score in (arm.base, arm.final)
    )
    if not first or not last:
        return "No stratum has been decided yet."
    weak, now = min(first, key=lambda name: first[name]), min(last, key=lambda name: last[name])
    went = f"Hardest for the base: {weak}, {percent(first[weak])} right"
    if arm.base == arm.final:
        return f"{went}."
    then = f"{went}; {'at the end' if arm.final_test else 'now'} {percent(last.get(weak))}."
    return then if weak == now else f"{then} Weakest now: {now}, {percent(last[now])}."


def _cell(stratum: str, name: str, share: float | None) -> Cell:
    if share is None:
        return Cell("—", 0, f"{stratum}, {name}: not decided")
    return Cell(
        f"{100 * share:.0f}" if share in (0, 1) else f"{min(99.9, 100 * share):.1f}",
        int(10 * share),
        f"{stratum}, {name}: {percent(share)}",
    )
