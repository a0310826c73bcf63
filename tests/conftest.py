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
