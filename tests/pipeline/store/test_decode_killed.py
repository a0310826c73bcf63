"""The driver of a decode with its own workers is killed: nothing lives on, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import Made, numbered, own_videos
from tests.processes import RAYS_OWN, EndsLater, processes_with, within

ROOT = Path(__file__).resolve().parents[3]

DRIVER = """
import sys
from pathlib import Path
from pipeline.store.build_frames import decode
from pipeline.schema.dataset import Dataset
root = Path(sys.argv[1])
dataset = Dataset.model_validate_json((root / "dataset.json").read_text())
decode(dataset, root / "raw", root / "sources.json", root / "frames", workers=2)
"""


@pytest.mark.slow
def test_a_killed_driver_leaves_no_worker_and_the_next_run_goes_on(
    tmp_path: Path, ends_later: EndsLater
) -> None:
    made = own_videos(tmp_path, numbered(18))
    made.check()
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    (tmp_path / "dataset.json").write_text(made.dataset.model_dump_json())
    slow = tmp_path / "ffmpeg"
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *image2pipe*) sleep 0.3;; esac\nexec "{binary()}" "$@"\n'
    )
    slow.chmod(0o755)
    mark = f"TDN_MARK={tmp_path.name}-{os.getpid()}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value, "TDN_FFMPEG": str(slow)}
    environment.pop("RAY_ADDRESS", None)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        shards = made.frames.glob
        assert within(90, lambda: any(shards("shard-*.json")) or driver.poll() is not None)
        assert driver.poll() is None
        assert len(processes_with(mark)) > 2, "workers are at it"
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert within(120, lambda: not processes_with(mark, but=RAYS_OWN))
        ends_later.add(processes_with(mark))
    finally:
        for process in processes_with(mark, but=RAYS_OWN):
            os.kill(process, signal.SIGKILL)
    finished = {path.name for path in made.frames.glob("shard-*.lmdb")}
    assert 0 < len(finished) < 6
    assert not (made.frames / "index.json").exists()
    before = {name: (made.frames / name).stat().st_mtime_ns for name in finished}
    made.decode()
    assert made.bytes_of_store() == clean.bytes_of_store()
    recorded = {
        name for name in finished if (made.frames / name).stat().st_mtime_ns == before[name]
    }
    assert recorded, "published shards are kept"
