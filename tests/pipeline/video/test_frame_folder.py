"""Frame folders: which files are frames, in which order, and what is said of those missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.video.decode_video import decode, read_folder
from pipeline.video.frame_folder import frame_files
from tests.pipeline.samples import jpeg, policy


def folder_of(path: Path, count: int, stray: bool = True) -> Path:
    path.mkdir()
    for number in range(count):
        (path / f"{number + 1:05d}.jpg").write_bytes(jpeg(number))
    if stray:
        for name in ("desktop.ini", "Thumbs.db", ".DS_Store", "._00001.jpg", "cover.jpg"):
            (path / name).write_bytes(b"stray")
    return path


def test_frame_folders_are_copied_byte_for_byte(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "7", 12)
    found = decode(folder, policy(short_side_px=16), "no ffmpeg is needed")
    assert (found.status, found.n_frames, found.fps) == ("ok", 12, None)
    for number in range(12):
        stored = found.stream[found.offsets[number] : found.offsets[number + 1]]
        assert stored == (folder / f"{number + 1:05d}.jpg").read_bytes()


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for number in (1, 2, 10, 9, 100):
        (tmp_path / "v" / f"img_{number}.jpg").write_bytes(jpeg(number))
    names = [f"img_{number}.jpg" for number in (1, 2, 9, 10, 100)]
    assert frame_files(tmp_path / "v") == names
    (tmp_path / "v" / "flow_x_00001.jpg").write_bytes(jpeg(0))
    assert frame_files(tmp_path / "v", "img_") == names


def test_bad_frames_are_left_out_with_a_reason(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "v", 6, stray=False)
    (folder / "00003.jpg").write_bytes(jpeg(3)[:-40])
    (folder / "00005.jpg").write_bytes(b"")
    found = read_folder(folder, policy())
    assert (found.status, found.n_frames) == ("partial", 4)
    assert found.reason == "4 of 6 frames: 00003.jpg is not one whole JPEG (and 1 more)"


def test_an_empty_folder_is_empty(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "v", 0)
    assert read_folder(folder, policy()).status == "empty"


def numbered_folder(path: Path, numbers: list[int], name: str = "{:05d}.jpg") -> Path:
    path.mkdir()
    for number in numbers:
        (path / name.format(number)).write_bytes(jpeg(number))
    return path


@pytest.mark.parametrize(
    ("numbers", "listed", "reason"),
    [
        ([1, 2, 3, 5, 6], None, "5 of 6 frames: missing in the numbering: 4"),
        ([0, 1, 5, 6, 9], None, "5 of 10 frames: missing in the numbering: 2 to 4, 7 to 8"),
        ([1, 2, 3], 12, "3 of 12 frames: the list states 12"),
        ([1, 2, 4], 6, "3 of 6 frames: missing in the numbering: 3; the list states 6"),
        ([2, 2], None, "2 of 2 frames: two files have the number 2"),
    ],
)
def test_missing_frames_are_named_with_both_counts(
    tmp_path: Path, numbers: list[int], listed: int | None, reason: str
) -> None:
    folder = numbered_folder(tmp_path / "v", numbers)
    if len(set(numbers)) < len(numbers):
        (folder / "2.jpg").write_bytes(jpeg(2))
    found = decode(folder, policy(), "no ffmpeg is needed", listed_frames=listed)
    assert (found.status, found.reason) == ("partial", reason)


@pytest.mark.parametrize(
    ("numbers", "listed"), [([1, 3, 5, 7], None), ([7, 8, 9], 3), ([4], 1), ([1, 2, 3], 2)]
)
def test_a_regular_numbering_is_whole(
    tmp_path: Path, numbers: list[int], listed: int | None
) -> None:
    folder = numbered_folder(tmp_path / "v", numbers)
    found = decode(folder, policy(), "no ffmpeg is needed", listed_frames=listed)
    assert (found.status, found.reason, found.n_frames) == ("ok", "", len(numbers))


def test_too_small_a_share_of_the_listed_frames_is_an_error(tmp_path: Path) -> None:
    folder = numbered_folder(tmp_path / "v", [1, 2, 3])
    found = read_folder(folder, policy(min_frame_share=0.5), listed=7)
    assert (found.status, found.n_frames) == ("error", 0)
    assert found.reason == "3 of 7 frames: the list states 7 (less than min_frame_share 0.5)"
    assert read_folder(folder, policy(min_frame_share=0.4), listed=7).status == "partial"
    assert read_folder(folder, policy(max_frames=2), listed=7).n_frames == 2


def test_two_sequences_in_a_folder_are_told_apart_or_named(tmp_path: Path) -> None:
    folder = numbered_folder(tmp_path / "v", [1, 2], "img_{}.jpg")
    for number in (1, 2):
        (folder / f"flow_x_{number}.jpg").write_bytes(jpeg(number))
    found = read_folder(folder, policy())
    assert found.status == "partial"
    assert "begin in 2 ways ('flow_x_', 'img_')" in found.reason
    assert read_folder(folder, policy(), prefix="img_").status == "ok"


def test_a_folder_of_png_says_which_files_count(tmp_path: Path) -> None:
    folder = numbered_folder(tmp_path / "v", [1, 2, 3], "{:05d}.png")
    found = read_folder(folder, policy())
    assert found.status == "empty"
    assert found.reason == (
        "no frames: frames are files <name><number>.jpg or .jpeg; the folder holds 3 .png"
    )
    numbered_folder(tmp_path / "w", [1], "frame{}.jpg")
    assert "beginning with 'img_'" in read_folder(tmp_path / "w", policy(), prefix="img_").reason


def test_a_file_of_several_images_is_no_frame(tmp_path: Path) -> None:
    folder = numbered_folder(tmp_path / "v", [1, 2, 3])
    (folder / "00002.jpg").write_bytes(jpeg(2) + jpeg(3))
    found = read_folder(folder, policy())
    assert (found.status, found.n_frames) == ("partial", 2)
    (folder / "00002.jpg").write_bytes(jpeg(2) + bytes(64))  # padding
    assert read_folder(folder, policy()).status == "ok"
