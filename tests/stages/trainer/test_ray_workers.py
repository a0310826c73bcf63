from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import DataError, UsageError
from pipeline.core.files import sha256_file
from pipeline.core.workspace import Workspace
from stages import train
from stages.train import Job, train_seeds
from stages.trainer.ray_workers import _lasting, on_workers
from stages.trainer.worker_group import Ranks
from tests.checkout import ROOT
from tests.stages.conftest import train_plan

PLAN = train_plan("row", partial_bn=True, compute={"workers": 2})
TORCHRUN = """
import sys
from pathlib import Path
from pipeline.core.workspace import Workspace
from stages import train
from stages.trainer.worker_group import from_environment
from tests.stages.trainer.test_ray_workers import PLAN

if from_environment().first:
    train.run(Workspace(Path(sys.argv[1])), "torchrun", PLAN)
else:
    train.help_train()
"""

RAY = """
import sys
from pathlib import Path
from pipeline.core.workspace import Workspace
from pipeline.schema.profiles import Loader
from stages import train
from tests.stages.trainer.test_ray_workers import PLAN, killed_once

train.train_seeds = killed_once
work = Workspace(Path(sys.argv[1]))
train.run(work, "ray", PLAN, loader=Loader(checkpoint_minutes=0), identity="a")
"""
"""In a process of its own, as Ray Train changes how a later Ray of the same process listens."""


def killed_once(job: Job, ranks: Ranks) -> None:
    """The training; the first process is killed in the second epoch of its first start."""
    mark = job.work.root / "killed"
    first = job.work.root / "first"

    def progress(done: int, total: int) -> None:
        if mark.exists() and not first.exists():
            first.write_text(str(done), "utf-8")
        if done == 4 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    train_seeds(job, ranks, progress)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_two_workers_of_torchrun_and_of_ray_end_with_the_same_bytes_killed_or_not(
    work: Workspace, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    alone = [sys.executable, "-W", "ignore", "-c", RAY, tmp_path]
    subprocess.run(alone, env=environment, check=True, cwd=tmp_path)
    assert (tmp_path / "killed").exists()
    assert int((tmp_path / "first").read_text("utf-8")) > 1, "it goes on, not from the start"
    script = tmp_path / "script.py"
    script.write_text(TORCHRUN, "utf-8")
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run([*run, script, tmp_path], env=environment, check=True, cwd=tmp_path)
    for name in ("weights.pt", "history.json"):
        made = [work.run(row) / "train" / name for row in ("ray", "torchrun")]
        assert len({sha256_file(path) for path in made}) == 1, name


WRAPPED = """
from pipeline.core.errors import DataError
from ray.train import WorkerGroupError
from stages.trainer.ray_workers import _lasting

own = DataError("the loss is nan", do="lower it")
assert _lasting(WorkerGroupError("text", {0: own}).worker_failures[0]) is own
"""


def test_an_error_of_ours_comes_out_of_what_ray_wraps() -> None:
    # Elsewhere: whoever imports Ray before the pool does has it listen beyond this machine.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", WRAPPED], env=environment, check=True)
    own = DataError("the loss is nan", do="lower it")
    caused = RuntimeError("other")
    caused.__cause__ = own
    assert _lasting(caused) is own


class Wrapped(Exception):
    """What a worker raised, as Ray Train wraps it."""

    def __init__(self, inner: Exception) -> None:
        super().__init__("wrapped")
        self._base_exc = inner


def test_a_bug_is_not_tried_again_and_a_lost_partner_is() -> None:
    assert isinstance(_lasting(Wrapped(KeyError("row"))), KeyError)
    assert _lasting(Wrapped(RuntimeError("Connection closed by peer"))) is None
    assert _lasting(RuntimeError("other")) is None


def test_torchruns_number_of_processes_is_part_of_the_result(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun started 2 processes, and row is trained by 1"):
        train.run(work, "row", train_plan())


def test_more_workers_than_cores_are_refused_before_anything_waits(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.trainer.ray_workers.Pool.start", lambda self, tasks: None)
    with pytest.raises(UsageError, match="2 workers need 2 cores, and Ray has 1"):
        on_workers(2, train_seeds, None, work.run("row"), "cpu", None)
