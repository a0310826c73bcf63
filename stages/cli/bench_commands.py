"""`tdn bench NAME`: measurements of speed and memory, outside the graph."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.core.benchmark import write_benchmark
from pipeline.core.errors import UsageError
from pipeline.core.workspace import find_root
from pipeline.schema.base import known_name
from pipeline.schema.profiles import load_profile

BENCHES = {
    "decode": "decode_speed",
    "clips": "clip_speed",
    "model": "network_speed",
    "timings": "running_time",
    "train": "training_speed",
    "loader": "loader_speed",
    "accelerator": "accelerator",
}
"""The module in `stages/bench/` of each."""
SMALLER = ("side", "width", "frames", "only")
"""Options whose measurement is not the one that the committed report is about."""


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(rich_help_panel="Checks")(bench)
    app.command("bench-session", rich_help_panel="Checks")(bench_session)


def bench(
    name: Annotated[
        Literal["decode", "clips", "model", "timings", "train", "loader", "accelerator"],
        typer.Argument(metavar="NAME"),
    ],
    rounds: Annotated[int | None, typer.Option(min=1, help="timed rounds")] = None,
    device: Annotated[
        str | None, typer.Option(help="model, timings, train, accelerator: cpu or cuda")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="model, timings, train: processor threads"),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="videos at a time (not decode, clips)"),
    ] = None,
    side: Annotated[
        int | None,
        typer.Option(min=32, help="of the frames, in pixels (networks)"),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="channels of the stem (networks)")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="timings, accelerator: only these rows")
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(help="decode, clips, loader: a folder of videos"),
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="decode, clips, loader: of those videos, per folder")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=8, help="decode, clips, loader: frames of a generated video")
    ] = None,
    script_ffmpeg: Annotated[
        Path | None, typer.Option(help="decode: the scripts' ffmpeg (default: the one on PATH)")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the report (default: reports/bench)")
    ] = None,
) -> None:
    """Measure speed and memory (docs/benchmarks.md says what each of these does)."""
    options: dict[str, Any] = {
        "rounds": rounds, "device": device, "threads": threads, "side": side, "width": width,
        "batch": tuple(batch or ()), "only": tuple(only or ()), "videos": videos, "most": most,
        "frames": frames, "script_ffmpeg": script_ffmpeg,
    }  # fmt: skip
    given = {option: value for option, value in options.items() if value}
    module = import_module(f"stages.bench.{BENCHES[name]}")
    taken = [field.name for field in fields(module.Setting) if field.name in options]
    for option in given:
        if option not in taken:
            raise UsageError(
                f"benchmark '{name}' has no option --{option.replace('_', '-')}",
                do=f"its options: {', '.join('--' + known.replace('_', '-') for known in taken)}",
            )
    if out is None and given.keys() & set(SMALLER):
        raise UsageError(
            "this measures something smaller than the report in reports/bench",
            do="give a folder of its own with --out",
        )
    folder = out or find_root(Path.cwd()) / "reports" / "bench"
    report = module.run(module.Setting(**given), lambda line: typer.echo(line, err=True))
    typer.echo(write_benchmark(folder, report))


def bench_session(
    rows: Annotated[
        list[str] | None, typer.Argument(metavar="[ROW]...", help="of profile gpu (default: six)")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.2, help="for all steps together")] = 9.0,
    device: Annotated[str, typer.Option(help="cuda, or cpu to try it")] = "cuda",
    out: Annotated[Path | None, typer.Option(help="folder for the benchmarks' reports")] = None,
    small: Annotated[bool, typer.Option("--small", help="small networks and frames")] = False,
) -> None:
    """Benchmarks on an accelerator, then rows of profile gpu, as far as the minutes go.

    Example: `tdn bench-session --minutes 9`; `tdn bench-session --device cpu --small --out try`.
    """
    from stages.bench import short_session

    if small and out is None:
        raise UsageError("--small measures something smaller", do="give a folder with --out")
    more = ["--out", str(out)] if out else []
    more += ["--side", "64", "--width", "8", "--rounds", "1", "--batch", "2"] if small else []
    known = load_profile(find_root(Path.cwd()) / "manifests", "gpu").rows or []
    for row in rows or ():
        known_name("row", row, known, "profile gpu")
    if device not in ("cpu", "cuda"):
        raise UsageError(f"unknown device '{device}'", do="say cpu or cuda")
    todo = short_session.steps(device, rows or short_session.ROWS, more)
    found = short_session.run_steps(todo, 60 * minutes, lambda line: typer.echo(line, err=True))
    for one in found:
        typer.echo(f"{one.name:<44} {one.ended:<12} {one.seconds:6.1f} s")
    if any(one.ended != "ok" for one in found):
        raise typer.Exit(1)
