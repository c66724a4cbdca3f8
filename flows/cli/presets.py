"""`starloop presets`: the ready-made runs."""


def list_presets() -> None:
    """The ready-made runs, with what each is for."""
    from rich.console import Console
    from rich.table import Table

    from flows.config import presets

    table = Table("preset", "method", "what it is")
    for name, preset in presets().items():
        table.add_row(name, preset["method"], preset["about"])
    Console().print(table)
