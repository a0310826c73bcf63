"""Every real clip at hand, against the frame counts its README lists."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from subprocess import run

import numpy as np
from PIL import Image

from pipeline.schema.dataset import load_dataset
from pipeline.store.index import read_index
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from tests.pipeline.samples import MANIFESTS, Made, policy, real

# ffmpeg's own choice is the larger of the two video streams; the README counts the first.
CHOSEN_STREAM = {"other/nasa_13013.mp4": 390}
SIZES = {
    "quirks/video_0.mov": (454, 256),
    "quirks/video_90.mov": (256, 454),
    "quirks/video_180.mov": (454, 256),
    "sthv2/smth-smth-1.webm": (427, 240),
    "kinetics400/demo.mp4": (427, 256),
}
FPS = {
    "other/nasa_13013.mp4": 29.97,
    "sthv2/smth-smth-1.webm": 12.0,
    "ucf101/v_ApplyEyeMakeup_g01_c01.avi": 25.0,
}


def listed_counts(readme: str) -> dict[str, int]:
    """Decoded frames of each clip, from the README's table."""
    counts = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 6 and (match := re.fullmatch(r"(?:\d+|\?)/(\d+)", cells[5])):
            counts[cells[1]] = int(match.group(1))
    return counts


def test_all_clips_have_their_true_frame_counts() -> None:
    folder = real("videos")
    expected = listed_counts((folder / "README.md").read_text()) | CHOSEN_STREAM
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*.*") if p.suffix != ".md"}
    assert set(expected) == on_disk
    program = binary()
    found = {name: decode(folder / name, policy(), program) for name in sorted(expected)}
    assert {name: result.n_frames for name, result in found.items()} == expected
    assert {n for n, r in found.items() if r.status != "ok"} == {"quirks/corrupted.mp4"}
    assert found["quirks/corrupted.mp4"].status == "partial"
    for name, size in SIZES.items():
        assert (found[name].width_px, found[name].height_px) == size
    for name, fps in FPS.items():
        assert found[name].fps == fps


def test_real_frame_folders_ignore_their_stray_file() -> None:
    for folder in sorted(real("frames_ucf101").iterdir()):
        if folder.is_dir():
            found = decode(folder, policy(), "")
            assert (found.status, found.n_frames, found.width_px) == ("ok", 25, 340)


def test_colours_of_a_full_range_bt709_clip() -> None:
    """JPEG means BT.601 full range; keeping the file's own matrix would be 14 grey levels off."""
    path = real("videos", "quirks", "bt709_full_range.mp4")
    ours = decode(path, policy(max_frames=1, short_side_px=None), binary())
    pixels = np.asarray(Image.open(BytesIO(ours.stream)).convert("RGB")).astype(int)
    arguments = ["-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo"]
    raw = run([binary(), *arguments, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    truth = np.frombuffer(raw.stdout, np.uint8).reshape(pixels.shape).astype(int)
    assert np.abs(pixels - truth).mean() < 2.5


def test_weizmann_from_folder_to_store(tmp_path: Path) -> None:
    manifest = load_dataset(MANIFESTS, "weizmann")
    made = Made(manifest, real("weizmann"), tmp_path / "sources.json", tmp_path / "frames")
    summary = made.check()
    assert summary["counts"] == {"ok": 90}
    assert summary["problems"] == []
    about = made.decode()
    assert (about["counts"], about["frames"]) == ({"ok": 90}, 5855)
    index = read_index(made.frames)
    assert {len(index.split(fold.val)) for fold in manifest.folds.values()} == {10}
    store = index.store()
    jpeg_bytes = sum(len(jpeg) for video_id in store for jpeg in store.jpegs(video_id))
    # Pages of 4 KiB cost about 2 KiB a video: little beside real clips, more beside these small
    # ones in shards of eight.
    assert about["bytes"] < 1.02 * jpeg_bytes
