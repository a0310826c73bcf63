"""Every test that docs/promises.md names exists."""

from __future__ import annotations

import re

import pytest

from tests.checkout import ROOT

NAMED = re.findall(
    r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs" / "promises.md").read_text("utf-8")
)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_behind_a_promise_exists(path: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.M)


def test_every_promise_has_a_test() -> None:
    lines = (ROOT / "docs" / "promises.md").read_text("utf-8").splitlines()
    promises = [line for line in lines if line.startswith("| ")][2:]
    assert len(promises) > 10 and all("::test_" in line for line in promises)
