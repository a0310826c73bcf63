"""The `tdn` command line: parse, call one function, print errors as sentences."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from pipeline.core.errors import TdnError
from pipeline.core.workspace import Workspace, find_root
from pipeline.schema.settings import settings
from stages.cli import audit_commands as cli_audit
from stages.cli import bench_commands as cli_bench
from stages.cli import tool_commands as cli_tools

app = typer.Typer(
    name="tdn",
    help="A reproducible benchmark of Temporal Difference Networks for video action recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
profile_app = typer.Typer(help="Profiles: the scales at which rows run.", no_args_is_help=True)
app.add_typer(profile_app, name="profile")
app.add_typer(cli_bench.app, name="bench")
cli_tools.register(app)
cli_audit.register(app)

Profile = Annotated[
    str,
    typer.Option("--profile", "-p", help="mini, paper, local or your own", envvar="TDN_PROFILE"),
]
Graph = Annotated[
    bool,
    typer.Option(
        "--graph", help="called by DVC: trust the plan, record absent data instead of failing"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="processes; 0: only this one (default: as in params.yaml)"),
]
DatasetArg = Annotated[str, typer.Argument(metavar="DATASET", help="a data set of the profile")]
RowArg = Annotated[str, typer.Argument(metavar="ROW", help="a key of manifests/experiments*.yaml")]


def _workspace(profile: str) -> Workspace:
    return Workspace(find_root(Path.cwd()), profile)


def _execute(name: str, key: str, profile: str, graph: bool, **switches: Any) -> None:
    from stages import graph as harness

    work = _workspace(profile)
    if switches.get("workers", 0) is None:
        switches["workers"] = settings(work).decode_workers
    if not graph:
        from stages import plan

        plan.run(work, wanted=(name, key))
    with _bar(f"{name} {key}" if key != "all" else name) as progress:
        harness.execute(work, name, key, in_graph=graph, progress=progress, **switches)


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    """A progress bar with an ETA on a terminal; silence elsewhere (logs stay readable)."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@app.command()
def plan(profile: Profile = "mini") -> None:
    """Resolve all manifests of a profile; the first stage of the graph."""
    from stages import plan as stage

    changed = stage.run(_workspace(profile))
    typer.echo(f"plan: {changed} changed", err=True)


@app.command()
def mini(
    dataset: DatasetArg, workers: Workers = None, profile: Profile = "mini", graph: Graph = False
) -> None:
    """Generate a miniature data set in its official layout."""
    _execute("mini", dataset, profile, graph, workers=workers)


@app.command()
def check(
    dataset: DatasetArg,
    probe: Annotated[
        bool, typer.Option("--probe", help="also decode the first frames of every video")
    ] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Reconcile a data set's annotation with its files and write the ledger of sources."""
    _execute("check", dataset, profile, graph)
    if not graph:
        with _bar(f"probe {dataset}") as progress:
            cli_tools.tell_check(_workspace(profile), dataset, probe, progress)


@app.command()
def decode(
    dataset: DatasetArg,
    workers: Workers = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="try failed videos of finished shards again")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what it will cost, from a sample")
    ] = False,
    sample: Annotated[int, typer.Option(min=2, help="videos that a dry run decodes")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="a dry run's numbers as JSON")] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Decode a data set into its frame store; finished shards are kept."""
    if dry_run:
        cli_tools.forecast(_workspace(profile), dataset, workers, sample, as_json)
        return
    _execute("decode", dataset, profile, graph, workers=workers, retry_failed=retry_failed)


@app.command()
def flow(
    dataset: DatasetArg,
    workers: Workers = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="try failed videos of finished shards again")
    ] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Compute the optical flow between a data set's stored frames, into a store of its own."""
    _execute("flow", dataset, profile, graph, workers=workers, retry_failed=retry_failed)


@app.command()
def pretrain(
    start: Annotated[str, typer.Argument(metavar="START", help="images or scratch")],
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Prepare the weights that rows start from: image pre-training, or nothing."""
    _execute("pretrain", start, profile, graph)


@app.command()
def train(row: RowArg, profile: Profile = "mini", graph: Graph = False) -> None:
    """Train one row."""
    _execute("train", row, profile, graph)


@app.command()
def predict(row: RowArg, profile: Profile = "mini", graph: Graph = False) -> None:
    """Predict one row's test videos under all its protocols: logits per view."""
    _execute("predict", row, profile, graph)


@app.command()
def score(row: RowArg, profile: Profile = "mini", graph: Graph = False) -> None:
    """Score one row's predictions."""
    _execute("score", row, profile, graph)


@app.command()
def cost(profile: Profile = "mini", graph: Graph = False) -> None:
    """Count parameters and multiply-adds of every row's network at the paper's size."""
    _execute("cost", "all", profile, graph)


@app.command()
def tables(
    check: Annotated[
        bool, typer.Option("--check", help="only check that every claim is in exactly one cell")
    ] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Regenerate the papers' tables from the metrics at hand."""
    if check:
        from stages.tables import check as check_claims

        typer.echo(f"{check_claims(_workspace(profile))} claims, each in exactly one cell")
        return
    _execute("tables", "all", profile, graph)


@app.command()
def figures(profile: Profile = "mini", graph: Graph = False) -> None:
    """Draw the figures of the report."""
    _execute("figures", "all", profile, graph)


@app.command()
def report(profile: Profile = "mini", graph: Graph = False) -> None:
    """Write the HTML report."""
    _execute("report", "all", profile, graph)


@app.command()
def repro(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="rows, data sets or tables; default: all"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would run")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="rows side by side; 0: as in params.yaml")] = 0,
    profile: Profile = "mini",
) -> None:
    """Bring a profile, or what the targets rest on, up to date: many rows side by side."""
    from stages.driver import repro as driver

    work = _workspace(profile)
    driver.run(work, driver.choice(work, jobs, targets or [], dry_run))


@profile_app.command("list")
def profile_list() -> None:
    """Profiles, and which are switched on."""
    from stages import profiles

    for name, on, title in profiles.listing(_workspace("mini")):
        typer.echo(f"{'*' if on else ' '} {name:<8} {title}")


@profile_app.command("use")
def profile_use(name: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Switch a profile's graph on, so that DVC sees it; dirties no tracked file."""
    from stages import profiles

    path = profiles.use(_workspace(name))
    typer.echo(f"dvc repro {path}")


@profile_app.command("drop")
def profile_drop(name: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Switch a profile's graph off; its data, runs and reports stay."""
    from stages import profiles

    profiles.drop(_workspace(name))


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; not a KeyboardInterrupt, which the parser would swallow."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


def main() -> None:
    """Run the command line; a TdnError becomes a message and its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except TdnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except Stopped:
        print("stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        place = Path(str(error.filename or "")).name
        print(f"{error.strerror or error}{': ' + place if place else ''}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
