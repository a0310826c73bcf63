"""`tdn verdict`, `tdn reference` and `tdn variance`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.core.errors import UsageError
from stages.cli.options import AsJson, Profile, print_json, print_table, workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.core.workspace import Workspace
    from stages.commands.judge_results import Judged, Verdict
    from stages.driver.seed_grid import Line

OUTSIDE_EXIT = 2
"""More results outside than chance explains; that of a broken audit."""
UNKNOWN_EXIT = 3
"""Nothing could be judged; that of an incomplete audit."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (verdict, reference, variance):
        app.command(rich_help_panel="Checks")(command)


def verdict(
    rows: Annotated[
        list[str] | None, typer.Argument(metavar="[ROW]...", help="these rows alone")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--reference", help="another file than the profile's own")
    ] = None,
    error_rates: Annotated[
        bool,
        typer.Option(
            "--error-rates", help="how often it errs: the reference's own runs, and spoiled rows"
        ),
    ] = False,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Say whether results are such as other seeds and machines gave.

    Each row's result is held against trainings that differ from it in nothing but the seed.
    """
    from stages.commands import judge_results

    if error_rates:
        if rows:
            raise UsageError("--error-rates is of all rows", do="leave the rows out")
        _print_error_rates(workspace(profile), file, as_json)
        return
    found = judge_results.judge(workspace(profile), rows or (), file)
    if as_json:
        print_json({"judged": found.judged, "allowed": found.allowed, "holds": found.holds})
    else:
        _print(found)
    if found.holds is None:
        raise typer.Exit(UNKNOWN_EXIT)
    if not found.holds:
        raise typer.Exit(OUTSIDE_EXIT)


def _print(found: Verdict) -> None:
    print_table(
        ("row", "protocol", ">seed", ">here", ">expected", ">mean", ">sd", ">trainings", ""),
        [_line(one) for one in found.judged if one.bounds is not None],
    )
    if found.unknown:
        example = found.unknown[0]
        typer.echo(
            f"not judged: {len(found.unknown)} results; of {example.result.row}, for example: "
            f"{example.why_not}"
        )
    typer.echo(found.summary)


def _print_error_rates(work: Workspace, file: Path | None, as_json: bool) -> None:
    from stages.commands import judge_results

    honest = judge_results.honest_runs(work, file)
    trials = judge_results.trial_runs(work, file)
    if as_json:
        print_json({"honest": honest, "trials": trials})
        return
    inside = sum(len(one.within) for one in honest.values())
    judged = inside + sum(len(one.outside) for one in honest.values())
    hold = sum(one.holds is True for one in honest.values())
    typer.echo(
        f"honest trainings, each judged by the others of its row: {inside} of {judged} within; "
        f"{hold} of {len(honest)} runs (one seed of all rows) hold"
    )
    if not trials:
        return
    heads = (">trainings", ">mean effect", ">found", ">of 5 points or more", ">found")
    lines = [(setting or "seeds alone", *_effects(them)) for setting, them in trials.items()]
    print_table(("rows with", *heads), sorted(lines))


def _effects(trials: Sequence[Judged]) -> tuple[str, ...]:
    """How many trials, how far they are from their rows' means, and how many are outside."""
    effects = [one.result.value_pct - one.bounds.mean_pct for one in trials if one.bounds]
    large = [one for one, effect in zip(trials, effects, strict=True) if abs(effect) >= 5]
    mean = sum(effects) / len(effects)
    counts = (sum(one.outside for one in group) for group in (trials, large))
    found, found_large = map(str, counts)
    return str(len(trials)), f"{mean:+.1f}", found, str(len(large)), found_large


def _line(one: Judged) -> tuple[str, ...]:
    assert one.bounds is not None
    return (
        one.result.row,
        one.result.protocol,
        str(one.result.seed),
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
    added, replaced, total = judge_results.add_to_reference(work, workspace(source or profile))
    typer.echo(
        f"reports/reference/{profile}.csv: {added} results added, {replaced} replaced, {total} in "
        f"all; `make repro PROFILE={profile}` brings the tables up to date"
    )


def variance(
    rows: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROW]...", help="train these from every pair of seeds first"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="of the start, and as many of the row")] = 5,
    jobs: Annotated[int, typer.Option(min=0, help="trainings side by side; 0: what fits")] = 0,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Say how much of a row's spread its start's seed explains, how much its own, in points.

    Example: `tdn variance tsn_r50_8f_ssv1` makes 25 trainings; `tdn variance` shows what is known.
    """
    from stages.driver import seed_grid

    found = seed_grid.run(workspace(profile), rows or (), seeds, jobs)
    if as_json:
        print_json(found)
        return
    heads = (">trainings", ">mean", ">start", ">row", ">both", ">one training", ">videos")
    print_table(
        ("row", "protocol", *heads),
        [(line.row, line.protocol, *_parts(line)) for line in found],
    )


def _parts(line: Line) -> tuple[str, ...]:
    """The columns after the protocol: standard deviations, dashes where the grid is not full."""
    parts = line.parts
    known = (
        ("–",) * 5
        if parts is None
        else tuple(
            f"{value:.1f}"
            for value in (parts.mean_pct, parts.start, parts.row, parts.both, parts.total)
        )
    )
    return (str(line.trainings), *known, f"{line.videos_sd_pct:.1f}")
