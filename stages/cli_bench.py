"""`tdn bench`: measurements of speed and memory, outside the graph; reports in `reports/bench/`.

Every command imports its module from `stages/bench/` when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.workspace import find_root

app = typer.Typer(help="Measure speed and memory; reports in reports/bench/.", no_args_is_help=True)

Rounds = Annotated[int, typer.Option(min=1, help="timed rounds; contenders take turns in each")]
Out = Annotated[Path | None, typer.Option(help="folder for the report (default: reports/bench)")]


def folder(out: Path | None) -> Path:
    """Where a report goes: `out`, else `reports/bench` of this checkout."""
    return out if out is not None else find_root(Path.cwd()) / "reports" / "bench"
