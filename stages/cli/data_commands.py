"""Commands for data sets and stores: generate, check, decode, flow, inspect, verify, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.core.errors import TdnError
from pipeline.core.workspace import Workspace
from stages.cli.options import (
    DatasetArg,
    Graph,
    Profile,
    RetryFailed,
    Workers,
    print_json,
    print_table,
    workspace,
)
from stages.cli.run_stage import progress_bar, run_stage

if TYPE_CHECKING:
    from pipeline.store.index import FrameIndex

PANEL = "Data sets"
store_app = typer.Typer(
    help="Inspect, verify and share stores, export frames.", no_args_is_help=True
)
StoredDataset = Annotated[str, typer.Argument(metavar="DATASET", help="a decoded data set")]
Flow = Annotated[bool, typer.Option("--flow", help="the store of its optical flow instead")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (mini, check, decode, flow):
        app.command(rich_help_panel=PANEL)(command)
    app.command("new-dataset", rich_help_panel=PANEL)(new_dataset)
    app.add_typer(store_app, name="store", rich_help_panel=PANEL)
    app.command("export-lists", rich_help_panel=PANEL)(export_lists)


def mini(
    dataset: DatasetArg, workers: Workers = None, profile: Profile = "mini", graph: Graph = False
) -> None:
    """Generate a miniature data set in its official layout."""
    run_stage("mini", dataset, profile, graph, workers=workers)


def check(
    dataset: DatasetArg,
    probe: Annotated[
        bool, typer.Option("--probe", help="also decode the first frames of every video")
    ] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Compare a data set's annotation with its files and write the ledger of sources."""
    run_stage("check", dataset, profile, graph)
    if not graph:
        with progress_bar(f"probe {dataset}") as progress:
            _print_check(workspace(profile), dataset, probe, progress)


def decode(
    dataset: DatasetArg,
    workers: Workers = None,
    retry_failed: RetryFailed = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="print the expected cost; decode a sample only"),
    ] = False,
    sample: Annotated[int, typer.Option(min=2, help="videos that a dry run decodes")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="a dry run's numbers as JSON")] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Decode a data set into its frame store, keeping finished shards."""
    if dry_run:
        _print_estimate(workspace(profile), dataset, workers, sample, as_json)
        return
    run_stage("decode", dataset, profile, graph, workers=workers, retry_failed=retry_failed)
    if not graph:
        from stages.decode import lines

        for line in lines(workspace(profile), dataset):
            typer.echo(line)


def flow(
    dataset: DatasetArg,
    workers: Workers = None,
    retry_failed: RetryFailed = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Compute the optical flow between a data set's stored frames, into a store of its own."""
    run_stage("flow", dataset, profile, graph, workers=workers, retry_failed=retry_failed)


def new_dataset(
    place: Annotated[
        Path, typer.Argument(metavar="DIR", help="DIR/CLASS/VIDEO, or a list: path label a line")
    ],
    name: Annotated[str | None, typer.Option(help="of the data set; default: the folder's")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="the papers' networks and schedules, from ImageNet")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="an authors' .pth.tar: one more row of its network starts from it"),
    ] = None,
    profile: Annotated[str, typer.Option("--profile", "-p", help="my, or my_NAME")] = "my",
) -> None:
    """Make a data set, rows, a table and a profile of your own videos, in the untracked my/.

    Example: `tdn new-dataset ~/gestures`, then `tdn repro --profile my`.
    """
    from stages.commands import new_dataset

    made = new_dataset.run(workspace(profile), place, name, full=full, checkpoint=checkpoint)
    counts = ", ".join(f"{len(videos)} {split}" for split, videos in made.videos.splits.items())
    typer.echo(f"my/datasets/{made.name}.yaml: {len(made.videos.classes)} classes, {counts}")
    typer.echo(f"my/profiles/{profile}.yaml: {', '.join(made.rows)}")
    if made.videos.is_split_here:
        typer.echo(
            "a fifth of each class validates; videos of one person or recording belong on one "
            f"side: see my/raw/{made.name}/train.csv and val.csv"
        )
    typer.echo(f"next: `tdn repro --profile {profile}`")


def _store(profile: str, dataset: str, flow: bool = False) -> FrameIndex:
    """The frame (or flow) store of a data set of the profile; both names are checked first."""
    from pipeline.schema.profiles import known_dataset
    from pipeline.store.index import read_index

    work = workspace(profile)
    known_dataset(work.manifests, profile, dataset)
    return read_index(work.flow(dataset) if flow else work.frames(dataset))


