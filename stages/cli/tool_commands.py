"""Commands that look and convert, outside the graph: models, views, stores, lists, checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.core.errors import TdnError, UsageError
from pipeline.core.workspace import Workspace, find_root

if TYPE_CHECKING:
    from pipeline.store.index import FrameIndex

store_app = typer.Typer(help="Frame stores: look, verify, take frames out.", no_args_is_help=True)

Profile = Annotated[
    str,
    typer.Option("--profile", "-p", help="mini, paper, local or your own", envvar="TDN_PROFILE"),
]
DatasetArg = Annotated[str, typer.Argument(metavar="DATASET", help="a decoded data set")]
Flow = Annotated[bool, typer.Option("--flow", help="the store of its optical flow instead")]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(store_app, name="store")
    app.command()(models)
    app.command("rows")(rows_)
    app.command()(views)
    app.command("export-lists")(export_lists)
    app.command("import-checkpoint")(import_checkpoint)
    app.command()(explain)


def _work(profile: str) -> Workspace:
    return Workspace(find_root(Path.cwd()), profile)


def _store(profile: str, dataset: str, flow: bool = False) -> FrameIndex:
    """The frame (or flow) store of a data set of the profile; both names are checked first."""
    from pipeline.schema.profiles import known_dataset
    from pipeline.store.index import read_index

    work = _work(profile)
    known_dataset(work.manifests, profile, dataset)
    return read_index(work.flow(dataset) if flow else work.frames(dataset))


def models(
    only: Annotated[list[str] | None, typer.Argument(metavar="[NETWORK]...")] = None,
    as_json: AsJson = False,
) -> None:
    """List the networks: parameters, multiply-adds at the paper's input, printed, difference."""
    from stages.commands import list_networks as stage

    lines = stage.run(_work("mini"), only or ())
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=2, ensure_ascii=False))
        return
    typer.echo(f"{'network':<26} {'input':<20} {'params':>11} {'G':>8} {'printed':>8} {'diff':>7}")
    for line in lines:
        printed = "" if line.printed is None else f"{line.printed:g}"
        gap = "" if line.difference_pct is None else f"{line.difference_pct:+.1f}%"
        typer.echo(
            f"{line.key:<26} {line.input:<20} {line.params:>11,} {line.gmacs:>8.2f} "
            f"{printed:>8} {gap:>7}  {line.place or ''}"
        )
        if line.note:
            typer.echo(f"{'':<26}   {line.note}")


def rows_(
    tflops: Annotated[
        float | None,
        typer.Option(min=0.001, help="10^12 operations/s that your GPU sustains in training"),
    ] = None,
    measured: Annotated[
        str | None,
        typer.Option(help="cpu or cuda: hours at the rate that `tdn bench model` measured there"),
    ] = None,
    profile: Profile = "paper",
    as_json: AsJson = False,
) -> None:
    """List the rows: training clips and multiply-adds at paper scale, hours, numbers aimed at."""
    from stages.commands import list_rows as budget

    if tflops is not None and measured is not None:
        raise UsageError("--tflops and --measured exclude each other", do="give one of them")
    work = _work(profile)
    if measured is not None:
        tflops = budget.measured_tflops(work, measured)
    lines = budget.run(work, tflops)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=2, ensure_ascii=False))
        return
    typer.echo(f"{'row':<44} {'clips':>12} {'PMAC':>10} {'hours':>8}  aims at")
    for line in lines:
        clips = "?" if line.clips is None else f"{line.clips:,}"
        petamacs = "?" if line.petamacs is None else f"{line.petamacs:,.1f}"
        hours = "" if line.hours is None else f"{line.hours:,.1f}"
        aims = ", ".join(f"{place} {value}" for place, value in line.aims.items())
        typer.echo(f"{line.row:<44} {clips:>12} {petamacs:>10} {hours:>8}  {aims}")


def views(
    protocol: Annotated[str, typer.Option(help="a key of manifests/protocols.yaml")],
    frames: Annotated[int, typer.Option(min=1, help="frames of the video")],
    segments: Annotated[int, typer.Option(min=1, help="T")] = 8,
    window: Annotated[int, typer.Option(min=1, help="F: 5 for TDN, 1 for segment networks")] = 5,
    video: Annotated[str, typer.Option(help="its id, for seeded protocols")] = "video",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    width: Annotated[int, typer.Option(min=1, help="of the stored frames, in pixels")] = 340,
    height: Annotated[int, typer.Option(min=1, help="of the stored frames, in pixels")] = 256,
) -> None:
    """Print exactly which frames (0-based) and crops a test protocol takes, as JSON."""
    from stages.commands import show_views as stage

    found = stage.run(
        _work("mini"), protocol, frames, segments, window, video, seed, (width, height)
    )
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


@store_app.command("stat")
def store_stat(dataset: DatasetArg, profile: Profile = "mini", flow: Flow = False) -> None:
    """What a store holds, in numbers."""
    from pipeline.store.inspect_store import summary

    index = _store(profile, dataset, flow)
    typer.echo(json.dumps(summary(index), indent=2, ensure_ascii=False))


