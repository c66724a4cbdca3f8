"""What each chart of a report is drawn from, one function a question, and the sentence that says what it shows."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from markupsafe import Markup

from storage.report.arms import Arm
from storage.report.svg import Bar, Part, bars, duration, percent

WRITTEN = ("sampled", "rationalized")
ORIGINS = ("sampled", "rationalized", "original", "corpus")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the heat map; `shade` 0 to 10."""

    shown: str
    shade: int
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the sentence above it, and the same figures as a table. `series`: class and name for the legend."""

    sentence: str
    svg: Markup
    series: list[tuple[str, str]]
    columns: list[str]
    rows: list[list[str]]


def heat(arm: Arm) -> list[tuple[str, list[Cell]]]:
    """A row a stratum, a cell an iteration, and the two looks at test last."""
    table = []
    for stratum in arm.strata:
        looks = [("base" if n.iteration == 0 else f"iteration {n.iteration}", n.figures.get("strata") or {}) for n in arm.iterations]
        looks += [(f"{name} on test", test.strata) for name, test in (("base", arm.base_test), ("final", arm.final_test)) if test]
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
    went = f"Hardest for the base: {weak}, {percent(first[weak])} right; at the end {percent(last.get(weak))}."
    return went if weak == now else f"{went} Weakest now: {now}, {percent(last[now])}."


def yields(arm: Arm, width: float) -> Chart | None:
    """What became of the attempts at training problems; None where none was made."""
    if not arm.yields:
        return None
    drawn, table = [], []
    for one in arm.yields:
        for hinted in (False, True) if one.rationalized else (False,):
            made = one.rationalized if hinted else one.attempts
            kept = one.rationalized_kept if hinted else one.kept
            undecided = one.rationalized_undecided if hinted else one.undecided
            failed = 0 if hinted else min(one.failed, made - kept - undecided)
            wrong = made - kept - undecided - failed
            name = "with hint" if hinted else f"iteration {one.iteration}"
            counts = (("hinted" if hinted else "direct", "kept", kept), ("rejected", "rejected", wrong),
                      ("undecided", "undecided", undecided), ("failed", "failed", failed))  # fmt: skip
            parts = tuple(Part(series, said, count, f"{count:,}") for series, said, count in counts)
            decided = made - undecided - failed
            drawn.append(Bar(name, parts, f"{percent(kept / decided, 0)} kept" if decided else "none decided", hinted))
            table.append([str(one.iteration), "with hint" if hinted else "direct", *(f"{n:,}" for n in (made, kept, wrong, undecided, failed))])
    made, kept = sum(one.attempts for one in arm.yields), sum(one.kept for one in arm.yields)
    hinted, rescued = sum(one.rationalized for one in arm.yields), sum(one.rationalized_kept for one in arm.yields)
    sentence = f"{kept:,} of {made:,} attempts reached the gold answer by themselves"
    sentence += f"; of the {hinted:,} failures tried again with the answer as a hint, {rescued:,} were kept." if hinted else "; none was tried again with a hint."
    open_ = sum(one.undecided + one.rationalized_undecided for one in arm.yields)
    sentence += f" {open_:,} could not be decided and count as neither." if open_ else ""
    series = [("direct", "kept, direct"), ("hinted", "kept, rationalized"), ("rejected", "rejected")]
    series += [("undecided", "undecided")] if open_ else []
    series += [("failed", "failed to generate")] if any(one.failed for one in arm.yields) else []
    used = series if hinted else [one for one in series if one[0] != "hinted"]
    columns = ["iteration", "attempts", "made", "kept", "rejected", "undecided", "failed"]
    return Chart(sentence, bars(f"What became of the attempts. {sentence}", drawn, width), used, columns, table)


def mixes(arm: Arm, width: float) -> Chart | None:
    """What each iteration trained on, by origin; None where nothing was."""
    wanted = {step.iteration: _wanted(step.key_parts) for step in arm.steps if step.step == "mix"}
    trained = [(one.iteration, one.figures.get("rows_by_origin") or {}) for one in arm.iterations if one.train_rows]
    trained = [(n, by) for n, by in trained if by]
    if not trained:
        return None
    drawn, table, shares = [], [], []
    for n, by in trained:
        total = sum(by.values())
        share = sum(by.get(origin, 0) for origin in WRITTEN) / total
        shares.append(share)
        order = [*(o for o in ORIGINS if o in by), *sorted(set(by) - set(ORIGINS))]
        parts = tuple(Part(o if o in ORIGINS else "other", o, by[o], percent(by[o] / total, 0)) for o in order)
        drawn.append(Bar(f"iteration {n}", parts, f"{total:,} rows"))
        aim = wanted.get(n)
        table.append([str(n), f"{total:,}", *(f"{by.get(origin, 0):,}" for origin in ORIGINS), percent(share), "—" if aim is None else percent(aim)])
    first, last = shares[0], shares[-1]
    went = f"falling to {percent(last, 0)}" if last < first - 0.005 else f"rising to {percent(last, 0)}" if last > first + 0.005 else "throughout"
    sentence = f"{percent(first, 0)} of the training rows were the model's own in iteration {trained[0][0]}" + (f", {went} in iteration {trained[-1][0]}." if len(trained) > 1 and went != "throughout" else ".")
    if max(shares) == 0:
        sentence = "Nothing the model wrote was trained on: this run trains on given data only."
    off = [abs(share - aim) for (n, _), share in zip(trained, shares, strict=True) if (aim := wanted.get(n)) is not None]
    if off and max(shares) > 0:
        sentence += " The wanted shares were met." if max(off) < 0.005 else f" The wanted share was missed by up to {100 * max(off):.1f} points."
    used = {origin for _, by in trained for origin in by}
    names = {"sampled": "own, direct", "rationalized": "own, rationalized", "original": "original data", "corpus": "the base's corpus"}
    series = [(origin, names[origin]) for origin in ORIGINS if origin in used] + ([("other", "other")] if used - set(ORIGINS) else [])
    columns = ["iteration", "rows", *(names[o] for o in ORIGINS), "own share", "wanted"]
    return Chart(sentence, bars(f"What was trained on. {sentence}", drawn, width, full=True), series, columns, table)


def times(arm: Arm, width: float) -> Chart | None:
    """Seconds by what they were spent on, startup of processes apart; None where no step has finished."""
    work: Counter[str] = Counter()
    startup: Counter[str] = Counter()
    per: dict[str, Counter[int]] = defaultdict(Counter)
    for step in arm.steps:
        what = spent_on(step.step)
        work[what] += step.work_s
        startup[what] += step.startup_s
        per[what][step.iteration] += step.work_s + step.startup_s
    total = sum(work.values()) + sum(startup.values())
    if not total:
        return None
    order = sorted(work, key=lambda what: -work[what] - startup[what])
    drawn = [
        Bar(what, (Part("work", "work", work[what], duration(work[what])), Part("startup", "startup", startup[what], duration(startup[what]))),
            f"{duration(work[what] + startup[what])}, {percent((work[what] + startup[what]) / total, 0)}")
        for what in order
    ]  # fmt: skip
    iterations = sorted({step.iteration for step in arm.steps})
    table = [[what, *(duration(per[what][n]) for n in iterations), duration(startup[what])] for what in order]
    hits = sum(step.hit for step in arm.steps)
    sentence = f"Most of it went into {order[0]} ({percent((work[order[0]] + startup[order[0]]) / total, 0)}); starting processes took {percent(sum(startup.values()) / total, 0)}."
    sentence += f" {hits:,} of {len(arm.steps):,} steps came from the cache and cost nothing here." if hits else ""
    columns = ["spent on", *("base" if n == 0 else f"iteration {n}" for n in iterations), "of it startup"]
    return Chart(sentence, bars(f"Where the time went. {sentence}", drawn, width), [("work", "work"), ("startup", "starting processes")], columns, table)


def spent_on(step: str) -> str:
    """What a step's time counts as; a step of a name not known here counts as itself."""
    match step.split():
        case ["pre-train", *_]:
            return "pre-training"
        case ["fine-tune", *_]:
            return "fine-tuning"
        case ["sample", *_]:
            return "sampling"
        case ["rationalize", *_]:
            return "rationalizing"
        case [*_, "dev" | "test"]:
            return "evaluating"
        case ["verify" | "audit", *_]:
            return "verifying"
        case ["mix"] | ["corpus", "mix"]:
            return "mixing"
        case ["problems" | "corpus"] | ["dev" | "test", "problems"]:
            return "posing problems"
        case _:
            return step


