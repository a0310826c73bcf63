"""Commands for rows and networks: train, predict, score; lists of both; maps of one video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.core.errors import UsageError
from stages.cli.options import AsJson, Graph, Profile, RowArg, print_json, print_table, workspace
from stages.cli.run_stage import run_stage


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (rows, models, pretrain, train, predict, score, views, explain):
        app.command(rich_help_panel=PANEL)(command)
    app.command("import-checkpoint", rich_help_panel=PANEL)(import_checkpoint)


PANEL = "Rows and networks"


def pretrain(
    start: Annotated[str, typer.Argument(metavar="START", help="images_BACKBONE or scratch")],
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Prepare the weights that rows start from: image pre-training, or nothing."""
    run_stage("pretrain", start, profile, graph)


def train(row: RowArg, profile: Profile = "mini", graph: Graph = False) -> None:
    """Train one row's network.

    With compute.workers of the profile, on as many processes: those that `torchrun` started, else
    workers that this command starts.
    """
    from stages.trainer.worker_group import from_environment

    if from_environment().first:
        run_stage("train", row, profile, graph)
    else:
        from stages.train import help_train

        help_train()


def predict(row: RowArg, profile: Profile = "mini", graph: Graph = False) -> None:
    """Predict one row's test videos under all its protocols: logits per view."""
    run_stage("predict", row, profile, graph)


def score(row: RowArg, profile: Profile = "mini", graph: Graph = False) -> None:
    """Score one row's predictions."""
    run_stage("score", row, profile, graph)


def models(
    only: Annotated[list[str] | None, typer.Argument(metavar="[NETWORK]...")] = None,
    as_json: AsJson = False,
) -> None:
    """List the networks: parameters, multiply-adds at the paper's input, printed, difference."""
    from stages.commands import list_networks

    lines = list_networks.run(workspace("mini"), only or ())
    if as_json:
        print_json(lines)
        return
    print_table(
        ("network", "input", ">params", ">G", ">printed", ">diff", ""),
        (
            (
                line.key,
                line.input,
                f"{line.params:,}",
                f"{line.gmacs:.2f}",
                "" if line.printed is None else f"{line.printed:g}",
                "" if line.difference_pct is None else f"{line.difference_pct:+.1f}%",
                "; ".join(filter(None, (line.place, line.note))),
            )
            for line in lines
        ),
    )


def rows(
    row: Annotated[
        str | None, typer.Argument(metavar="[ROW]", help="print this row and its values' origins")
    ] = None,
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
    """List the rows: training clips, multiply-adds, hours (at paper scale) and their claims.

    With ROW: that row as the profile runs it, and where each of its values comes from.
    """
    from stages.commands import list_rows

    if row is not None:
        _describe_row(row, profile, as_json)
        return
    if tflops is not None and measured is not None:
        raise UsageError("--tflops and --measured exclude each other", do="give one of them")
    work = workspace(profile)
    if measured is not None:
        tflops = list_rows.measured_tflops(work, measured)
    lines = list_rows.run(work, tflops)
    if as_json:
        print_json(lines)
        return
    print_table(
        ("row", ">clips", ">PMAC", ">hours", "aims at"),
        (
            (
                line.row,
                "?" if line.clips is None else f"{line.clips:,}",
                "?" if line.petamacs is None else f"{line.petamacs:,.1f}",
                "" if line.hours is None else f"{line.hours:,.1f}",
                ", ".join(f"{place} {value}" for place, value in line.aims.items()),
            )
            for line in lines
        ),
    )


def _describe_row(row: str, profile: str, as_json: bool) -> None:
    from pipeline.schema.describe_row import describe_row

    values = describe_row(workspace(profile).manifests, profile, row)
    if as_json:
        print_json(values)
        return
    print_table(("key", "value", "from"), ((v.name, v.value, v.origin) for v in values))


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
    from stages.commands import show_views

    size_px = (width, height)
    print_json(
        show_views.run(workspace("mini"), protocol, frames, segments, window, video, seed, size_px)
    )


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
    """Convert an authors' published checkpoint into weights of ours."""
    from stages.commands import import_checkpoint

    count = import_checkpoint.run(file, architecture, out, backbone, segments, permutation)
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
        str,
        typer.Option("--class", help="class to explain (default: label, else prediction)"),
    ] = "",
    protocol: Annotated[str, typer.Option(help="the protocol whose first clip is shown")] = "",
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("explain"),
    profile: Profile = "mini",
) -> None:
    """Draw where in a video a trained row finds its class: PNG, SVG and numbers."""
    from stages import plan
    from stages.commands import explain_row
    from stages.graph import typed_plan

    work = workspace(profile)
    plan.run(work, wanted=("predict", row))
    planned = typed_plan(work, "predict", row)
    figure, paths = explain_row.run(
        work, planned, video, out, layer=layer, target=target, protocol=protocol
    )
    numbers = figure.as_json()["numbers"]
    label = f" (labelled {numbers['label']})" if numbers["label"] else ""
    typer.echo(f"{row} answers {numbers['answer']}{label}; shown: {numbers['target']}")
    for path in paths:
        typer.echo(path)
