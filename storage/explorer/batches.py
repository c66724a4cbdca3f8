"""Where the rows of each step lie in a table: which ranges of row numbers a run, an iteration, a step wrote.

    >>> catalogue.attempts.of(run_id, 3, "sample")
    [Batch(run_id='d99f…', iteration=3, step='sample', low=444416, high=666623)]

A snapshot never changes, and a shard is taken in as a whole, so its rows have consecutive numbers; DuckDB finds such a
range without reading the rest. That is what makes a page of ten million attempts quick. A shard some of whose rows were
known before has several ranges, found by looking at every row of it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from storage.lineage import Lineage


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Row numbers, both ends included."""

    low: int
    high: int

    def __len__(self) -> int:
        return self.high - self.low + 1


@dataclass(frozen=True, slots=True)
class Batch:
    """A range of rows that a step of a run wrote. `run_id` is empty for rows that no step is known to have written."""

    run_id: str
    iteration: int
    step: str
    rows: Range


@dataclass(frozen=True, slots=True)
class Batches:
    """All batches of a table. `placed`: in the order of events, rows that were written again stand in several.
    `owned`: each row once, with the step that wrote it first, in the order of the rows.
    """

    table: str
    placed: list[Batch]
    owned: list[Batch]
    starts: list[int] = field(repr=False, default_factory=list)

    def of(self, run_id: str, iteration: int | None = None, step: str | None = None) -> list[Batch]:
        """What a run wrote, in an iteration and a step if they are given."""
        return [
            one for one in self.placed
            if one.run_id == run_id and iteration in (None, one.iteration) and step in (None, one.step)
        ]  # fmt: skip

    def holding(self, row: int) -> list[Batch]:
        """Every batch that a row stands in."""
        return [one for one in self.placed if one.rows.low <= row <= one.rows.high]

    def owner(self, row: int) -> Batch | None:
        """The batch whose step wrote the row first."""
        place = bisect_left(self.starts, row + 1) - 1
        return self.owned[place] if place >= 0 and row <= self.owned[place].rows.high else None


def read_batches(lineage: Lineage, table: str) -> Batches:
    """The batches of `attempt` or `verdict`."""
    written = lineage.rows(
        "select s.run_id, s.iteration, s.name, h.digest, h.rows from step s "
        "join step_shard o on o.step_id = s.step_id and o.direction = 'output' "
        "join shard h on h.digest = o.digest and h.table_name = ? order by s.event_seq, o.position",
        [table],
    )
    sizes = {row[3]: row[4] for row in written}
    ranges = _ranges(lineage, table, sizes)
    placed = [Batch(run, n, step, one) for run, n, step, digest, _ in written for one in ranges.get(digest, ())]
    total = lineage.rows(f"select count(*), coalesce(max(rowid), -1) from {table}", [])[0][1]
    owned = _owned(placed, total)
    return Batches(table, _joined(placed), owned, [one.rows.low for one in owned])


def within(column: str, ranges: Iterable[Range]) -> str:
    """The SQL for a row number in one of the ranges; numbers only, so nothing in it is from a person."""
    merged = _merged(sorted(ranges))
    if not merged:
        return "false"
    whole = f"{column} between {merged[0].low} and {merged[-1].high}"  # DuckDB skips what is outside
    if len(merged) == 1:
        return whole
    if len(merged) <= 40:
        return f"{whole} and ({' or '.join(f'{column} between {one.low} and {one.high}' for one in merged)})"
    rows = ", ".join(f"({one.low}, {one.high})" for one in merged)
    return f"{whole} and exists (select 1 from (values {rows}) r(low, high) where {column} between r.low and r.high)"


def _ranges(lineage: Lineage, table: str, sizes: dict[str, int]) -> dict[str, list[Range]]:
    """Each shard's rows. The first and the last say it all where as many rows lie between them as the shard has."""
    key = f"{table}_id"
    ends = lineage.rows(
        "select m.digest, m.id from shard h join member m on m.digest = h.digest "
        "where h.table_name = ? and (m.row = 0 or m.row = h.rows - 1)",
        [table],
    )
    numbers = dict(
        lineage.rows(
            f"select {key}, rowid from {table} where {key} in (select unnest(?::uuid[]))", [[id_ for _, id_ in ends]]
        )
    )
    sides: dict[str, list[int]] = {}
    for digest, identity in ends:
        if identity in numbers:
            sides.setdefault(digest, []).append(numbers[identity])
    found = {
        digest: [Range(min(rows), max(rows))]
        for digest, rows in sides.items()
        if max(rows) - min(rows) + 1 == sizes.get(digest)
    }
    scattered = [digest for digest in sizes if digest not in found]
    if scattered:
        rows = lineage.rows(
            f"select m.digest, a.rowid from member m join {table} a on a.{key} = m.id "
            "where m.digest in (select unnest(?::uuid[])) order by all",
            [scattered],
        )
        for digest, row in rows:
            known = found.setdefault(digest, [])
            if known and known[-1].high >= row - 1:
                known[-1] = Range(known[-1].low, max(row, known[-1].high))
            else:
                known.append(Range(row, row))
    return found


def _owned(placed: Sequence[Batch], last: int) -> list[Batch]:
    """Each row once: the first to have written it keeps it; what nobody wrote is between them."""
    taken: list[Batch] = []  # disjoint, in the order of the rows
    lows: list[int] = []
    for batch in placed:
        low = batch.rows.low
        place = bisect_left(lows, low + 1) - 1
        place = max(place, 0)
        pieces: list[Range] = []
        while low <= batch.rows.high:
            while place < len(taken) and taken[place].rows.high < low:
                place += 1
            if place == len(taken) or taken[place].rows.low > batch.rows.high:
                pieces.append(Range(low, batch.rows.high))
                break
            if taken[place].rows.low > low:
                pieces.append(Range(low, taken[place].rows.low - 1))
            low = taken[place].rows.high + 1
        for piece in pieces:
            at = bisect_left(lows, piece.low)
            taken.insert(at, replace(batch, rows=piece))
            lows.insert(at, piece.low)
    edges = [-1, *(edge for one in taken for edge in (one.rows.low, one.rows.high)), last + 1]
    gaps = [Range(edges[n] + 1, edges[n + 1] - 1) for n in range(0, len(edges), 2) if edges[n + 1] - edges[n] > 1]
    return _joined(sorted([*taken, *(Batch("", 0, "", gap) for gap in gaps)], key=lambda one: one.rows))


def _joined(batches: Sequence[Batch]) -> list[Batch]:
    """Neighbours of one step as one."""
    joined: list[Batch] = []
    for batch in batches:
        before = joined[-1] if joined else None
        same = before is not None and (before.run_id, before.iteration, before.step) == (
            batch.run_id,
            batch.iteration,
            batch.step,
        )
        if before is not None and same and before.rows.high + 1 == batch.rows.low:
            joined[-1] = replace(before, rows=Range(before.rows.low, batch.rows.high))
        else:
            joined.append(batch)
    return joined


def _merged(ranges: Sequence[Range]) -> list[Range]:
    merged = list(ranges[:1])
    for _, one in pairwise(ranges):
        if one.low <= merged[-1].high + 1:
            merged[-1] = Range(merged[-1].low, max(merged[-1].high, one.high))
        else:
            merged.append(one)
    return merged
