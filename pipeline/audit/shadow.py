"""A shadow of the project, in which an audit runs stages again: what they read is linked in."""

from __future__ import annotations

from pathlib import Path


def link_in(target: Path, place: Path) -> None:
    """Put `target` at `place` of a shadow, where it exists."""
    if target.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target, target_is_directory=target.is_dir())
