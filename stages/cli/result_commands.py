"""Commands for results: whole profiles, costs, tables, figures, the report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.core.workspace import for_stages
from stages.cli.options import Graph, Profile, workspace
from stages.cli.run_stage import progress_bar, run_stage

PANEL = "Results"
profile_app = typer.Typer(help="Profiles: the scales at which rows run.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (repro, plan, cost, tables, figures, report, results):
        app.command(rich_help_panel=PANEL)(command)
    app.add_typer(profile_app, name="profile", rich_help_panel=PANEL)


def repro(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="rows, data sets or tables; default: all"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what would run")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="rows side by side; 0: as in params.yaml")] = 0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31 - 1, help="write this seed into the profile's manifest"),
    ] = None,
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="10^12 operations/s of your GPU: for the hours")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before hours of work")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="one row, other values, beside its own"),
    ] = None,
    profile: Profile = "mini",
) -> None:
    """Bring a profile, or the targets and all they depend on, up to date."""
    from pipeline.schema.profiles import write_seed
    from stages.driver import trial
    from stages.driver.repro import choice, run

    work = workspace(profile)
    if settings:
        if len(targets or []) != 1 or dry_run or seed is not None:
            raise UsageError(
                "--set is for one row, without --dry-run and --seed",
                do="`tdn repro ROW --set recipe.epochs=2 --set compute.micro_batch=4`",
            )
        trial.run(work, (targets or [""])[0], settings, progress_bar)
        return
    if seed is not None and dry_run:
        raise UsageError(
            "--seed writes into the profile's manifest, and --dry-run writes nothing",
            do=f"write `seed: {seed}` there yourself, then ask for the dry run",
        )
    if seed is not None and (line := write_seed(work.manifests, profile, seed)):
        typer.echo(line, err=True)
    run(work, choice(work, jobs, targets or [], dry_run, tflops, _agrees(yes)))


def _agrees(yes: bool) -> Callable[[str], bool]:
    """Who answers whether hours of work may begin: the option, a person, or nobody."""
    if yes:
        return lambda question: True
    return typer.confirm if sys.stdin.isatty() else lambda question: False


def plan(profile: Profile = "mini") -> None:
    """Resolve all manifests of a profile into the plans of its stages."""
    from stages.plan import run

    changed = run(workspace(profile))
    typer.echo(f"plan: {changed} changed", err=True)


def cost(profile: Profile = "mini", graph: Graph = False) -> None:
    """Count parameters and multiply-adds of every row's network at the paper's size."""
    run_stage("cost", "all", profile, graph)


def results(
    schema: Annotated[
        bool, typer.Option("--schema", help="print the JSON Schema of the file in its place")
    ] = False,
    form: Annotated[
        str, typer.Option("--format", help="json, csv, model-index or eval-results")
    ] = "json",
    row: Annotated[str, typer.Option(help="the row that a model card is about")] = "",
    hub: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="its data set on the Hugging Face Hub")
    ] = "",
    profile: Profile = "mini",
) -> None:
    """Print all results of a profile as JSON: every number with what it covers and its sources.

    Also as CSV, or one row's for a model card. Example: `tdn results --format csv`.
    """
    from stages.commands.export_results import run

    typer.echo(run(workspace(profile), form=form, row=row, hub=hub, schema=schema), nl=False)


def tables(
    check: Annotated[
        bool,
        typer.Option("--check", help="only check: each claim in one cell, runs known"),
    ] = False,
    profile: Profile = "mini",
    graph: Graph = False,
) -> None:
    """Regenerate the papers' tables from the metrics that there are."""
    if check:
        from pipeline.reporting.prose import check_manifests
        from pipeline.schema.table_layouts import check_runs

        work = for_stages(workspace(profile))
        typer.echo(f"{check_manifests(work.manifests)} claims, each in exactly one cell")
        check_runs(work.manifests)
        return
    run_stage("tables", "all", profile, graph)


def figures(profile: Profile = "mini", graph: Graph = False) -> None:
    """Draw the figures of a profile's report."""
    run_stage("figures", "all", profile, graph)


def report(
    profile: Profile = "mini",
    graph: Graph = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER",
            help="a reports folder, another checkout, or a revision: write a page of both instead",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="the page of --compare")] = Path("compare.html"),
) -> None:
    """Write the HTML report, or one page that sets all results beside another set of them.

    Example: `tdn report --compare HEAD~1`; `tdn report --compare reports/long`.
    """
    if compare is None:
        run_stage("report", "all", profile, graph)
        return
    from stages.commands.compare_results import as_page, compare_reports

    found = compare_reports(workspace(profile), compare)
    write_atomic(output, as_page(found, profile, compare).encode())
    typer.echo(f"{output}: {found.summary()['results']} results of both")


@profile_app.command("list")
def profile_list() -> None:
    """List the profiles and mark those whose graph is switched on."""
    from stages import profile_graph

    for name, on, title in profile_graph.listing(workspace("mini")):
        typer.echo(f"{'*' if on else ' '} {name:<8} {title}")


@profile_app.command("use")
def profile_use(name: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Derive a profile's graph and switch it on, so that DVC sees it."""
    from stages import profile_graph

    path = profile_graph.use(workspace(name))
    typer.echo(f"dvc repro {path}")


@profile_app.command("drop")
def profile_drop(name: Annotated[str, typer.Argument(metavar="PROFILE")]) -> None:
    """Switch a profile's graph off, keeping its data, runs and reports."""
    from stages import profile_graph

    profile_graph.drop(workspace(name))
