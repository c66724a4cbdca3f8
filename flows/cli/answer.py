"""The answer to a question in SQL, as it looks in a terminal."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from storage.query import Answer

if TYPE_CHECKING:
    from rich.console import Console

CUT = 200
"""Longest text that is shown, in characters."""
ENOUGH = 24
"""A column of longer values is wrapped before a table is given up."""


def print_answer(answer: Answer, console: "Console | None" = None) -> None:
    """A table where the columns fit beside each other, else one row below the other, a line for each column."""
    from rich import box
    from rich.console import Console
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    rows = [[Text(shown(None if value is None else str(readable(value)))) for value in row] for row in answer.rows]
    columns = [
        max(len(name), *(min(ENOUGH, row[place].cell_len) for row in rows), 0)
        for place, name in enumerate(answer.columns)
    ]
    if sum(columns) + 2 * len(columns) <= console.width:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
        for name in answer.columns:
            table.add_column(Text(name))
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    for number, row in enumerate(rows, start=1):
        console.print(Rule(f"row {number}", align="left", style="dim"))
        record = Table.grid(padding=(0, 2, 0, 0))
        for name, cell in zip(answer.columns, row, strict=True):
            record.add_row(Text(name, style="bold"), cell)
        console.print(record)


def shown(text: str | None) -> str:
    """Model text for a terminal: control characters made visible, long text cut with its length said."""
    if text is None:
        return "—"
    visible = "".join(c if c.isprintable() else "⏎" if c == "\n" else f"\\x{ord(c):02x}" for c in text[: CUT + 1])
    return visible if len(text) <= CUT else f"{visible[:CUT]}… ({len(text):,} characters)"


def readable(value: Any) -> Any:
    """A value as people read it: ids as 32 hex digits."""
    return value.hex if isinstance(value, UUID) else value