@store_app.command("verify")
def store_verify(dataset: DatasetArg, profile: Profile = "mini", flow: Flow = False) -> None:
    """Digest every stored video again; names what is damaged, so that decode redoes it; exits 1."""
    from pipeline.store.inspect_store import verify

    index = _store(profile, dataset, flow)
    found = verify(index)
    for item in found:
        typer.echo(f"{item.shard} {item.video_id}: {item.what}")
    if found:
        raise TdnError(
            f"{len(found)} of the store's entries are damaged",
            do=f"run `tdn {'flow' if flow else 'decode'} {dataset}`: it redoes what is damaged",
        )
    typer.echo(f"{dataset}: {len(index.videos)} videos, all as indexed")


@store_app.command("get")
def store_get(
    dataset: DatasetArg,
    video: Annotated[str, typer.Argument(metavar="VIDEO")],
    frames: Annotated[list[int] | None, typer.Argument(metavar="[FRAME]...")] = None,
    out: Annotated[Path, typer.Option(help="folder for the JPEG files")] = Path(),
    profile: Profile = "mini",
    flow: Flow = False,
) -> None:
    """Write frames (0-based; none named: all) of a video out for a look."""
    from pipeline.store.inspect_store import export_frames

    for path in export_frames(_store(profile, dataset, flow), video, frames, out):
        typer.echo(path)


def export_lists(
    dataset: DatasetArg,
    out: Annotated[Path, typer.Option(help="folder for the lists")],
    form: Annotated[str, typer.Option(help="frames, videos or csv")] = "frames",
    profile: Profile = "mini",
) -> None:
    """Write TSN-style lists of a decoded data set for other code bases."""
    from pipeline.store.tsn_lists import write_lists

    for path in write_lists(_store(profile, dataset), out, form):
        typer.echo(path)


def tell_check(work: Workspace, dataset: str, probe: bool, progress: Any) -> None:
    """What `tdn check DATASET [--probe]` prints once the ledger is written."""
    from pipeline.core.files import read_json
    from stages import check
    from stages import graph as harness

    summary = read_json(work.sources(dataset))
    for line in check.lines(summary):
        typer.echo(line)
    if summary["status"] == "absent":
        return
    try:
        if probe:
            check.look_inside(
                work, dataset, harness.typed_plan(work, "check", dataset), progress=progress
            )
    finally:
        for line in check.list_lines(work, dataset):
            typer.echo(line)


def forecast(
    work: Workspace, dataset: str, workers: int | None, sample: int, as_json: bool
) -> None:
    """What `tdn decode DATASET --dry-run` prints."""
    from stages import graph as harness
    from stages import plan
    from stages.commands import estimate_decode as estimate

    plan.run(work, wanted=("decode", dataset))
    found = estimate.run(
        work, dataset, harness.typed_plan(work, "decode", dataset), workers=workers, sample=sample
    )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in estimate.lines(found):
        typer.echo(line)


def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="an authors' .pth.tar")],
    architecture: Annotated[str, typer.Option(help="tdn, tanet, tsm, tsn or tea")],
    out: Annotated[Path, typer.Option(help="where to write our weights")],
    backbone: Annotated[str, typer.Option(help="resnet50, resnet101 or res2net50")] = "resnet50",
    segments: Annotated[int, typer.Option(min=1, help="T the checkpoint was trained with")] = 8,
    permutation: Annotated[
        Path | None, typer.Option(help="JSON list: the checkpoint's index of each class of ours")
    ] = None,
) -> None:
    """Convert a published checkpoint; unused, missing and mismatched keys are named."""
    from stages.commands import import_checkpoint as checkpoints

    count = checkpoints.run(file, architecture, out, backbone, segments, permutation)
    typer.echo(f"{out}: {count} tensors of {architecture} ({backbone}, {segments} segments)")


def explain(
    row: Annotated[str, typer.Argument(metavar="ROW", help="a trained row")],
    video: Annotated[
        str, typer.Argument(metavar="VIDEO", help="an id of its data set, or a path of your own")
    ],
    layer: Annotated[
        str, typer.Option(help="a layer for Grad-CAM, as res2 or res4.1 (default: the last stage)")
    ] = "",
    target: Annotated[
        str, typer.Option("--class", help="class to look for (default: label, else the answer)")
    ] = "",
    protocol: Annotated[str, typer.Option(help="whose first clip is shown")] = "",
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("explain"),
    profile: Profile = "mini",
) -> None:
    """Show where a trained row looks in a video: PNG, SVG and numbers."""
    from stages import plan
    from stages.commands import explain_row as stage
    from stages.graph import typed_plan

    work = _work(profile)
    plan.run(work, wanted=("predict", row))
    found_plan = typed_plan(work, "predict", row)
    figure, paths = stage.run(
        work, found_plan, video, out, layer=layer, target=target, protocol=protocol
    )
    found = figure.numbers
    label = f" (labelled {found['label']})" if found["label"] else ""
    typer.echo(f"{row} answers {found['answer']}{label}; shown: {found['target']}")
    for path in paths:
        typer.echo(path)
