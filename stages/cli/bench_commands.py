"""`tdn bench`: measurements of speed and memory, outside the graph; reports in `reports/bench/`.

Every command imports its module from `stages/bench/` when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.core.errors import UsageError
from pipeline.core.workspace import find_root

bench_app = typer.Typer(
    help="Measure speed and memory; reports in reports/bench/.", no_args_is_help=True
)

Rounds = Annotated[int, typer.Option(min=1, help="timed rounds; contenders take turns in each")]
Out = Annotated[Path | None, typer.Option(help="folder for the report (default: reports/bench)")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(bench_app, name="bench", rich_help_panel="Checks")


def folder(out: Path | None, *, tried_out: bool = False) -> Path:
    """Where a report goes: `out`, else `reports/bench` of this checkout.

    Raises UsageError when a measurement of another size would replace the one that counts.
    """
    if tried_out and out is None:
        raise UsageError(
            "this measures something smaller than the report in reports/bench",
            do="give a folder of its own with --out",
        )
    return out if out is not None else find_root(Path.cwd()) / "reports" / "bench"


Device = Annotated[str, typer.Option(help="cpu or cuda")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="processor threads (default: all of this machine's)")
]


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
    width: Annotated[int | None, typer.Option(min=1, help="of the stem; to try this out")] = None,
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Time per video of the networks whose times the tables print, with and without loading."""
    import torch

    from pipeline.core.workspace import Workspace
    from pipeline.lineage import resolve_plans as plan
    from stages.bench import running_time as bench
    from stages.bench.measures import pick_device
    from stages.networks import Catalogue

    chosen = pick_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    work = Workspace(find_root(Path.cwd()), "paper")
    specs = plan.resolve(work, Catalogue(work.root))["cost", plan.ALL]["params"]["rows"]
    setting = bench.Setting(
        device=chosen,
        batch=batch or (16 if device == "cuda" else 2),
        rounds=rounds,
        threads=decoders,
        side_px=side,
        width=width,
        only=tuple(only or ()),
    )
    place = folder(out, tried_out=bool(side or width or only))
    bench.run(work, specs, setting, place, lambda line: typer.echo(line, err=True))
    typer.echo((place / f"timings.{device}.md").read_text(encoding="utf-8"))


@bench_app.command()
def model(
    device: Device = "cpu",
    rounds: Rounds = 7,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="videos at a time")] = None,
    train_batch: Annotated[int, typer.Option(min=1, help="videos of the training step")] = 2,
    compiled: Annotated[bool, typer.Option(help="with torch.compile where it can work")] = True,
    side: Annotated[int, typer.Option(min=32, help="of the frames, in pixels")] = 224,
    width: Annotated[
        int | None, typer.Option(min=1, help="of the stem; a narrow network, to try this out")
    ] = None,
    threads: Threads = None,
    out: Out = None,
) -> None:
    """Our TDN-R50 against the authors' arrangement: evaluation, training step, memory."""
    import torch

    from stages.bench import network_speed as bench
    from stages.bench.measures import pick_device

    place = folder(out, tried_out=width is not None or side != 224)
    chosen = pick_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    setting = bench.Setting(
        device=chosen,
        batches=tuple(batch or (1, 4)),
        rounds=rounds,
        step_rounds=max(1, rounds - 2),
        train_batch=train_batch,
        side_px=side,
        width=width,
        compiled=compiled,
    )
    bench.run(setting, place, lambda line: typer.echo(line, err=True))
    typer.echo((place / f"model.{device}.md").read_text(encoding="utf-8"))


Videos = Annotated[Path | None, typer.Option(help="a folder of real videos instead of generated")]
Frames = Annotated[
    int | None, typer.Option(min=8, help="shortens the generated videos, to try this out")
]


@bench_app.command()
def decode(
    rounds: Rounds = 5,
    videos: Videos = None,
    most: Annotated[int, typer.Option(min=1, help="of those videos, per folder")] = 8,
    frames: Frames = None,
    script_ffmpeg: Annotated[
        Path | None,
        typer.Option(help="the ffmpeg that writes .jpg files as scripts do (default: on PATH)"),
    ] = None,
    out: Out = None,
) -> None:
    """Decode and store against ffmpeg alone and against .jpg files."""
    from stages.bench import decode_speed as bench

    setting = bench.Setting(rounds, videos, most, frames, script_ffmpeg)
    bench.run(setting, folder(out), lambda line: typer.echo(line, err=True))
    typer.echo((folder(out) / "decode.md").read_text(encoding="utf-8"))


@bench_app.command()
def clips(
    rounds: Rounds = 7,
    count: Annotated[int, typer.Option(min=1, help="clips per round")] = 12,
    videos: Videos = None,
    most: Annotated[int, typer.Option(min=1, help="of those videos")] = 4,
    frames: Frames = None,
    out: Out = None,
) -> None:
    """Clips and training samples from the store against PIL, torchcodec and decord."""
    from pipeline.core.benchmark import to_markdown
    from pipeline.core.files import read_json
    from stages.bench import clip_speed as bench

    setting = bench.Setting(rounds, count, videos, most, frames)
    bench.run(setting, folder(out), lambda line: typer.echo(line, err=True))
    typer.echo(to_markdown(read_json(folder(out) / "clips.json")))
