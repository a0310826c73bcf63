"""Walks as trees on a terminal: one line per file, with its status where it was checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.tree import Tree

    from pipeline.audit.context import Context
    from pipeline.audit.links import Link
    from pipeline.lineage.trace import Step
    from stages.commands.audit_results import Traced

_SYMBOLS = {"ok": "✓", "unavailable": "○"}


def section_tree(traced: Traced, links: Iterable[Link] | None = None) -> Tree:
    """What a number rests on as a tree, with a line per file of its walks.

    Each line has its file's status where `links` of an audit are given.
    """
    from rich.tree import Tree

    context, section = traced.context, traced.section
    known = None if links is None else _by_path(links)
    tree = Tree(section.name)
    for text in section.lines:
        tree.add(str(text))
    if section.claim:
        tree.add(f"claim: {section.claim}")
    path = context.work.relative(context.work.reports / traced.file)
    node = tree.add(_line(known, "printed in", path, _sha(context, path), "", ""))
    _own(node, known, f"{traced.kind}:{traced.number}")
    for step in section.steps:
        _add(tree, context, step, known)
    for part in section.parts:
        node = tree.add(f"{part.name}: {part.text}" if part.text else part.name)
        for step in traced.walks.get(part.name, ()):
            _add(node, context, step, known)
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
    by_path: dict[str, list[Link]] = {}
    for link in links:
        parts = link.path.split("/")
        for length in range(2, len(parts) + 1):
            if length == len(parts) or link.broken:
                by_path.setdefault("/".join(parts[:length]), []).append(link)
    return by_path


def _sha(context: Context, path: str) -> str:
    output = context.evidence.made(path)
    if output is None:
        return ""
    return output.files.get(path[len(output.path) + 1 :], output.sha256)
