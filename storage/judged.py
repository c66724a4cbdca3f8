"""What verifiers have judged so far: the cells of attempts that can be judged again without generating anything.

>>> judged_cells(lineage, verifier="sums")[0]
JudgedCell(iteration=1, step='verify', verifier='sums', version='sums@3f2a91c0', problems=Manifest(…), attempts=Manifest(…))
"""

from dataclasses import dataclass
from typing import Any

from storage.errors import UserMistake
from storage.identity import digest
from storage.lineage import Lineage
from storage.manifest import Manifest

SHOWN_DIGITS = 8
"""How much of a code's digest a version shows: sums@3f2a91c0."""


@dataclass(frozen=True, slots=True)
class JudgedCell:
    """Attempts that one version of a verifier judged together, and where that was first done."""

    iteration: int
    step: str
    verifier: str
    version: str
    problems: Manifest
    attempts: Manifest


@dataclass(frozen=True, slots=True)
class Version:
    """A verifier, or with `digits` one version of its code."""

    verifier: str
    digits: str = ""

    @classmethod
    def parse(cls, text: str) -> "Version":
        """`sums` or `sums@3f2a91c0`. Raises UserMistake for a digest that is none."""
        verifier, _, digits = text.strip().partition("@")
        if not verifier or ("@" in text and not (digits and set(digits.lower()) <= set("0123456789abcdef"))):
            raise UserMistake(f"{text!r} names no verifier; write its name, or one version of it, as in sums@3f2a91c0")
        return cls(verifier, digits.lower())

    def __str__(self) -> str:
        return f"{self.verifier}@{self.digits}" if self.digits else self.verifier

    def names(self, verifier: str, code: str) -> bool:
        return verifier == self.verifier and code.startswith(self.digits)


def version_of(verifier: str, code: str) -> str:
    """How a version of a verifier is written, from the digest of its code."""
    return f"{verifier}@{code[:SHOWN_DIGITS]}"


def judged_cells(lineage: Lineage, wanted: Version | None = None, run_id: str | None = None) -> list[JudgedCell]:
    """Every distinct cell that a verifier judged, in the order in which they were; of one verifier, version or run.

    A cell that several versions judged comes once for each of them; what has been erased since is left out.
    """
    which = (
        "(key_parts->>'task') = 'verify' and ($run::uuid is null or run_id = $run) "
        "and ($verifier::varchar is null or (key_parts->'arguments'->>'verifier') = $verifier)"
    )
    cells = (
        "select step_id, iteration, name, key_parts->'arguments'->>'verifier', key_parts->'ingredients' as ingredients "
        f"from step where {which} order by event_seq"
    )
    given = {"run": run_id, "verifier": wanted.verifier if wanted else None}
    read = _read(lineage, which, given)
    found: dict[str, JudgedCell] = {}
    for step_id, iteration, step, verifier, ingredients in lineage.rows(cells, given):
        code = digest(ingredients["verifier"])
        problems, attempts = read.get((step_id, "problems")), read.get((step_id, "attempts"))
        if problems and attempts and (wanted is None or wanted.names(verifier, code)):
            cell = JudgedCell(iteration, step, verifier, version_of(verifier, code), problems, attempts)
            found.setdefault(digest(verifier, code, problems.shards, attempts.shards), cell)
    return list(found.values())


def _read(lineage: Lineage, which: str, given: dict[str, Any]) -> dict[tuple[str, str], Manifest]:
    """What these steps read as it is now, by step id and role."""
    query = (
        "select o.step_id, o.role, any_value(h.table_name), list(replace(o.digest::varchar, '-', '') order by o.position), "
        "sum(h.rows)::bigint from step_shard o join shard h using (digest) where o.direction = 'input' "
        f"and o.step_id in (select step_id from step where {which}) group by o.step_id, o.role"
    )
    rows = lineage.rows(query, given)
    return {(step_id, role): Manifest(table, tuple(shards), count) for step_id, role, table, shards, count in rows}


def versions(lineage: Lineage) -> list[str]:
    """Every version of a verifier that stored verdicts are by, the newest first."""
    rows = lineage.rows("select version from v_verifier_version order by last_seq desc, version", [])
    return [row[0] for row in rows]
