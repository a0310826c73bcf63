"""`tdn audit`, `sign`, `trace` and `why`: what is checked, where a number comes from, what runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.core.errors import UsageError
from stages.cli.options import AsJson, Profile, print_json, print_rich, with_profile, workspace
from stages.cli.trees import section_tree

if TYPE_CHECKING:
    from pipeline.audit.links import Status
    from pipeline.audit.run_levels import Result

_MOST_SHOWN = 40
_UNREAD = "intact (no raw file was read)"

NumberArg = Annotated[
    str,
    typer.Argument(
        metavar="NUMBER", help="document/table/row/column, prose/document/name or figure/key"
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (doctor, audit, check_submission, sign, trace, why, selftest):
        app.command(rich_help_panel="Checks")(command)


def doctor(profile: Profile = "mini", as_json: AsJson = False) -> None:
    """Look whether this machine has what the pipeline needs, and say what to do where not.

    Exit 1 where something is a problem. Example: `tdn doctor --profile paper`.
    """
    from stages.commands import doctor as check

    findings = check.run(workspace(profile))
    if as_json:
        print_json(findings)
    else:
        for one in findings:
            typer.echo(f"{one.outcome:8} {one.about:22} {one.what}")
            if one.do:
                typer.echo(f"{'':8} {'':22} do: {one.do}")
    if any(one.outcome == check.PROBLEM for one in findings):
        raise typer.Exit(1)


def audit(
    cell: Annotated[str | None, typer.Option(help="document/table/row/column")] = None,
    table: Annotated[str | None, typer.Option(help="document/table")] = None,
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=4,
            help="0 lock, 1 hash, 2 recompute, 3 replay sampled videos, 4 rerun a row; without it "
            "2, where files untouched since the last audit are not read again",
        ),
    ] = None,
    sample: Annotated[
        str, typer.Option(metavar="N|N%", help="test videos per row that level 3 replays")
    ] = "4",
    seed: Annotated[
        int | None, typer.Option(min=0, help="which videos those are (without it a fresh number)")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="ROOT", help="a published root: its digest or its file")
    ] = None,
    signers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="whose signature counts (ssh-keygen)")
    ] = None,
    require_complete: Annotated[
        bool, typer.Option("--require-complete", help="exit 1 when something could not be seen")
    ] = False,
    statement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the result as in-toto statements")
    ] = None,
    export: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="ro-crate or prov: print it and stop")
    ] = None,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Check every printed number back to its raw files.

    Exit 0: clean, 1: broken, 2: could not run, 3: incomplete (nothing is broken, but something that
    the level looks at is not on this machine), 70: a mistake of this program. Changes nothing. With
    --cell or --table only what that comes from is checked.
    """
    from pipeline.audit.replay_sample import Sample
    from stages.commands import audit_results

    cached = level is None
    level = 2 if level is None else level
    work = workspace(profile)
    if export is not None:
        print_json(audit_results.export(work, export, cell, table))
        return
    if level >= 4 and cell is None and table is None:
        raise UsageError(
            "level 4 makes rows again: name what for", do="give --cell CELL (or --table TABLE)"
        )
    result = audit_results.run(
        work,
        level=level,
        cell=cell,
        table=table,
        sample=Sample.parse(sample),
        seed=seed,
        against=against,
        signers=signers,
        cached=cached,
    )
    if statement is not None:
        audit_results.state(result, statement)
    if as_json:
        print_json(result.as_json())
    else:
        _print(result, cell)
    if result.broken or (require_complete and result.verdict != "clean"):
        raise typer.Exit(1)
    if result.verdict != "clean":
        raise typer.Exit(3)


def sign(
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="an SSH key, private or in the agent")
    ] = Path("~/.ssh/id_ed25519"),
    profile: Profile = "mini",
) -> None:
    """Sign the root of all results: a change of any of them shows in `tdn audit --signers`."""
    from stages.commands import audit_results

    work = workspace(profile)
    signature = audit_results.sign(work, key.expanduser())
    typer.echo(f"signed: {work.relative(signature)}; publish it and the file beside it")


def trace(number: NumberArg, as_json: AsJson = False, profile: Profile = "mini") -> None:
    """Print where a number comes from, as the run records state it.

    A number is a cell of a table, a verdict on a sentence (prose/…) or a figure (figure/…).
    """
    from stages.commands import audit_results

    result = audit_results.trace(workspace(profile), number)
    if as_json:
        steps = {name: list(walk) for name, walk in result.walks.items()}
        about: dict[str, Any] = {result.kind: dict(result.about)}
        about |= {"steps": steps[number]} if result.kind == "cell" else {"rests_on": steps}
        print_json(about)
    else:
        print_rich(section_tree(result))


