"""What a run comes to, in one look: from where to where, on what, how sure, at what cost."""

from dataclasses import dataclass

from storage.answers import Run
from storage.report.arms import Arm, Change, Score
from storage.report.svg import NBSP, duration, percent
from storage.report.text import plain
from storage.report.writing import unchecked


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure with its name."""

    name: str
    value: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """The top of the page. `before` and `after` are empty where nothing was measured; `state` where all went well."""

    title: str
    before: str
    after: str
    lead: str
    evidence: str
    state: str
    when: str
    test_n: str
    tiles: list[Tile]


def best_of(arms: list[Arm]) -> Arm:
    """The arm with the highest final accuracy; the first of equals."""
    return max(arms, key=lambda arm: (arm.final_test is not None, arm.final.accuracy if arm.final else -1.0))


def headline(run: Run, arms: list[Arm]) -> Headline:
    """Of a run, or of the best of its arms."""
    best = best_of(arms)
    base, final, done = best.base, best.final, _done(best)
    moved = final is not None and base is not None and (best.final_test is not None or done > 0)
    before = percent(base.accuracy) if base and moved else ""
    after = percent(final.accuracy) if final else ""
    return Headline(
        title=f"{before} → {after}" if before else after or "nothing measured yet",
        before=before,
        after=after,
        lead=_lead(best, final, done, len(arms)),
        evidence=_evidence(base, final, best.change) if moved and base and final else "",
        state=_state(run, best),
        when=f"{run.started_at:%d %B %Y, %H:%M} UTC",
        test_n=f"{best.final_test.n:,}" if best.final_test else "",
        tiles=_tiles(run, arms, done),
    )


def p_shown(p_value: float) -> str:
    """A p-value as people write it."""
    shown = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.995 else "p = 1"
    return shown.replace(" ", NBSP)


def _done(arm: Arm) -> int:
    return max((one.iteration for one in arm.iterations), default=0)


def _lead(best: Arm, final: Score | None, done: int, arms: int) -> str:
    if final is None:
        return "Nothing has been measured yet: the base has not been evaluated."
    groups = sum(value is not None for value in final.strata.values())
    problems = f"{final.n:,} held-out {final.split} problems"
    what = (
        f"of {problems} answered in words near a reference's (ROUGE-L, no check of correctness)"
        if unchecked(best)
        else f"of {problems} answered correctly"
        if groups < 2
        else f"accuracy on {problems}, the mean over {groups} groups that count equally"
    )
    who = f", by the best of {arms} arms ({plain(best.run.name)})" if arms > 1 else ""
    if not best.final_test and done == 0:
        return f"{what} by the base{who}. No iteration of self-training has finished yet."
    times = f"{done} iteration{'' if done == 1 else 's'} of self-training"
    when = f"before and after {times}" if best.base else f"after {times}"
    if best.final_test:
        return f"{what}, {when}{who}."
    if best.run.state == "running":
        return f"{what}, {when} so far{who}. The test split is looked at when the run ends."
    return f"{what}, {when}{who}. The test split was not looked at."


def _evidence(base: Score, final: Score, change: Change | None) -> str:
    said = f"95 % intervals: {percent(base.low)} to {percent(base.high)} before, {percent(final.low)} to {percent(final.high)} after. "
    points = f"{100 * (final.accuracy - base.accuracy):+.1f} points".replace("-", "−")
    if change is None:
        apart = final.low > base.high or final.high < base.low
        return f"{said}{points}; the intervals {'do not overlap' if apart else 'overlap, so this may be chance'}."
    sure = "more than chance" if change.p_value < 0.05 else "no more than chance would do"
    return (
        f"{said}{points}: {change.gained:,} of the same problems newly solved, {change.lost:,} lost, which is {sure} "
        f"(exact McNemar test, {p_shown(change.p_value)})."
    )


def _state(run: Run, best: Arm) -> str:
    why = str(run.facts.get("why") or "")
    match run.state:
        case "completed":
            return ""
        case "running":
            step = best.under_way
            where = f": iteration {step.iteration}, last finished step {step.step!r}" if step else ""
            return f"This run is under way{where}. What is below is what was there when this page was made."
        case state:
            return f"This run ended as {state}{': ' + why if why else ''}. The same command goes on from where it was."


def _tiles(run: Run, arms: list[Arm], done: int) -> list[Tile]:
    attempts = sum(one.made for arm in arms for one in arm.tallies)
    kept = sum(one.kept for arm in arms for one in arm.tallies)
    wall_s = sum(arm.wall_s for arm in arms)
    starts = "" if run.starts == 1 else f"over {run.starts} starts"
    tiles = [
        Tile(
            "iterations",
            str(done),
            f"of {run.config['iterations']} wanted" if run.config.get("iterations", done) != done else "",
        ),
        Tile("wall time", duration(wall_s) if wall_s else "—", starts),
        Tile("tokens generated", f"{sum(arm.tokens for arm in arms):,}"),
        Tile("attempts at training", f"{attempts:,}", f"{kept:,} reached the gold answer" if attempts else "none"),
    ]
    if len(arms) > 1:
        tiles.insert(0, Tile("arms", str(len(arms))))
    return tiles
