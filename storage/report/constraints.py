"""Constraints one by one: how many samples met each, and how far the model's own check of it agrees with the program's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.report.arms import Arm
from storage.report.svg import percent

LEVELS = {1: "counted", 2: "found", 3: "read", 4: "followed"}


@dataclass(frozen=True, slots=True)
class Constraints:
    """A sentence, and a table with a row a constraint."""

    sentence: str
    columns: list[str]
    rows: list[list[str]]


def constraints(arm: Arm) -> Constraints | None:
    """Over an arm's iterations; None where its samples were judged by their answer alone."""
    told = {one.iteration: one.figures["constraints"] for one in arm.iterations if one.figures.get("constraints")}
    if all(name == "" for one in told.values() for name in one):
        return None
    names = sorted(
        {name for one in told.values() for name in one},
        key=lambda name: (next(one[name]["level"] for one in told.values() if name in one), name),
    )
    totals = {name: _total([one[name] for one in told.values() if name in one]) for name in names}
    asked = any(one["checked"] + one["unread"] for one in totals.values())
    shown = sorted({min(told), max(told)})
    columns = ["constraint", "how it is judged", *(f"met, iteration {n}" for n in shown), "undecided"]
    columns += ["own check agrees", "beyond chance", "says it is met", "says neither"] if asked else []
    rows = [
        [
            name,
            LEVELS.get(next(one[name]["level"] for one in told.values() if name in one), "—"),
            *(_share(told[n].get(name), "met", "judged") for n in shown),
            f"{totals[name]['undecided']:,}",
            *(_own_check(totals[name]) if asked else ()),
        ]
        for name in names
    ]
    return Constraints(_sentence(arm, told, totals, asked), columns, rows)


def agreement(counts: Mapping[str, int]) -> tuple[float | None, float | None]:
    """The share of read replies that say what the program says, and Cohen's kappa (1960): the same beyond chance.

    Kappa is None where either side always says the same, for then chance explains everything.
    """
    checked = counts["checked"]
    if not checked:
        return None, None
    observed, said, held = (counts[name] / checked for name in ("agreed", "said_met", "held"))
    chance = said * held + (1 - said) * (1 - held)
    return observed, (observed - chance) / (1 - chance) if 0 < said < 1 and 0 < held < 1 else None


def _total(counted: Sequence[Mapping[str, Any]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counted:
        total.update({name: count for name, count in one.items() if name != "level"})
    return total


def _own_check(counts: Counter[str]) -> list[str]:
    share, kappa = agreement(counts)
    asked = counts["checked"] + counts["unread"]
    return [
        percent(share),
        "—" if kappa is None else f"κ = {kappa:.2f}".replace("-", "−"),
        _share(counts, "said_met", "checked"),
        percent(counts["unread"] / asked) if asked else "—",
    ]


def _share(counts: Mapping[str, Any] | None, part: str, whole: str) -> str:
    return percent(counts[part] / counts[whole]) if counts and counts[whole] else "—"


def _sentence(arm: Arm, told: Mapping[int, Mapping[str, Any]], totals: Mapping[str, Counter[str]], asked: bool) -> str:
    last = max(told)
    kept = next((one for one in arm.tallies if one.iteration == last and not one.hinted), None)
    said = (
        f"In iteration {last}, {percent(kept.kept / kept.made)} of the samples met every constraint. " if kept else ""
    )
    hardest = min(told[last], key=lambda name: told[last][name]["met"] / max(1, told[last][name]["judged"]))
    said += f"The one they missed most was {hardest}."
    whole: Counter[str] = sum(totals.values(), start=Counter())
    share, kappa = agreement(whole)
    if asked and share is not None:
        beyond = "" if kappa is None else f" (κ = {kappa:.2f})".replace("-", "−")
        said += f" Asked itself, the model agreed with the program in {percent(share)} of {whole['checked']:,} replies{beyond}."
    elif asked:
        said += " Asked itself, the model never said yes or no."
    return said
