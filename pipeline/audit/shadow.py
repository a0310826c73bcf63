"""A shadow of the project, in which an audit runs stages again: what they read is linked in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.workspace import Workspace
from pipeline.store.lmdb_store import close_shards


@contextmanager
def shadow_of(work: Workspace) -> Iterator[Workspace]:
    """An empty workspace of the same profile, gone afterwards.

    LMDB opens a shard once per process, whatever the path: none stays open from before or after.
    """
    close_shards()
    with tempfile.TemporaryDirectory(prefix="tdn-audit-") as folder:
        try:
            yield Workspace(Path(folder), work.profile)
        finally:
            close_shards()


def link_in(target: Path, place: Path) -> None:
    """Put `target` at `place` of a shadow, where it exists."""
    if target.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target.absolute(), target_is_directory=target.is_dir())
