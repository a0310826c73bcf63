"""DVC as the driver uses it: what has changed, and recording what was done.

`record` does what `dvc commit --force` does, for many stages with one writing of dvc.lock: DVC
reads and writes the whole file each time, seconds of work for a graph of 375 stages. DVC is
imported when it is first needed.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.core.errors import TdnError
from pipeline.core.files import write_atomic
from pipeline.core.signals import deferred


def changed(root: Path, graph: str) -> set[str]:
    """The graph's stages that DVC would run, by their names within it.

    `graph` is the path of its dvc.yaml relative to the root. TdnError when DVC cannot tell.
    """
    with _opened(root) as repo:
        return {address.rpartition(":")[2] for address in repo.status(targets=[str(root / graph)])}


def record(root: Path, graph: str, names: Collection[str]) -> None:
    """Write into the graph's dvc.lock that its stages `names` are as the files on disk show.

    TdnError when DVC refuses.
    """
    if not names:
        return
    with _opened(root) as repo, deferred():
        from dvc.repo import lock_repo

        with lock_repo(repo):
            stages = [s for s in repo.stage.load_all(str(root / graph)) if s.name in names]
            for stage in stages:
                stage.save()
                stage.commit()
            if stages:
                _write_lock(repo, root / graph, stages)


def _write_lock(repo: Any, graph: Path, stages: list[Any]) -> None:
    """DVC writes a copy, which then takes the lock's place: itself it overwrites the lock."""
    from dvc.dvcfile import Lockfile

    lock = graph.with_suffix(".lock")
    with TemporaryDirectory(prefix=".tmp-", dir=lock.parent) as folder:
        copy = Path(folder, lock.name)
        if lock.is_file():
            shutil.copyfile(lock, copy)
        Lockfile(repo, str(copy)).dump_stages(stages)
        write_atomic(lock, copy.read_bytes())


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
            f"DVC: {error}",
            do="mend the cause (`dvc status` shows it; a damaged dvc.lock may be removed: what is "
            "up to date is recorded again, not run) and run this again",
        ) from None
