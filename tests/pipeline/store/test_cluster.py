"""Decoding on a Ray cluster: several nodes as processes of this machine, one of which dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import Made, numbered, own_videos

ROOT = Path(__file__).resolve().parents[3]

DRIVER = """
import os, sys
from pathlib import Path
from tests.ray_nodes import ray_nodes

root = Path(sys.argv[1])
os.environ["TDN_FFMPEG"] = str(root / "ffmpeg")
with ray_nodes("second", "doomed", head_cpus=1) as kill_last:
    from pipeline.store.build_frames import decode
    from pipeline.schema.dataset import Dataset
    from pipeline.core.ray_pool import Pool

    with Pool() as pool:
        print("asked", sorted(answer for _, answer in pool.everywhere(os.getenv, "TDN_NODE")))
    dataset = Dataset.model_validate_json((root / "dataset.json").read_text())
    log = root / "log"
    # In the middle of its first shard of three videos: its second one never ends.
    kill_last(lambda: log.is_file() and log.read_text().count("doomed") >= 2)
    decode(dataset, root / "raw", root / "sources.json", root / "frames")
"""


@pytest.mark.slow
def test_a_node_that_dies_changes_no_byte(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(27))
    made.check()
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    (tmp_path / "dataset.json").write_text(made.dataset.model_dump_json())
    # Nobody goes on before all three have begun; the doomed node never ends its second video.
    slow = tmp_path / "ffmpeg"
    slow.write_text(
        f"""#!/bin/sh
log="{tmp_path}/log"
case "$*" in
  *image2pipe*)
    echo "$TDN_NODE $(echo "$*" | sed 's/.*\\(clip[0-9]*\\).*/\\1/')" >> "$log"
    tries=0
    while [ $tries -lt 300 ] && [ "$(cut -d ' ' -f 1 "$log" | sort -u | wc -l)" -lt 3 ]; do
      tries=$((tries + 1)); sleep 0.1
    done
    if [ "$TDN_NODE" = doomed ] && [ "$(grep -c ^doomed "$log")" -ge 2 ]; then exec sleep 60; fi;;
esac
exec "{binary()}" "$@"
"""
    )
    slow.chmod(0o755)
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "asked ['doomed', 'head', 'second']" in ran.stdout
    assert "killed" in ran.stdout
    clips_of: dict[str, set[str]] = {"head": set(), "second": set(), "doomed": set()}
    for line in (tmp_path / "log").read_text().splitlines():
        node, clip = line.split()
        clips_of[node].add(clip)
    assert all(clips_of.values())
    redone = clips_of["doomed"] & (clips_of["head"] | clips_of["second"])
    assert len(clips_of["doomed"]) == 2
    assert redone == clips_of["doomed"], "the dead node's unfinished shard is made by another"
    assert made.bytes_of_store() == clean.bytes_of_store()
