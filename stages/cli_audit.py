"""`tdn audit`, `tdn trace` and `tdn why`: what is checked, where a number comes from, what runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import UsageError
from pipeline.workspace import Workspace, find_root

if TYPE_CHECKING:
    from rich.tree import Tree

    from pipeline.audit.audit import Result
    from pipeline.audit.context import Context
    from pipeline.audit.links import Link
    from pipeline.audit.trace import Step

_MOST_SHOWN = 40
_SYMBOLS = {"ok": "✓", "unavailable": "○"}

Profile = Annotated[
    str,
    typer.Option("--profile", "-p", help="mini, paper, local or your own", envvar="TDN_PROFILE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]
CellArg = Annotated[str, typer.Argument(metavar="CELL", help="document/table/row/column")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(audit)
    app.command()(trace)
    app.command()(why)


def audit(
    cell: Annotated[str | None, typer.Option(help="document/table/row/column")] = None,
    table: Annotated[str | None, typer.Option(help="document/table")] = None,
    level: Annotated[
        int,
        typer.Option(
            min=0, max=4, help="0 lock, 1 hash, 2 recompute, 3 replay sampled videos, 4 rerun a row"
        ),
    ] = 2,
    sample: Annotated[int, typer.Option(min=1, help="videos per row that level 3 replays")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="which videos those are")] = 0,
    against: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="a published root digest")
    ] = None,
    export: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="ro-crate or prov: print it and stop")
    ] = None,
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Check every printed number back to its raw files. Exit 0: clean, 1: broken, 2: could not run.

    Changes nothing. With --cell or --table only what that comes from is checked.
    """
    from stages import audit as stage

    work = _work(profile)
    if export is not None:
        typer.echo(json.dumps(stage.export(work, export, cell, table), indent=2))
        return
    if level >= 4 and cell is None and table is None:
        raise UsageError(
            "level 4 makes rows again: name what for", do="give --cell CELL (or --table TABLE)"
        )
    published = None if against is None else _digest(against)
    found = stage.run(
        work,
        level=level,
        cell=cell,
        table=table,
        sample=sample,
        seed=seed,
        published=published,
    )
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
    else:
        _print(found, cell)
    if found.broken:
        raise typer.Exit(1)


def trace(cell: CellArg, as_json: AsJson = False, profile: Profile = "mini") -> None:
    """Print where a cell's number comes from, as the records say; verifies nothing."""
    from dataclasses import asdict

    from stages import audit as stage

    context, steps = stage.trace(_work(profile), cell)
    if as_json:
        about = {"cell": dict(context.cells[cell]), "steps": [asdict(step) for step in steps]}
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    _show(_tree(context, cell, steps, None))


def why(
    row: Annotated[str, typer.Argument(metavar="ROW", help="a row, a data set, or all")],
    as_json: AsJson = False,
    profile: Profile = "mini",
) -> None:
    """Say what would run again for a row, and because of which changed input. Runs nothing."""
    from stages import audit as stage

    reasons = stage.why(_work(profile), row)
    if as_json:
        found = [{"run": reason.run, "causes": list(reason.causes)} for reason in reasons]
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    moving = [reason for reason in reasons if reason.causes]
    for reason in moving:
        typer.echo(f"{reason.run} would run:")
        for cause in reason.causes:
            typer.echo(f"  {cause}")
    still = len(reasons) - len(moving)
    typer.echo(f"{still} of {len(reasons)} runs behind and after {row} would not run")


def _work(profile: str) -> Workspace:
    return Workspace(find_root(Path.cwd()), profile)


