"""`tdn verdict` and `tdn reference`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.cli.options import AsJson, Profile, print_json, print_table, workspace

if TYPE_CHECKING:
    from stages.commands.judge_results import Judged, Verdict

OUTSIDE_EXIT = 2
"""More results outside than chance explains; that of a broken audit."""
UNKNOWN_EXIT = 3
"""Nothing could be judged; that of an incomplete audit."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (verdict, reference):
        app.command(rich_help_panel="Checks")(command)


def verdict(
    rows: Annotated[
        list[str] | None, typer.Argument(metavar="[ROW]...", help="these rows alone")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--reference", help="another file than the profile's own")
    ] = None,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Say whether results are such as other seeds and machines gave.

    Each row's result is held against trainings that differ from it in nothing but the seed.
    """
    from stages.commands import judge_results

    found = judge_results.judge(workspace(profile), rows or (), file)
    if as_json:
        print_json({"judged": found.judged, "allowed": found.allowed, "holds": found.holds})
    else:
        _print(found)
    if not found.holds:
        raise typer.Exit(OUTSIDE_EXIT)
    if not found.within:
        raise typer.Exit(UNKNOWN_EXIT)


def _print(found: Verdict) -> None:
    print_table(
        ("row", ">here", ">expected", ">mean", ">sd", ">trainings", ""),
        [_line(one) for one in found.judged if one.bounds is not None],
    )
    if found.unknown:
        example = found.unknown[0]
        typer.echo(
            f"not judged: {len(found.unknown)} rows; {example.result.row}, for example: "
            f"{example.why_not}"
        )
    typer.echo(found.summary)


def _line(one: Judged) -> tuple[str, ...]:
    assert one.bounds is not None
    return (
        one.result.row,
        f"{one.result.value_pct:.2f}",
        f"{one.bounds.low_pct:.1f} to {one.bounds.high_pct:.1f}",
        f"{one.bounds.mean_pct:.2f}",
        f"{one.bounds.sd_pct:.2f}",
        str(one.bounds.trainings),
        "outside" if one.outside else "",
    )


def reference(
    source: Annotated[
        str | None, typer.Option("--from", help="a profile of the same rows, such as long")
    ] = None,
    profile: Profile = "mini",
) -> None:
    """Add results that are here to the reference distribution, one line per training."""
    from stages.commands import judge_results

    work = workspace(profile)
    added, total = judge_results.add_to_reference(work, workspace(source or profile))
    typer.echo(f"reports/reference/{profile}.csv: {added} results added, {total} in all")
