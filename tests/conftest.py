"""Two test processes share the machine's two cores: each computes with one thread, and none waits
for the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch or numpy

import pytest
from hypothesis import settings

from tests.processes import EndsLater, within

# No time is asserted: a loaded machine may take long over one example.
settings.register_profile("tdn", deadline=None)
settings.load_profile("tdn")

LONG = (
    "e2e/test_graph",
    "audit/test_run_levels",
    "e2e/test_stop",
    "trainer/test_ray_workers",
    "audit/test_matrix",
    "e2e/test_paper_scale",
    "driver/test_seed_grid",
    "audit/test_forgeries",
    "mini/test_generate",
    "driver/test_cluster_rows",
    "audit/test_verify",
    "store/test_build_frames",
    "audit/test_structure",
    "audit/test_check_submission",
    "tdn_model/test_export",
    "e2e/test_published_checkpoint",
    "faults/test_states",
    "models/test_tdn_parity",
    "lineage/test_resolve_plans",
    "stages/test_figures",
    "core/test_ray_start",
    "store/test_cluster",
    "store/test_decode_killed",
)
"""Modules that take long begin first: one that is left for the end has one process to itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules first, all else in its order."""

    def rank(item: pytest.Item) -> int:
        place = item.path.with_suffix("").as_posix()
        return next((n for n, name in enumerate(LONG) if place.endswith(name)), len(LONG))

    items.sort(key=rank)


# No test cuts this machine's power: those of what is flushed, and when, put their own in its place.
os.fsync = lambda handle: None


@pytest.fixture(scope="session")
def ends_later() -> Iterator[EndsLater]:
    """Ray's own processes, which end a minute after their driver was killed."""
    processes = EndsLater()
    yield processes
    try:
        assert within(120, lambda: not processes.living()), processes.living()
    finally:
        for process in processes.living():
            process.kill()
