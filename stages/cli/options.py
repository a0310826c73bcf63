"""What the commands share: their options, the workspace they name, and how they print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.core.errors import UsageError
from pipeline.core.workspace import OWN, Workspace, find_root
from stages.cli import user_links


def _profiles() -> str:
    """The profiles of the checkout that the command line is called in."""
    with suppress(UsageError):
        root = find_root(Path.cwd())
        paths = [p for top in ("manifests", OWN) for p in (root / top / "profiles").glob("*.yaml")]
        return ", ".join(sorted(path.stem for path in paths))
    return "a name in manifests/profiles/"


def row_keys(beginning: str) -> list[str]:
    """Rows of the checkout whose key begins so, in the manifest's order: for shell completion."""
    found: list[str] = []
    with suppress(UsageError, OSError):
        root = find_root(Path.cwd())
        for path in sorted(
            p for top in ("manifests", OWN) for p in (root / top).glob("exper*.yaml")
        ):
            found += re.findall(r"^  ([a-z]\w*):", path.read_text("utf-8"), re.M)
    return [key for key in dict.fromkeys(found) if key.startswith(beginning)]


Profile = Annotated[
    str, typer.Option("--profile", "-p", help=f"one of: {_profiles()}", envvar="TDN_PROFILE")
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
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="try failed videos of finished shards again")
]
AsJson = Annotated[bool, typer.Option("--json", help="machine-readable")]
DatasetArg = Annotated[str, typer.Argument(metavar="DATASET", help="a data set of the profile")]
RowArg = Annotated[
    str,
    typer.Argument(
        metavar="ROW", help="a key of manifests/experiments*.yaml", autocompletion=row_keys
    ),
]

_WITHOUT_PROFILE = "models|views|import-checkpoint|profile|bench|check-submission|--"
"""Commands that take no `--profile`."""
_used: list[str] = []
"""The profile that the command line names, once it is known."""


def workspace(profile: str) -> Workspace:
    """The workspace of a profile, in the checkout that the command line is called in."""
    _used[:] = [profile]
    root = find_root(Path.cwd())
    user_links.arrange(root)
    return Workspace(root, profile)


def with_profile(text: str) -> str:
    """Advice whose commands name the profile in use, so that they work as they are pasted, and
    whose manifests are the user's own where these are meant.

    Changes commands in backticks that take a profile and name none.
    """
    text = re.sub(r"manifests/(\w+/\w+\.yaml)", _own_place, text)
    if not _used or _used[0] == "mini" or "PROFILE" in text:
        return text
    name = _used[0]
    text = re.sub(r"`make repro`", f"`make repro PROFILE={name}`", text)
    text = text.replace(f"` with --profile {name}", "`")  # said below within the command
    return re.sub(
        rf"`(tdn (?!{_WITHOUT_PROFILE})(?:(?!--profile)[^`])+)`", rf"`\1 --profile {name}`", text
    )


def _own_place(place: re.Match[str]) -> str:
    """A manifest in a message: `my/…` where it is there, since messages do not know."""
    with suppress(UsageError):
        if (find_root(Path.cwd()) / OWN / place[1]).is_file():
            return f"{OWN}/{place[1]}"
    return place[0]


def print_json(value: Any) -> None:
    """Print a value as JSON; dataclasses are objects."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_object))


def _object(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under column names; a name that begins with '>' is right-aligned."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*row)
    print_rich(table)


def print_rich(value: Any) -> None:
    """Print something of rich's as plain lines that are as long as they are."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, width=1000)
    with console.capture() as captured:
        console.print(value, no_wrap=True)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())
