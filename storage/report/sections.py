"""What each chart of a report is drawn from, one function a question, and the sentence that says what it shows."""

from collections import defaultdict
from dataclasses import dataclass

from markupsafe import Markup

from storage.report.arms import Arm, Tally
from storage.report.svg import Bar, Part, bars, duration, percent

REFINED = "refined"
WRITTEN = ("sampled", "rationalized", REFINED, "chosen", "rejected")
ORIGINS = ("sampled", "rationalized", REFINED, "original", "corpus")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the sentence above it, and the same figures as a table. `series`: class and name for the legend."""

    sentence: str
    svg: Markup
    series: list[tuple[str, str]]
    columns: list[str]
    rows: list[list[str]]


def yields(arm: Arm, width: float) -> Chart | None:
    """What became of the attempts at training problems; None where none was made."""
    drawn, table = [], []
    for one in arm.tallies:
        counts = (("hinted" if one.hinted else "direct", "right", one.kept), ("rejected", "rejected", one.rejected),
                  ("undecided", "undecided", one.undecided), ("failed", "failed", one.failed))  # fmt: skip
        parts = tuple(Part(series, said, count, f"{count:,}") for series, said, count in counts)
        decided = one.kept + one.rejected
        note = f"{percent(one.kept / decided, 0)} right" if decided else "none decided"
        drawn.append(Bar("with hint" if one.hinted else f"iteration {one.iteration}", parts, note, joined=one.hinted))
        figures = (one.made, one.kept, one.rejected, one.undecided, one.failed)
        table.append([str(one.iteration), "with hint" if one.hinted else "direct", *(f"{n:,}" for n in figures)])
    if not drawn:
        return None
    direct, hinted = ([one for one in arm.tallies if one.hinted == which] for which in (False, True))
    undecided = sum(one.undecided for one in arm.tallies)
    sentence = f"{_total(direct, 'kept')} of {_total(direct, 'made')} attempts reached the gold answer by themselves"
    sentence += (
        f"; of {_total(hinted, 'made')} failures tried again with the answer as a hint, {_total(hinted, 'kept')} reached it."
        if hinted
        else "; none was tried again with a hint."
    )
    sentence += (
        f" {undecided:,} could not be decided and count{'s' * (undecided == 1)} as neither." if undecided else ""
    )
    series = [("direct", "right, direct"), ("hinted", "right, with a hint"), ("rejected", "rejected"), ("undecided", "undecided"),
              ("failed", "failed to generate")]  # fmt: skip
    seen = {part.series for bar in drawn for part in bar.parts if part.value} | {"direct", "rejected"}
    columns = ["iteration", "attempts", "made", "right", "rejected", "undecided", "failed"]
    svg = bars(f"What became of the attempts. {sentence}", drawn, width)
    return Chart(sentence, svg, [one for one in series if one[0] in seen], columns, table)


def _total(tallies: list[Tally], what: str) -> str:
    return f"{sum(getattr(one, what) for one in tallies):,}"


def mixes(arm: Arm, width: float) -> Chart | None:
    """What each iteration trained on, by origin; None where nothing was."""
    wanted = {step.iteration: _wanted(step.key_parts) for step in arm.steps if step.step == "mix"}
    trained = [(one.iteration, one.figures.get("rows_by_origin") or {}) for one in arm.iterations if one.train_rows]
    trained = [(n, by) for n, by in trained if by]
    if not trained:
        return None
    used = {origin for _, by in trained for origin in by}
    origins = [origin for origin in ORIGINS if origin in used or origin != REFINED]
    drawn, table, shares = [], [], []
    for n, by in trained:
        total = sum(by.values())
        share = sum(by.get(origin, 0) for origin in WRITTEN) / total
        shares.append(share)
        order = [*(o for o in ORIGINS if o in by), *sorted(set(by) - set(ORIGINS))]
        parts = tuple(Part(o if o in ORIGINS else "other", o, by[o], percent(by[o] / total, 0)) for o in order)
        drawn.append(Bar(f"iteration {n}", parts, f"{total:,} rows"))
        aim = wanted.get(n)
        table.append(
            [
                str(n),
                f"{total:,}",
                *(f"{by.get(origin, 0):,}" for origin in origins),
                percent(share),
                "—" if aim is None else percent(aim),
            ]
        )
    sentence = _shares_sentence(trained[0][0], trained[-1][0], shares)
    off = [
        abs(share - aim) for (n, _), share in zip(trained, shares, strict=True) if (aim := wanted.get(n)) is not None
    ]
    if off and max(shares) > 0:
        missed = f" The wanted share was missed by up to {100 * max(off):.1f} points."
        sentence += " The wanted shares were met." if max(off) < 0.005 else missed
    names = {
        "sampled": "own, direct",
        "rationalized": "own, rationalized",
        REFINED: "own, refined",
        "original": "original data",
        "corpus": "the base's corpus",
    }
    series = [(origin, names[origin]) for origin in ORIGINS if origin in used] + (
        [("other", "other")] if used - set(ORIGINS) else []
    )
    columns = ["iteration", "rows", *(names[o] for o in origins), "own share", "wanted"]
    return Chart(sentence, bars(f"What was trained on. {sentence}", drawn, width, full=True), series, columns, table)


def _shares_sentence(start: int, end: int, shares: list[float]) -> str:
    first, last = shares[0], shares[-1]
    if max(shares) == 0:
        return "Nothing the model wrote was trained on: this run trains on given data only."
    said = f"{percent(first, 0)} of the training rows were the model's own in iteration {start}"
    if len(shares) == 1:
        return f"{said}."
    if abs(last - first) < 0.005:
        return f"{said}, and as many in iteration {end}."
    return f"{said}, {'rising' if last > first else 'falling'} to {percent(last, 0)} in iteration {end}."


def times(arm: Arm, width: float) -> Chart | None:
    """Seconds by what they were spent on, startup of processes apart; None where no step has finished."""
    work: dict[str, float] = defaultdict(float)
    startup: dict[str, float] = defaultdict(float)
    per: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
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
    most = order[0]
    sentence = f"{percent((work[most] + startup[most]) / total, 0)} of it went into {most}. "
    sentence += f"Starting processes took {percent(sum(startup.values()) / total, 0)} of the whole."
    sentence += f" {hits:,} of {len(arm.steps):,} steps came from the cache and cost nothing here." if hits else ""
    columns = ["spent on", *("base" if n == 0 else f"iteration {n}" for n in iterations), "of it startup"]
    return Chart(
        sentence,
        bars(f"Where the time went. {sentence}", drawn, width),
        [("work", "work"), ("startup", "starting processes")],
        columns,
        table,
    )


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
        case ["check"]:
            return "asking the model itself"
        case ["verify" | "audit" | "constraints", *_]:
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


def _wanted(key_parts: dict[str, object]) -> float | None:
    arguments = key_parts.get("arguments")
    rule = arguments.get("rule") if isinstance(arguments, dict) else None
    share = rule.get("self_share") if isinstance(rule, dict) else None
    return float(share) if isinstance(share, int | float) else None
