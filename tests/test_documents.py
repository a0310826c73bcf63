"""Commands that README and docs/ show and that only read are run as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from stages.cli.main import app
from tests.checkout import ROOT

READING = re.compile(
    r"^ {4}(?:\.venv/bin/)?tdn ((?:rows|models|results|trace|compare|verdict|variance|views|why|"
    r"tables --check|store stat|repro (?=.*--dry-run))[^#>|\n]*)",
    re.MULTILINE,
)
PLACEHOLDER = re.compile(r"\b(?!HEAD\b)[A-Z]{3,}\b|…|~|\.\./")
NEEDS_DATA = ("store", "why", "compare")


def shown() -> Iterator[str]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for command in READING.findall(path.read_text("utf-8")):
            if not PLACEHOLDER.search(command):
                yield command.strip()


@pytest.mark.parametrize("command", dict.fromkeys(shown()))
def test_a_command_that_only_reads_runs_as_shown(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command.startswith(NEEDS_DATA) and not (ROOT / "data/mini/frames").is_dir():
        pytest.skip("no data here: run make repro first")
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, shlex.split(command), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.strip()


def test_most_commands_are_seen() -> None:
    assert len(set(shown())) > 20
