"""DVC imported before it is asked: nothing is open, and there is one thread."""

from __future__ import annotations

import subprocess
import sys

from tests.checkout import ROOT


def test_it_has_one_thread_and_nothing_open() -> None:
    code = """
import os
from stages import dvc_command
dvc_command.prepare()
print(len(os.listdir("/proc/self/task")), *(os.readlink(f"/proc/self/fd/{n}") for n in (3, 4)
      if os.path.exists(f"/proc/self/fd/{n}")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]
