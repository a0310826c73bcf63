"""`tdn selftest`: failing calls and random steps on tiny data, all where tests try a few."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from pipeline.core.errors import TdnError, UsageError

FAULTS, STATES = "tests/faults/test_every_call.py", "tests/faults/test_states.py"
FLIPS = "tests/pipeline/audit/test_verify.py"


def run(root: Path, *, faults: bool, states: int, flips: int = 0) -> None:
    """Run the tests of this checkout that inject every fault, make so many random steps, and flip
    so many bytes.

    Raises UsageError where the tests or pytest are missing, TdnError when one fails.
    """
    if not (root / FAULTS).is_file() or find_spec("pytest") is None:
        raise UsageError(
            "selftest runs tests, which are not here",
            do="clone the whole repository and run `make install`",
        )
    asked = {FAULTS: faults, STATES: states, FLIPS: flips}
    places = [place for place, wanted in asked.items() if wanted] or [FAULTS, STATES]
    given = {"TDN_FAULTS": "all"} if faults else {}
    given |= {"TDN_STATES": str(states)} if states else {}
    given |= {"TDN_FLIPS": str(flips)} if flips else {}
    words = [sys.executable, "-m", "pytest", "--numprocesses=0", "--capture=no", *places]
    if subprocess.run(words, cwd=root, env={**os.environ, **given}).returncode:
        raise TdnError("selftest failed", do="report it with what is printed above")
