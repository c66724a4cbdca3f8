"""What steps exchange and say of themselves: manifests of shards, the accounting of their inputs, and both as an output."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Manifest:
    """What tasks exchange in place of rows: the shards that hold them, in order.

    `shards` are content digests (32 hex digits); `rows` is the total number of rows in them.
    """

    table: str
    shards: tuple[str, ...]
    rows: int

    def __add__(self, other: "Manifest") -> "Manifest":
        if other.table != self.table:
            raise ValueError(f"a manifest of {self.table} cannot continue with one of {other.table}")
        return Manifest(self.table, self.shards + other.shards, self.rows + other.rows)


@dataclass(frozen=True, slots=True)
class Accounting:
    """What became of a step's inputs: ok + rejected + undecided + failed = asked, or the next step does not start."""

    asked: int
    ok: int
    rejected: int = 0
    undecided: int = 0
    failed: int = 0

    @property
    def balanced(self) -> bool:
        return self.ok + self.rejected + self.undecided + self.failed == self.asked

    def __add__(self, other: "Accounting") -> "Accounting":
        return Accounting(
            self.asked + other.asked,
            self.ok + other.ok,
            self.rejected + other.rejected,
            self.undecided + other.undecided,
            self.failed + other.failed,
        )


@dataclass(frozen=True, slots=True)
class Output:
    """What a task returns: manifests by role, the accounting, and plain JSON facts (ids, counts, shares).

    Times are not here: a cached output is the same output.
    """

    manifests: dict[str, Manifest]
    accounting: Accounting
    facts: dict[str, object] = field(default_factory=dict)
