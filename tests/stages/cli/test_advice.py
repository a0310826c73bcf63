"""Every `tdn …` and `make …` that a message or a page advises is a command that can be run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.core.errors import stage_command
from stages.cli.main import app
from stages.graph import STAGES
from tests.checkout import ROOT

COMMAND = re.compile(r"`(tdn [^`]+)`")
MADE = re.compile(r"(?:`|^ {4})make ([a-z]+)(?: ([A-Z]+)=)?", re.MULTILINE)
SAMPLES = {"stage": "train", "command": "train", "words": "train KEY", "maker": "tables"}
"""What stands for a value that a message fills in, by the variable's last name; else 'KEY'."""


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string of a module but its docstrings, values filled in."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(node.value)
        if isinstance(node, ast.JoinedStr):
            skipped.update(node.values)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(filled(value) for value in node.values)


def filled(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    if isinstance(part.value, ast.IfExp) and isinstance(part.value.body, ast.Constant):
        return str(part.value.body.value)
    last = re.split(r"\W", ast.unparse(part.value))[-1]
    return SAMPLES.get(last, "KEY")


def of_the_source() -> Iterator[tuple[str, str]]:
    """(file and line, text) of every message of ours."""
    for package in ("pipeline", "stages", "tdn_model"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for line, text in messages(path):
                yield f"{path.relative_to(ROOT)}:{line}", text


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def advised() -> Iterator[Any]:
    for place, text in of_the_source():
        for command in COMMAND.findall(text):
            yield pytest.param(command, id=f"{place} {command}")
    for path in documents():
        for line in path.read_text("utf-8").splitlines():
            if found := re.match(r" {4}(?:\.venv/bin/)?(tdn [a-z][^#>|]*)", line):
                command = found[1].strip()
                yield pytest.param(command, id=f"{path.name} {command}")


@cache
def commands() -> Any:
    return typer.main.get_command(app)


def parse(command: str) -> None:
    """Let the command line parse a command without running it; raises what a mistake raises."""
    group: Any = commands()
    context = group.make_context("tdn", command.split()[1:])
    while hasattr(group, "resolve_command"):
        words = [*context._protected_args, *context.args]
        name, group, rest = group.resolve_command(context, words)
        context = group.make_context(name, rest, parent=context)


@pytest.mark.parametrize("command", list(advised()))
def test_what_is_advised_can_be_run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TDN_PROFILE", raising=False)
    parse(command)


def test_every_target_of_make_that_is_advised_exists() -> None:
    pages = [(path.name, path.read_text("utf-8")) for path in documents()]
    rules = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", rules, flags=re.M))
    found = {
        (place, name, variable)
        for place, text in [*of_the_source(), *pages]
        for name, variable in MADE.findall(text)
    }
    assert len(found) > 10
    wrong = [f for f in found if f[1] not in targets or (f[2] and f"$({f[2]}" not in rules)]
    assert wrong == []


def test_commands_in_messages_stand_in_backticks() -> None:
    """So that the tests above see them, and the profile in use is added."""
    names = "|".join(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group has it
    bare = re.compile(rf"\btdn ({names})\b")
    found = [(p, text) for p, text in of_the_source() if bare.search(re.sub("`[^`]*`", "", text))]
    assert {text for _, text in found} <= {"tdn train"}  # the name of a type in an export


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_of_a_stage_can_be_run(stage: str) -> None:
    key = "all" if stage in ("cost", "tables", "figures", "report") else "KEY"
    parse(stage_command(stage, key).strip("`"))


@pytest.mark.parametrize(
    "command", ["tdn train", "tdn trian ROW", "tdn train ROW --profil local", "tdn bench growth"]
)
def test_a_command_that_cannot_be_run_is_noticed(command: str) -> None:
    with pytest.raises(Exception) as caught:
        parse(command)
    assert type(caught.value).__name__.endswith(("UsageError", "Parameter", "Option"))
