"""`tdn watch`: the rows that are being trained, live."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from stages.cli.options import AsJson, Profile, print_json, print_table, workspace


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel="Rows and networks")(watch)


def watch(
    once: Annotated[bool, typer.Option("--once", help="print them once and end")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 2.0,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Show the rows that are being trained: step, loss, clips a second, time left.

    Example: `tdn watch` in a second terminal while `tdn repro` runs; Ctrl-C ends it.
    """
    from stages.commands.watch_rows import COLUMNS, as_cells, running

    work = workspace(profile)
    if as_json:
        print_json(running(work))
    elif once or not sys.stdout.isatty():
        if found := running(work):
            print_table(COLUMNS, as_cells(found))
        else:
            typer.echo("no row is being trained")
    else:
        from rich.live import Live

        with Live(_table(as_cells(running(work))), auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(_table(as_cells(running(work))), refresh=True)


def _table(lines: list[tuple[str, ...]]) -> Any:
    from rich.table import Table

    from stages.commands.watch_rows import COLUMNS

    table = Table(box=None, pad_edge=False, caption="" if lines else "no row is being trained")
    for name in COLUMNS:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left")
    for line in lines:
        table.add_row(*line)
    return table
