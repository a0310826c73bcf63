"""DVC as the driver uses it: what has changed, and recording what was done.

`record` does what `dvc commit --force` does, for many stages with one writing of dvc.lock: DVC
reads and writes the whole file each time, seconds of work for a graph of 375 stages. DVC is
imported when it is first needed.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import TdnError


def changed(root: Path, graph: str) -> set[str]:
    """The graph's stages that DVC would run, by their names within it.

    `graph` is the path of its dvc.yaml relative to the root. TdnError when DVC cannot tell.
    """
    with _opened(root) as repo:
        return {address.rpartition(":")[2] for address in repo.status(targets=[graph])}


def record(root: Path, graph: str, names: Collection[str]) -> None:
    """Write into the graph's dvc.lock that its stages `names` are as the files on disk show.

    TdnError when DVC refuses.
    """
    if not names:
        return
    with _opened(root) as repo, _uninterrupted():
        from dvc.repo import lock_repo

        with lock_repo(repo):
            stages = [s for s in repo.stage.load_all(str(root / graph)) if s.name in names]
            for stage in stages:
                stage.save()
                stage.commit()
            if stages:
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)


@contextmanager
def _opened(root: Path) -> Iterator[Any]:
    """DVC's view of the project as it is now; what DVC raises becomes a TdnError."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    logging.getLogger("dvc").setLevel(logging.WARNING)  # not what it writes, but what is wrong
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            yield repo
    except DvcException as error:
        raise TdnError(
            f"DVC: {error}", do="mend the cause (`dvc status` shows it) and run this again"
        ) from None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block ends: DVC does not write its lock atomically.

    The signals are caught rather than blocked: one that is blocked in this thread goes to another
    of the process, and Python then runs its handler in this one.
    """
    came: list[int] = []
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {stop: signal.signal(stop, lambda number, _: came.append(number)) for stop in stops}
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
        if came:
            signal.raise_signal(came[0])
