"""Two commands at once, two profiles, another user, a checkout that moved or cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.workspace import Workspace
from pipeline.lineage.records import observe
from stages.driver.run_chain import Task, run_chain
from tests.checkout import Checkout, copy_to
from tests.faults.chain import STAGES, in_child, prepare, results

pytestmark = pytest.mark.slow
DATA = STAGES[:2]
"""Check and decode: what a test of several processes can afford."""
NAMELESS = ["unshare", "-U", "--map-user=12345"]
"""Runs a program as a user whom the system knows nothing of, without root's rights."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("together") / "before"
    prepare(root, videos=4)
    shutil.copytree(root / "data/mini", root / "data/long")
    return root


@pytest.fixture(scope="module")
def whole(before: Path) -> dict[str, bytes]:
    """What one command alone makes."""
    root = before.with_name("whole")
    shutil.copytree(before, root)
    assert in_child(lambda: go(root)) == (0, ["", 2])
    return results(root)


def go(root: Path, profile: str = "mini") -> list[Any]:
    done = run_chain(Task(root, profile, DATA, root / ".tdn" / f"note-{profile}", 0))
    return [done.failure, len(done.ran)]


def at_once(root: Path, *profiles: str) -> list[list[Any]]:
    """The chain once per profile, in processes that begin together."""
    ready, begin = os.pipe(), os.pipe()
    children = []
    for number, profile in enumerate(profiles):
        child = os.fork()
        if not child:
            os.write(ready[1], b".")
            os.read(begin[0], 1)
            (root / f"answer-{number}").write_text(repr(go(root, profile)))
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    os.write(begin[1], b"." * len(children))
    for child in children:
        os.waitpid(child, 0)
    answers = [root / f"answer-{number}" for number in range(len(children))]
    found: list[list[Any]] = [eval(path.read_text()) for path in answers]  # of this test alone
    for path in answers:
        path.unlink()
    return found


def test_two_commands_at_once_make_what_one_makes(
    before: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(before, root)
    for failure, _ in at_once(root, "mini", "mini"):
        assert failure == "" or "is busy: " in failure, failure
    again = go(root)
    assert again[0] == ""
    assert results(root) == whole


def test_two_profiles_at_once_do_not_meet(
    before: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(before, root)
    assert at_once(root, "mini", "long") == [["", 2], ["", 2]]
    found = results(root)
    for place, data in whole.items():
        assert found[place] == data
        if place.startswith("data/mini/"):
            assert found[place.replace("/mini/", "/long/")] == data, place


def test_a_checkout_that_moved_has_nothing_to_do(
    before: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "elsewhere" / "with a blank"
    shutil.copytree(before.with_name("whole"), root)
    assert go(root) == ["", 0]
    assert results(root) == whole
    assert not [place for place, data in whole.items() if str(before.parent).encode() in data]


def test_in_another_users_repository_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git refuses such a repository (safe.directory); a run goes on without its commit."""
    checkout = Checkout(tmp_path)
    checkout.git("init", "-q")
    checkout.git("commit", "-q", "--allow-empty", "-m", "start")
    work = Workspace(tmp_path)
    assert observe(work, datetime.now(UTC), [])["commit"] is not None
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    about = observe(work, datetime.now(UTC), [])
    assert (about["commit"], about["dirty"]) == (None, None)


def test_a_checkout_that_cannot_be_written_is_read_and_refused_in_words(tmp_path: Path) -> None:
    """As another user's, or on a mounted disc."""
    prefix = NAMELESS if os.geteuid() == 0 else []
    if prefix and subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("this system lets no user make a namespace")
    checkout = copy_to(tmp_path / "checkout")
    subprocess.run(["chmod", "-R", "a-w", str(checkout.root)], check=True)

    def tdn(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, "-m", "stages", *words]
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=checkout.root, env=env, capture_output=True, text=True, check=False
        )

    try:
        shown = tdn("rows", "tsn_r50_8f_ssv1")
        assert shown.returncode == 0, shown.stderr
        for words in (("plan",), ("repro",)):
            refused = tdn(*words)
            assert refused.returncode == 1, refused.stderr
            assert "Permission denied" in refused.stderr
            assert "  do: " in refused.stderr and "Traceback" not in refused.stderr
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(checkout.root)], check=True)
