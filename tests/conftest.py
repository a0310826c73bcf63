"""Two test processes share the machine's two cores: each computes with one thread, and none waits
for the disk."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch or numpy

from hypothesis import settings

# No time is asserted: a loaded machine may take long over one example.
settings.register_profile("tdn", deadline=None)
settings.load_profile("tdn")

# No test cuts this machine's power: those of what is flushed, and when, put their own in its place.
os.fsync = lambda handle: None
