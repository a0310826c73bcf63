"""Walks as trees on a terminal: one line per file, with its status where it was checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.tree import Tree

    from pipeline.audit.context import Context
    from pipeline.audit.links import Link
    from pipeline.lineage.trace import Step, Walks

_SYMBOLS = {"ok": "✓", "unavailable": "○"}


def cell_tree(
    context: Context, cell: str, steps: Iterable[Step], links: Iterable[Link] | None
) -> Tree:
    """The walk as a tree: one line per file, with its status where it was checked."""
    from rich.tree import Tree

    from pipeline.lineage.trace import claim_of
    from stages.commands import audit_results as stage

    about = context.cells[cell]
    tree = Tree(f"{cell}: {about['status']}, {_measured(about)}")
    tree.add(f"claim: {claim_of(about, stage.documents(context.work))}")
    printed = context.work.relative(context.work.reports / "tables" / "cells.json")
    known = None if links is None else _by_path(links)
    node = tree.add(_line(known, "printed in", printed, _sha(context, printed), "", "tables"))
    _own(node, known, f"cell:{cell}")
    for step in steps:
        _add(tree, context, step, known)
    return tree


def prose_tree(context: Context, about: Mapping[str, Any], walks: Walks) -> Tree:
    """A verdict, its rules with their numbers, and the walk of every cell that they read."""
    from rich.tree import Tree

    smoke = " (smoke)" if about["smoke"] else ""
    tree = Tree(f"prose/{about['prose_id']}: printed {about['paper']}, ours {about['ours']}{smoke}")
    tree.add(f"“{about['sentence']}” ({about['place']})")
    path = context.work.relative(context.work.reports / "tables" / "prose.json")
    tree.add(_line(None, "printed in", path, _sha(context, path), "", "tables"))
    if about["rule"]:
        side = tree.add(f"printed {about['paper']}: {about['paper_numbers']}")
        for cell in about["cells"]:
            side.add(f"{cell}: printed {context.cells[cell]['claimed']}")
    if about["ours_rule"]:
        side = tree.add(f"ours {about['ours']}, {about['ours_reason']}: {about['ours_numbers']}")
        _walks(side, context, walks)
    return tree


def figure_tree(context: Context, figure: Mapping[str, Any], walks: Walks) -> Tree:
    """A figure, its files, and the walk of every row and cell that it was drawn from."""
    from rich.tree import Tree

    tree = Tree(f"figure/{figure['key']}: {figure['state']}, {figure['title']}")
    folder = context.work.relative(context.work.reports / "figures")
    maker = context.evidence.maker(folder) or ""
    for name in (*figure["files"].values(), "figures.json"):
        path = f"{folder}/{name}"
        tree.add(_line(None, "figures", path, _sha(context, path), maker, maker))
    if maker:
        record = context.evidence.runs[maker]
        tree.add(_line(None, "record", record.path, record.sha256, "", maker))
    _walks(tree, context, walks)
    return tree


def _walks(tree: Tree, context: Context, walks: Walks) -> None:
    for name, steps in walks.items():
        cell = context.cells.get(name)
        node = tree.add(name if cell is None else f"{name}: {cell['status']}, {_measured(cell)}")
        for step in steps:
            _add(node, context, step, None)


def _measured(cell: Mapping[str, Any]) -> str:
    if cell["measured"] is None:
        return "no number of ours"
    return f"measured {cell['measured']:g} {cell['unit']}"


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
        generated = bool(record.params.get("generated"))
        raw = context.work.relative(context.work.raw(record.key, generated=generated))
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