def why(
    row: Annotated[str, typer.Argument(metavar="ROW", help="a row, a data set, or all")],
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Print what would run again for a row, and because of which changed input."""
    from stages.commands import audit_results

    reasons = audit_results.why(workspace(profile), row)
    if as_json:
        print_json([{"run": reason.run, "causes": list(reason.causes)} for reason in reasons])
        return
    moving = [reason for reason in reasons if reason.causes]
    for reason in moving:
        typer.echo(f"{reason.run} would run:")
        for cause in reason.causes:
            typer.echo(f"  {cause}")
    still = len(reasons) - len(moving)
    typer.echo(f"{still} of {len(reasons)} runs behind and after {row} would not run")
    typer.echo("raw files are not read here: `tdn check DATASET` sees a change of them")


def check_submission(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="somebody's reports/PROFILE")],
    as_json: AsJson = False,
) -> None:
    """Judge somebody's reports without data or weights: VALID, or INVALID with every reason.

    Exit 0: valid, 1: invalid, 2: it could not be judged. This checkout's manifests and code say
    what is asked for, of the profile that the reports are of.
    Example: `tdn check-submission theirs/reports/mini`.
    """
    from stages.commands import check_submission as check

    found = check.run(workspace("mini").root, folder)
    if as_json:
        print_json({"valid": found.valid, "submission": found})
    else:
        for kind, lines in (("remark", found.remarks), ("reason", found.reasons)):
            for line in lines:
                typer.echo(f"{kind}: {line}")
        verdict = "VALID" if found.valid else f"INVALID, {len(found.reasons)} reasons"
        typer.echo(f"profile {found.profile}, {found.rows} rows with results: {verdict}")
    if not found.valid:
        raise typer.Exit(1)


def selftest(
    faults: Annotated[
        bool, typer.Option("--faults", help="let every call of a chain fail in every way")
    ] = False,
    states: Annotated[
        int, typer.Option(min=0, help="so many random edits, runs, kills and forgeries")
    ] = 0,
    flips: Annotated[
        int, typer.Option(min=0, help="so many random bytes: audit and reports/verify.py agree")
    ] = 0,
) -> None:
    """Try on tiny data what faults leave behind on this machine; without options, a sample."""
    from stages.commands import selftest as tests

    tests.run(workspace("mini").root, faults=faults, states=states, flips=flips)


def _print(result: Result, cell: str | None) -> None:
    """The walk of one cell, or the totals of everything; then what is broken, then the limits."""
    from pipeline.audit.committed import auditor
    from pipeline.audit.level0_records import OWN_MANIFESTS
    from pipeline.audit.links import counts, limits
    from pipeline.lineage.root import read_root
    from stages.commands import audit_results

    context = result.context
    if cell is not None:
        print_rich(section_tree(audit_results.trace(context.work, cell), result.links))
    broken = result.broken
    for link in broken[:_MOST_SHOWN]:
        typer.echo(f"{link.status}: {link.path} ({link.source} {link.relation})")
        if link.detail:
            typer.echo(f"  {link.detail}")
        if link.do:
            typer.echo(f"  do: {with_profile(link.do)}")
    if len(broken) > _MOST_SHOWN:
        typer.echo(f"… and {len(broken) - _MOST_SHOWN} more (--json has all)")
    for link in result.links:
        if link.status == "leftover":
            typer.echo(f"left over: {link.detail}\n  {with_profile(link.do)}")
        if link.source == OWN_MANIFESTS:
            typer.echo(link.detail)
    stated = read_root(context.work)
    digest, _ = auditor(context.work.root)
    typer.echo(f"auditor {digest} (the code of this audit)")
    shown = stated["root"] if stated is not None else "none"
    typer.echo(f"root   {shown} (what the tables rest on)")
    typer.echo(f"all    {context.everything['root']} (all results)")
    tally = ", ".join(f"{n} {status}" for status, n in counts(result.links).items())
    typer.echo(f"links  {tally}")
    raw = sum(result.cells[name] == "ok" for name in result.to_raw)
    good = f"intact ({raw} of these back to their raw files, which were read)"
    cells = _counted(result.cells.values(), good if result.to_raw else _UNREAD)
    typer.echo(f"cells  {len(result.cells)} with a number of ours: {cells}")
    about = dict(result.rows)
    words = ", ".join(f"{n} {word}" for word, n in list(about.items())[1:])
    typer.echo(f"rows   {about['rows']}: {words}")
    if result.prose:
        # Not 'back to their raw files': printed numbers alone decide some, nothing some others.
        prose = _counted(result.prose.values(), "follow, their measured cells intact")
        typer.echo(f"prose  {len(result.prose)} verdicts by rule: {prose}")
    for link in result.links:
        if link.source == "sample":
            typer.echo(f"sample {link.detail}")
    for line in limits(result.level):
        typer.echo(f"not seen: {line}")
    typer.echo(f"audit of {context.work.profile} at level {int(result.level)}: ", nl=False)
    typer.echo(result.verdict)


def _counted(statuses: Collection[Status], good: str) -> str:
    """'230 intact back to their raw files, 2 broken', where `good` are the words between."""
    whole = sum(status == "ok" for status in statuses)
    absent = sum(status == "unavailable" for status in statuses)
    broken = len(statuses) - whole - absent
    return (
        f"{whole} {good}"
        + (f", {absent} intact as far as the files are here" if absent else "")
        + (f", {broken} broken" if broken else "")
    )
