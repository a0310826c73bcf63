"""`tdn bench`: measurements of speed and memory, outside the graph; reports in `reports/bench/`.

Every command imports its module from `stages/bench/` when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace, find_root

if TYPE_CHECKING:
    import torch

bench_app = typer.Typer(
    help="Measure speed and memory; reports in reports/bench/.", no_args_is_help=True
)

Rounds = Annotated[int, typer.Option(min=1, help="timed rounds; contenders take turns in each")]
Device = Annotated[str, typer.Option(help="cpu or cuda")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="processor threads (default: all of this machine's)")
]
Width = Annotated[int | None, typer.Option(min=1, help="of the stem; narrow, to try this out")]
Videos = Annotated[Path | None, typer.Option(help="a folder of real videos instead of generated")]
Most = Annotated[int, typer.Option(min=1, help="of those videos, per folder")]
Frames = Annotated[
    int | None, typer.Option(min=8, help="shortens the generated videos, to try this out")
]
Out = Annotated[Path | None, typer.Option(help="folder for the report (default: reports/bench)")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(bench_app, name="bench", rich_help_panel="Checks")


def _folder(out: Path | None, *, tried_out: bool = False) -> Path:
    """Where a report goes: `out`, else `reports/bench` of this checkout.

    Raises UsageError when a measurement of another size would replace the one that counts.
    """
    if tried_out and out is None:
        raise UsageError(
            "this measures something smaller than the report in reports/bench",
            do="give a folder of its own with --out",
        )
    return out if out is not None else find_root(Path.cwd()) / "reports" / "bench"


def _device(name: str, threads: int | None) -> torch.device:
    import torch

    from stages.bench.measures import pick_device

    if threads is not None:
        torch.set_num_threads(threads)
    return pick_device(name)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _print_report(folder: Path, name: str) -> None:
    typer.echo((folder / f"{name}.md").read_text(encoding="utf-8"))


@bench_app.command()
def timings(
    device: Device = "cpu",
    rounds: Rounds = 3,
    batch: Annotated[
        int | None, typer.Option(min=1, help="videos at a time (default: 16 on cuda, 2 on cpu)")
    ] = None,
    decoders: Annotated[int, typer.Option(min=1, help="threads that decode frames")] = 2,
    only: Annotated[list[str] | None, typer.Option(help="only these rows")] = None,
    side: Annotated[
        int | None, typer.Option(min=32, help="of the frames, in pixels; to try this out")
    ] = None,
    width: Width = None,
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Time per video of the networks whose times the tables print, with and without loading."""
    from pipeline.lineage.resolve_plans import ALL, resolve
    from stages.bench import running_time
    from stages.networks import Catalogue

    work = Workspace(find_root(Path.cwd()), "paper")
    setting = running_time.Setting(
        device=_device(device, threads),
        batch=batch or (16 if device == "cuda" else 2),
        rounds=rounds,
        threads=decoders,
        side_px=side,
        width=width,
        only=tuple(only or ()),
    )
    folder = _folder(out, tried_out=bool(side or width or only))
    specs = resolve(work, Catalogue(work.root))["cost", ALL]["params"]["rows"]
    running_time.run(work, specs, setting, folder, _say)
    _print_report(folder, f"timings.{device}")


@bench_app.command()
def model(
    device: Device = "cpu",
    rounds: Rounds = 7,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="videos at a time")] = None,
    train_batch: Annotated[int, typer.Option(min=1, help="videos of the training step")] = 2,
    compiled: Annotated[bool, typer.Option(help="with torch.compile where it can work")] = True,
    side: Annotated[int, typer.Option(min=32, help="of the frames, in pixels")] = 224,
    width: Width = None,
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Our TDN-R50 against the authors' arrangement: evaluation, training step, memory."""
    from stages.bench import network_speed

    folder = _folder(out, tried_out=width is not None or side != 224)
    setting = network_speed.Setting(
        device=_device(device, threads),
        batches=tuple(batch or (1, 4)),
        rounds=rounds,
        step_rounds=max(1, rounds - 2),
        train_batch=train_batch,
        side_px=side,
        width=width,
        compiled=compiled,
    )
    network_speed.run(setting, folder, _say)
    _print_report(folder, f"model.{device}")


@bench_app.command()
def decode(
    rounds: Rounds = 5,
    videos: Videos = None,
    most: Most = 8,
    frames: Frames = None,
    script_ffmpeg: Annotated[
        Path | None,
        typer.Option(help="the ffmpeg that writes .jpg files as scripts do (default: on PATH)"),
    ] = None,
    out: Out = None,
) -> None:
    """Decode and store against ffmpeg alone and against .jpg files."""
    from stages.bench import decode_speed

    folder = _folder(out)
    setting = decode_speed.Setting(rounds, videos, most, frames, script_ffmpeg)
    decode_speed.run(setting, folder, _say)
    _print_report(folder, "decode")


@bench_app.command()
def clips(
    rounds: Rounds = 7,
    count: Annotated[int, typer.Option(min=1, help="clips per round")] = 12,
    videos: Videos = None,
    most: Most = 4,
    frames: Frames = None,
    out: Out = None,
) -> None:
    """Clips and training samples from the store against PIL, torchcodec and decord."""
    from stages.bench import clip_speed

    folder = _folder(out)
    clip_speed.run(clip_speed.Setting(rounds, count, videos, most, frames), folder, _say)
    _print_report(folder, "clips")