@dataclass(frozen=True, slots=True)
class Unsound:
    """Kept rationales with a wrong step, direct or with a hint; `share` is of those judged."""

    name: str
    series: str
    wrong: int
    judged: int
    by_iteration: list[tuple[int, str]]

    @property
    def share(self) -> float:
        return self.wrong / self.judged


def unsound(arm: Arm) -> list[Unsound]:
    """Over all iterations; empty where no verifier judged steps."""
    found = []
    for name, series, hinted in (("direct", "direct", False), ("rationalized", "hinted", True)):
        mine = [one for one in arm.soundness if one.hinted == hinted]
        if mine:
            by = [(one.iteration, percent(one.wrong / one.judged)) for one in mine]
            found.append(Unsound(name, series, sum(one.wrong for one in mine), sum(one.judged for one in mine), by))
    return found


def _cell(stratum: str, name: str, share: float | None) -> Cell:
    if share is None:
        return Cell("—", 0, f"{stratum}, {name}: not decided")
    return Cell(f"{100 * share:.0f}" if share in (0, 1) else f"{min(99.9, 100 * share):.1f}", int(10 * share), f"{stratum}, {name}: {percent(share)}")


def _wanted(key_parts: dict[str, object]) -> float | None:
    arguments = key_parts.get("arguments")
    rule = arguments.get("rule") if isinstance(arguments, dict) else None
    share = rule.get("self_share") if isinstance(rule, dict) else None
    return float(share) if isinstance(share, int | float) else None
