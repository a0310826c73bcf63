"""Every node looks at the same files before any of them works."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.ray_pool import Crash
from pipeline.store.shared_storage import View, check_nodes, look
from pipeline.video.ffmpeg import binary, build


class Cluster:
    """A pool of pretended nodes: each looks at the view through its own eyes."""

    cluster = True

    def __init__(self, *eyes: Callable[[View], Any]) -> None:
        self.eyes = eyes

    def everywhere(self, function: Any, view: View) -> list[tuple[str, Any]]:
        assert function is look
        return [(f"node{n}", eye(view)) for n, eye in enumerate(self.eyes)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    (tmp_path / "clip.avi").write_bytes(b"x")
    return tmp_path / "frames"


def test_nodes_that_see_everything_may_work_and_nothing_is_left(folder: Path) -> None:
    check_nodes(Cluster(look, look), folder, folder.parent / "clip.avi")  # type: ignore[arg-type]  # a pretended pool
    assert list(folder.iterdir()) == []


def test_the_node_that_cannot_is_named(folder: Path) -> None:
    def elsewhere(view: View) -> str:
        return look(View(Path("/nowhere/mark"), view.token, view.source, view.ffmpeg_build))

    dead = Crash("it did not answer within 60 s")
    pool: Any = Cluster(look, elsewhere, lambda _: dead)
    with pytest.raises(UsageError) as caught:
        check_nodes(pool, folder, folder.parent / "clip.avi")
    text = str(caught.value)
    assert "2 of 3 nodes cannot take part" in text
    assert "node1: it does not see the frame store (No such file or directory)" in text
    assert "node2: it did not answer" in text
    assert "node0" not in text
    assert str(folder.parent) not in text
    assert list(folder.iterdir()) == []


def view(folder: Path, **changes: Any) -> View:
    mark = folder / "mark"
    mark.write_text("token")
    facts = {"mark": mark, "token": "token", "source": None, "ffmpeg_build": build(binary())}
    return View(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"token": "other"}, "another folder of the same name"),
        ({"source": Path("/nowhere/clip.avi")}, "does not see the videos (clip.avi"),
        ({"ffmpeg_build": "1.0"}, "the driver's is 1.0"),
    ],
)
def test_what_a_node_says(folder: Path, changes: dict[str, Any], reason: str) -> None:
    said = look(view(folder, **changes))
    assert reason in said
    assert bool(said) == bool(changes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_node_that_cannot_write_says_so(folder: Path) -> None:
    asked = view(folder)
    folder.chmod(0o500)
    try:
        assert "cannot write" in look(asked)
    finally:
        folder.chmod(0o700)
