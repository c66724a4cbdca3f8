"""Measures every verifier and writes the tables of docs/verifiers.md between their marks: `python -m benchmarks.verifier_tables`.

With `--check`, it measures and says whether what the page holds is still so (speeds aside), and writes nothing.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks import verification
from benchmarks.gold_answers import ROOT, Check, checks, data_folder
from flows.audit import CALLED, COMPARED, Audit, Rate, audit
from flows.cases import case_table, cases_of
from tasks.judgements import Means
from tasks.verifier_pool import VerifierPool
from tasks.verifiers.registry import VERIFIERS

PAGE = ROOT / "docs" / "verifiers.md"


def main() -> None:
    """Measure, then write."""
    data = data_folder()
    if data is None:
        raise SystemExit("the public sets are not here; set STARLOOP_DATA_DIR")
    with tempfile.TemporaryDirectory(prefix="starloop-tables-") as folder, VerifierPool(Path(folder)) as pool:
        means = Means(pool)
        audits = [audited(name, means) for name in sorted(VERIFIERS)]
        rivals = [audited("math", means, rival) for rival in COMPARED["math"]]
        golds = list(checks(data, means))
    speed = verification.measure(data)
    tables = {
        "audit": audit_table(audits),
        "compared": audit_table([next(one for one in audits if one.verifier == "math"), *rivals]),
        "known": known_table(),
        "golds": gold_table(golds),
        "exceptions": exceptions(golds),
        "speed": (
            f"`math` reached {speed.verdicts:,} verdicts in {speed.seconds:.1f} s with {speed.workers} workers on two cores, "
            f"**{speed.per_second:,.0f} a second**: half GSM8K's worked solutions, half MATH500's formulas, half of each wrong, and "
            f"{speed.hang} towers of powers that nobody can compute. Undecided: {speed.undecided}; misjudged: {speed.misjudged}."
        ),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        page = put(page, name, table)
    if "--check" in sys.argv[1:]:
        same = without_speed(page) == without_speed(PAGE.read_text(encoding="utf-8"))
        raise SystemExit(None if same else "docs/verifiers.md does not say what was measured")
    PAGE.write_text(page, encoding="utf-8")


def audited(name: str, means: Means, rival: str | None = None) -> Audit:
    """A verifier, or what people use in its place, on the verifier's table."""
    return audit(rival or name, cases_of(case_table(name)), means)


def audit_table(audits: list[Audit]) -> str:
    rows = [
        "| verifier | cases | accepts what is wrong | 95 % | rejects what is right | 95 % | undecided | verdicts/s |",
        "| --- | ---: | ---: | --- | ---: | --- | ---: | ---: |",
    ]
    for one in audits:
        name = CALLED.get(one.verifier, f"`{one.verifier}`")
        rows.append(
            f"| {name} | {one.cases} | {one.false_accepts.count} of {one.false_accepts.of} | {interval(one.false_accepts)} "
            f"| {one.false_rejects.count} of {one.false_rejects.of} | {interval(one.false_rejects)} | {one.undecided.count} | {one.per_second:,.0f} |"
        )
    return "\n".join(rows)


def interval(rate: Rate) -> str:
    return f"{100 * rate.interval.low:.1f}–{100 * rate.interval.high:.1f} %"


def known_table() -> str:
    """The cases that a verifier is known to get wrong, and why."""
    rows = ["| verifier | gold | text | why it is rejected |", "| --- | --- | --- | --- |"]
    for name in sorted(VERIFIERS):
        rows += [
            f"| `{name}` | {code(case.gold or '')} | {code(case.said)} | {case.known} |"
            for case in cases_of(case_table(name))
            if case.known
        ]
    return "\n".join(rows)


def code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def gold_table(golds: list[Check]) -> str:
    rows = [
        "| set | verifier | own gold passes | forms | others' golds rejected | equal golds among them | exceptions |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows += [
        f"| {one.set_name} | `{one.verifier}` | {one.passed:,} of {one.problems:,} | {one.forms:,} | "
        f"{one.rejected:,} of {one.others:,} | {one.equal:,} | {len(one.exceptions)} |"
        for one in golds
    ]
    return "\n".join(rows)


def exceptions(golds: list[Check]) -> str:
    found = [f"- `{one.verifier}`, {sentence}" for one in golds for sentence in one.exceptions]
    return "\n".join(found) if found else "None."


def put(page: str, name: str, text: str) -> str:
    """The page with a table between its marks."""
    opening, closing = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    before, found, rest = page.partition(opening)
    if not found or closing not in rest:
        raise SystemExit(f"docs/verifiers.md has no place for the table {name}")
    return f"{before}{opening}\n{text}\n{closing}{rest.partition(closing)[2]}"


def without_speed(page: str) -> str:
    """The page without what another machine would measure otherwise: the speeds."""
    page = put(page, "speed", "")
    return "\n".join(
        line.rpartition(" |")[0].rpartition(" | ")[0] if line.startswith("| ") else line for line in page.splitlines()
    )


if __name__ == "__main__":
    main()
