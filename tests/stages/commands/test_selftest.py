from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import TdnError, UsageError
from stages.commands import selftest
from tests.checkout import ROOT

GIVEN = ("TDN_FAULTS", "TDN_STATES", "TDN_FLIPS")


@pytest.mark.parametrize(
    ("options", "places", "given"),
    [
        ({"faults": False, "states": 0}, [selftest.FAULTS, selftest.STATES], {}),
        ({"faults": True, "states": 0}, [selftest.FAULTS], {"TDN_FAULTS": "all"}),
        ({"faults": False, "states": 9}, [selftest.STATES], {"TDN_STATES": "9"}),
        ({"faults": False, "states": 0, "flips": 9}, [selftest.FLIPS], {"TDN_FLIPS": "9"}),
    ],
)
def test_the_tests_that_are_asked_for_are_run_whole(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    places: list[str],
    given: dict[str, str],
) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []

    def fake(words: list[str], *, cwd: Path, env: dict[str, str]) -> object:
        ran.append((words, env))
        assert all((cwd / place).is_file() for place in places)
        return subprocess.CompletedProcess(words, 1 if len(ran) > 1 else 0)

    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(subprocess, "run", fake)
    selftest.run(ROOT, **options)
    words, env = ran[0]
    assert words[-len(places) :] == places
    assert {name: env[name] for name in GIVEN if name in env} == given
    with pytest.raises(TdnError, match="selftest failed"):
        selftest.run(ROOT, **options)


def test_an_installed_package_without_tests_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not here"):
        selftest.run(tmp_path, faults=True, states=0)