def _digest(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise UsageError(f"'{text}' is not a sha256", do="give all 64 digits of a root digest")
    return text


def _print(found: Result, cell: str | None) -> None:
    """The walk of one cell, or the totals of everything; then what is broken, then the limits."""
    from pipeline.audit.links import counts, limits
    from pipeline.audit.root import read_root
    from stages import audit as stage

    context = found.context
    if cell is not None:
        _, steps = stage.trace(context.work, cell)
        _show(_tree(context, cell, steps, found.links))
    broken = found.broken
    for link in broken[:_MOST_SHOWN]:
        typer.echo(f"{link.status}: {link.path} ({link.source} {link.relation})")
        if link.detail:
            typer.echo(f"  {link.detail}")
        if link.do:
            typer.echo(f"  do: {link.do}")
    if len(broken) > _MOST_SHOWN:
        typer.echo(f"… and {len(broken) - _MOST_SHOWN} more (--json has all)")
    stated = read_root(context.work)
    typer.echo(f"root   {stated['root'] if stated is not None else 'none'}")
    tally = ", ".join(f"{n} {status}" for status, n in counts(found.links).items())
    typer.echo(f"links  {tally}")
    numbers = list(found.cells.values())
    traced = sum(status == "ok" for status in numbers)
    absent = sum(status == "unavailable" for status in numbers)
    typer.echo(
        f"cells  {len(numbers)} with a number of ours: {traced} intact back to their raw files"
        + (f", {absent} intact as far as the files are here" if absent else "")
        + (f", {len(numbers) - traced - absent} broken" if traced + absent < len(numbers) else "")
    )
    for line in limits(found.level):
        typer.echo(f"not seen: {line}")
    typer.echo(f"audit of {context.work.profile} at level {int(found.level)}: ", nl=False)
    typer.echo("broken" if broken else "clean")


def _tree(context: Context, cell: str, steps: Iterable[Step], links: Iterable[Link] | None) -> Tree:
    """The walk as a tree: one line per file, with its status where it was checked."""
    from rich.tree import Tree

    from pipeline.audit.trace import claim_of
    from stages import audit as stage

    about = context.cells[cell]
    measured = about["measured"]
    number = "no number of ours" if measured is None else f"measured {measured:g} {about['unit']}"
    tree = Tree(f"{cell}: {about['status']}, {number}")
    tree.add(f"claim: {claim_of(about, stage.documents(context.work))}")
    printed = context.work.relative(context.work.reports / "tables" / "cells.json")
    known = None if links is None else _by_path(links)
    node = tree.add(_line(known, "printed in", printed, _sha(context, printed), "", "tables"))
    _own(node, known, f"cell:{cell}")
    for step in steps:
        _add(tree, context, step, known)
    return tree


def _add(tree: Tree, context: Context, step: Step, known: dict[str, list[Link]] | None) -> None:
    run = f"{step.run}{', see above' if step.again else ''}"
    node = tree.add(_line(known, step.role, step.path, step.sha256, run, step.run))
    if step.again or not step.run:
        return
    record = context.evidence.runs[step.run]
    node.add(_line(known, "record", record.path, record.sha256, "", step.run))
    for other in step.beside:
        node.add(_line(known, other.role, other.path, other.sha256, "", step.run))
    if any(other.role == "ledger" for other in step.beside):
        raw = context.work.relative(context.work.raw(record.key))
        node.add(_line(known, "raw files", raw, "", "", step.run))
    for before in step.before:
        _add(node, context, before, known)


def _line(
    known: dict[str, list[Link]] | None, role: str, path: str, sha256: str, run: str, maker: str
) -> str:
    by = f"  by {run}" if run else ""
    digest = sha256[:12] or "·" * 12
    if known is None:
        return f"{digest}  {path}  ({role}){by}"
    links = known.get(path, [])
    if role == "record":
        links = [link for links in known.values() for link in links if _speaks_of(link, maker)]
    status = next((str(link.status) for link in links if link.broken), "")
    status = status or next((str(link.status) for link in links if str(link.status) != "ok"), "ok")
    status = status if links else "unchecked"
    return f"{_SYMBOLS.get(status, '✗' if links else '·')} {status}  {digest}  {path}  ({role}){by}"


def _speaks_of(link: Link, run: str) -> bool:
    """Whether a link is about a record itself: its plan, its lock, its own digest."""
    about = ("is", "planned by", "asked for by", "locked by")
    return link.source == f"record:{run}" and link.relation in about


def _own(tree: Tree, known: dict[str, list[Link]] | None, source: str) -> None:
    for link in [link for links in (known or {}).values() for link in links]:
        if link.source == source and link.broken:
            tree.add(f"✗ {link.status}  {link.detail}")


def _by_path(links: Iterable[Link]) -> dict[str, list[Link]]:
    """Links by every path that they concern: their own and the folders above it."""
    found: dict[str, list[Link]] = {}
    for link in links:
        parts = link.path.split("/")
        for length in range(2, len(parts) + 1):
            if length == len(parts) or link.broken:
                found.setdefault("/".join(parts[:length]), []).append(link)
    return found


def _sha(context: Context, path: str) -> str:
    made = context.evidence.made(path)
    if made is None:
        return ""
    return made.files.get(path[len(made.path) + 1 :], made.sha256)


def _show(tree: Any) -> None:
    from rich.console import Console

    # A path is read to its end: lines are as long as they are.
    console = Console(highlight=False, markup=False, emoji=False, width=240)
    console.print(tree, no_wrap=True)
