"""`tdn compare`: two rows, or two sets of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.core.errors import UsageError
from stages.cli.options import AsJson, Profile, print_json, print_table, workspace

if TYPE_CHECKING:
    from stages.commands.compare_results import ReportComparison, RowComparison

_MOST_NAMED = 8


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(rich_help_panel="Checks")(compare)


def compare(
    rows: Annotated[
        list[str] | None, typer.Argument(metavar="[ROW ROW]", help="two rows of the profile")
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="OTHER", help="a reports folder, another checkout, or a revision"
        ),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(min=0.01, help="points: how many videos a test needs to see it"),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Compare two rows on the same videos, or all results with those of another machine.

    Example: `tdn compare tdn_r50_8f_ssv1 tsm_r50_8f_ssv1`; `tdn compare --with HEAD~1`.
    """
    from stages.commands import compare_results as results

    work = workspace(profile)
    if other is not None and not rows:
        reports = results.compare_reports(work, other)
        if as_json:
            print_json({"summary": reports.summary(), "comparison": reports})
        else:
            _print_reports(reports, other)
        return
    if other is not None or len(rows or []) != 2:
        raise UsageError(
            "two rows are compared, or all results with another set of them",
            do="run `tdn compare ROW ROW` or `tdn compare --with OTHER`",
        )
    first, second = rows or []
    found = results.compare_rows(work, first, second)
    changes = results.row_changes(work, first, second)
    if as_json:
        print_json({"rows": [first, second], "differ_in": changes, "protocols": found})
        return
    typer.echo(f"{first} and {second} differ in:")
    code = [line for line in changes if line.startswith("code ")]
    for line in [c for c in changes if c not in code] or ["no parameter of their training"]:
        typer.echo(f"  {line}")
    for line in [*code[:_MOST_NAMED], *(["…"] if len(code) > _MOST_NAMED else [])]:
        typer.echo(f"  {line}")
    for one in found:
        _print_rows(first, second, one)
        if difference is not None:
            _print_power(one, difference)


def _print_rows(first: str, second: str, one: RowComparison) -> None:
    test = one.test
    clusters = "" if test.n_clusters == one.videos else f" in {test.n_clusters} clusters"
    typer.echo("")
    typer.echo(f"{one.protocol}, {one.videos} videos{clusters}, top-1:")
    typer.echo(f"  {first} {one.first_pct:.2f} %, {second} {one.second_pct:.2f} %")
    typer.echo(
        f"  difference {test.difference_pct:+.2f} points, 95 % interval "
        f"{test.interval.low:+.2f} to {test.interval.high:+.2f} over "
        f"{'videos and trainings' if test.trainings else 'videos only'}, p = {test.p_value:.4f}"
    )
    for row, videos in ((first, one.first_only), (second, one.second_only)):
        more = ", …" if len(videos) > _MOST_NAMED else ""
        names = f": {', '.join(videos[:_MOST_NAMED])}{more}" if videos else ""
        typer.echo(f"  more often right with {row}: {len(videos)}{names}")
    print_table(
        ("class", ">videos", f">{first}", f">{second}"),
        [(c.name, str(c.videos), f"{c.first_right:g}", f"{c.second_right:g}") for c in one.classes],
    )


def _print_power(one: RowComparison, difference: float) -> None:
    clusters = one.test.clusters_needed(difference)
    videos = round(clusters * one.videos / one.test.n_clusters)
    typer.echo(
        f"4 of 5 such tests see a true difference of {one.test.detectable_pct:.1f} points; "
        f"for {difference:g} points they need {videos} videos in {clusters} clusters "
        "(another training adds to this)"
    )


def _print_reports(reports: ReportComparison, other: str) -> None:
    pairs = sorted(reports.pairs, key=lambda pair: -abs(pair.here - pair.there))
    print_table(
        ("row", "protocol", ">here", ">there", ">points", "in the interval"),
        [
            (
                pair.row,
                pair.protocol,
                f"{pair.here:.2f}",
                f"{pair.there:.2f}",
                f"{pair.here - pair.there:+.2f}",
                "same predictions" if pair.same_predictions else "yes" if pair.inside else "no",
            )
            for pair in pairs
        ],
    )
    for where, names in (("only here", reports.only_here), (f"only {other}", reports.only_there)):
        if names:
            typer.echo(f"{where}: {len(names)} rows, {names[0]} for example")
    found = reports.summary()
    typer.echo(
        f"{found['results']} results: {found['mean_points_apart']:.1f} points apart on average, "
        f"{found['most_points_apart']:.1f} at most; {found['equal_predictions']} with equal "
        f"predictions; {found['outside_printed_interval']} outside the interval printed here"
    )
