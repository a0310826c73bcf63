from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from pipeline.audit import level1_stores
from pipeline.audit.context import Plans
from pipeline.core.workspace import Workspace
from pipeline.store.inspect_store import ShardReader
from stages import cost
from stages.commands import audit_results
from stages.network_cost import ClipCost, clip_cost
from tests.checkout import Checkout
from tests.pipeline.audit.project import Project, make


@pytest.fixture(scope="session", autouse=True)
def counted_once() -> Iterator[None]:
    """Each network is counted once in this process, whose code stays the same, not per audit."""
    counts: dict[str, ClipCost] = {}

    def count(*network: Any) -> ClipCost:
        address = repr(network)
        if address not in counts:
            counts[address] = clip_cost(*network)
        return counts[address]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "clip_cost", count)
        yield


@pytest.fixture(scope="session", autouse=True)
def resolved_once() -> Iterator[None]:
    """The plans of equal manifests and code are resolved once in this process, not per audit."""
    resolve, found = audit_results._plans, dict[str, Plans]()

    def plans(work: Workspace) -> Plans:
        address = all_that_plans_rest_on(work)
        if address not in found:
            found[address] = resolve(work)  # what raises is tried each time
        return found[address]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_results, "_plans", plans)
        yield


@pytest.fixture(scope="module", autouse=True)
def one_reader() -> Iterator[None]:
    """The process that reads shards is started once per module, and when a shard killed it."""
    with ShardReader() as reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(level1_stores, "ShardReader", lambda: nullcontext(reader))
        yield


def all_that_plans_rest_on(work: Workspace) -> str:
    """A digest of the profile, of the manifests and the code below `work`, byte for byte, and of
    what users put there."""
    found = hashlib.sha256(work.profile.encode())
    for name in ("manifests", "my", "pipeline", "stages", "tdn_model", "data/weights", "data/raw"):
        for folder, folders, files in os.walk(work.root / name, followlinks=True):
            folders[:] = sorted(one for one in folders if one != "__pycache__")
            for file in sorted(files):
                path = os.path.join(folder, file)
                found.update(os.fsencode(os.path.relpath(path, work.root)))
                with open(path, "rb") as data:
                    found.update(hashlib.sha256(data.read()).digest())
    return found.hexdigest()


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small project that really ran; nobody touches it. Made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "pristine.lock").open("w") as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)
        if not (shared / "pristine.done").exists():
            shutil.rmtree(shared / "pristine", ignore_errors=True)  # half of one
            (shared / "pristine").mkdir()
            make(shared / "pristine")
            (shared / "pristine.done").touch()
    return Project(Checkout(shared / "pristine"))


@pytest.fixture(scope="session")
def copy(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return pristine.copy(tmp_path_factory.mktemp("copies") / "project")


@pytest.fixture
def project(copy: Project, pristine: Project) -> Iterator[Project]:
    """A copy to tamper with; every file is put back afterwards."""
    yield copy
    copy.restore(pristine)


@pytest.fixture(scope="session")
def plans(pristine: Project) -> Plans:
    """The plans of the project's manifests, resolved once."""
    return audit_results.tools(pristine.work).plans(pristine.work)