@store_app.command("stat")
def store_stat(dataset: StoredDataset, profile: Profile = "mini", flow: Flow = False) -> None:
    """Print what a store holds, in numbers, as JSON."""
    from pipeline.store.inspect_store import summary

    index = _store(profile, dataset, flow)
    print_json(summary(index))


@store_app.command("verify")
def store_verify(dataset: StoredDataset, profile: Profile = "mini", flow: Flow = False) -> None:
    """Digest every stored video again and exit 1, naming it, when one is damaged."""
    from pipeline.store.inspect_store import verify

    index = _store(profile, dataset, flow)
    damaged = verify(index)
    for item in damaged:
        typer.echo(f"{item.shard} {item.video_id}: {item.what}")
    if damaged:
        raise TdnError(
            f"{len(damaged)} of the store's entries are damaged",
            do=f"run `tdn {'flow' if flow else 'decode'} {dataset}`: it redoes what is damaged",
        )
    typer.echo(f"{dataset}: {len(index.videos)} videos, all as indexed")


@store_app.command("get")
def store_get(
    dataset: StoredDataset,
    video: Annotated[str, typer.Argument(metavar="VIDEO")],
    frames: Annotated[list[int] | None, typer.Argument(metavar="[FRAME]...")] = None,
    out: Annotated[Path, typer.Option(help="folder for the JPEG files")] = Path(),
    profile: Profile = "mini",
    flow: Flow = False,
) -> None:
    """Write frames of a video (0-based; default: all) as JPEG files."""
    from pipeline.store.inspect_store import export_frames

    for path in export_frames(_store(profile, dataset, flow), video, frames, out):
        typer.echo(path)


Url = Annotated[str, typer.Argument(metavar="URL", help="s3://…, gs://…, file:///… (fsspec)")]
Several = Annotated[list[str] | None, typer.Argument(metavar="[DATASET]...", help="default: all")]


@store_app.command("push")
def store_push(url: Url, datasets: Several = None, profile: Profile = "mini") -> None:
    """Copy decoded data sets with their run records to a bucket or folder."""
    from stages.commands import share_stores

    with progress_bar("push") as progress:
        lines = share_stores.push(workspace(profile), url, datasets or [], progress)
    typer.echo("\n".join(lines))


@store_app.command("pull")
def store_pull(url: Url, datasets: Several = None, profile: Profile = "mini") -> None:
    """Take what was pushed, so that rows train from this disk without decoding."""
    from stages.commands import share_stores

    with progress_bar("pull") as progress:
        lines = share_stores.pull(workspace(profile), url, datasets or [], progress)
    typer.echo("\n".join(lines))


def export_lists(
    dataset: StoredDataset,
    out: Annotated[Path, typer.Option(help="folder for the lists")],
    form: Annotated[str, typer.Option(help="frames, videos or csv")] = "frames",
    profile: Profile = "mini",
) -> None:
    """Write TSN-style lists of a decoded data set for other code bases."""
    from pipeline.store.tsn_lists import write_lists

    for path in write_lists(_store(profile, dataset), out, form):
        typer.echo(path)


def _print_check(work: Workspace, dataset: str, probe: bool, progress: Any) -> None:
    """What `tdn check DATASET [--probe]` prints once the ledger is written."""
    from pipeline.core.files import read_json
    from stages import check
    from stages.graph import typed_plan

    summary = read_json(work.sources(dataset))
    for line in check.lines(summary):
        typer.echo(line)
    if summary["status"] == "absent":
        return
    try:
        if probe:
            plan_of_check = typed_plan(work, "check", dataset)
            check.look_inside(work, dataset, plan_of_check, progress=progress)
    finally:
        for line in check.list_lines(work, dataset):
            typer.echo(line)


def _print_estimate(
    work: Workspace, dataset: str, workers: int | None, sample: int, as_json: bool
) -> None:
    """What `tdn decode DATASET --dry-run` prints."""
    from stages import plan
    from stages.commands import estimate_decode
    from stages.graph import typed_plan

    plan.run(work, wanted=("decode", dataset))
    cost = estimate_decode.run(
        work, dataset, typed_plan(work, "decode", dataset), workers=workers, sample=sample
    )
    if as_json:
        print_json(cost)
        return
    typer.echo(f"{dataset}: {cost['videos']} videos to decode, {cost['sampled']} of them tried")
    print_table(("", ">", ""), estimate_decode.table(cost))
    for line in estimate_decode.remarks(cost):
        typer.echo(line)
