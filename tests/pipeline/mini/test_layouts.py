"""Files and lists look like the official distributions."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import pytest

from pipeline.mini import generate
from pipeline.schema.miniature import Miniature
from tests.pipeline.mini.miniatures import small


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("miniatures")
    for dataset in ("ssv1", "ssv2", "ucf101"):
        generate(dataset, small(dataset), root / dataset, 0)
    return {path.name: path for path in root.iterdir()}


def lines(path: Path) -> list[str]:
    text = path.read_bytes().decode()
    assert text.endswith("\n")
    assert "\r" not in text
    return text.splitlines()


def test_ssv1_lists(made: dict[str, Path]) -> None:
    miniature, root = small("ssv1"), made["ssv1"]
    names = lines(root / "something-something-v1-labels.csv")
    assert names == miniature.classes
    assert names != sorted(names)
    listed = set()
    for subset in ("train", "validation"):
        rows = [row.split(";") for row in lines(root / f"something-something-v1-{subset}.csv")]
        assert len(rows) == miniature.expected[subset]
        assert {label for _, label in rows} == set(names)
        listed |= {clip_id for clip_id, _ in rows}
    tests = lines(root / "something-something-v1-test.csv")
    assert all(row.isdigit() for row in tests)
    folders = {path.name for path in (root / "20bn-something-something-v1").iterdir()}
    assert folders == listed | set(tests)


def test_ssv1_frames(made: dict[str, Path]) -> None:
    miniature = small("ssv1")
    for folder in (made["ssv1"] / "20bn-something-something-v1").iterdir():
        names = sorted(path.name for path in folder.iterdir())
        assert names == [f"{number:05d}.jpg" for number in range(1, miniature.frames + 1)]
        picture = cv2.imread(str(folder / "00001.jpg"))
        assert picture is not None
        assert picture.shape == (miniature.height_px, miniature.width_px, 3)


def test_ssv2_lists(made: dict[str, Path]) -> None:
    miniature, root = small("ssv2"), made["ssv2"]
    labels = json.loads((root / "labels" / "labels.json").read_text())
    assert list(labels) == sorted(miniature.classes)
    assert list(labels.values()) == [str(index) for index in range(len(labels))]
    listed: set[str] = set()
    for subset in ("train", "validation", "test"):
        items = json.loads((root / "labels" / f"{subset}.json").read_text())
        assert len(items) == miniature.expected[subset]
        listed |= {item["id"] for item in items}
        for item in items if subset != "test" else []:
            assert item["template"].replace("[", "").replace("]", "") in labels
            blanks = re.findall(r"\[[^]]*\]", item["template"])
            assert len(item["placeholders"]) == len(blanks)
            assert all(word in item["label"] for word in item["placeholders"])
            assert "[" not in item["label"]
    answers = [row.split(";") for row in lines(root / "labels" / "test-answers.csv")]
    assert all(label in labels for _, label in answers)
    files = {path.name for path in (root / "20bn-something-something-v2").iterdir()}
    assert files == {f"{clip_id}.webm" for clip_id in listed}


def test_ucf101_lists(made: dict[str, Path]) -> None:
    miniature, root = small("ucf101"), made["ucf101"]
    folder = root / "ucfTrainTestlist"
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.count(b"\n") == data.count(b"\r\n") > 0
        assert data.endswith(b"\r\n")
    index = dict(
        row.split(" ")[::-1] for row in (folder / "classInd.txt").read_text().split("\n") if row
    )
    assert list(index) == sorted(miniature.classes)
    assert list(index.values()) == [str(number) for number in range(1, len(index) + 1)]
    files = {p.relative_to(root / "UCF-101").as_posix() for p in root.glob("UCF-101/*/*")}
    for number in (1, 2, 3):
        rows = (folder / f"trainlist0{number}.txt").read_text().splitlines()
        pairs = [row.split(" ") for row in rows]
        assert all(index[name.split("/")[0]] == label for name, label in pairs)
        tests = (folder / f"testlist0{number}.txt").read_text().splitlines()
        assert {name for name, _ in pairs} | set(tests) == files
        assert groups(tests).isdisjoint(groups([name for name, _ in pairs]))
        assert len(tests) == miniature.expected[f"test0{number}"]


def groups(names: list[str]) -> set[str]:
    return {match[0] for name in names if (match := re.search(r"_g\d\d_", name))}


def test_ucf101_keeps_the_handstand_trap(made: dict[str, Path]) -> None:
    files = list((made["ucf101"] / "UCF-101" / "HandstandPushups").iterdir())
    assert files
    assert all(re.fullmatch(r"v_HandStandPushups_g\d\d_c\d\d\.avi", p.name) for p in files)


@pytest.mark.parametrize(
    ("dataset", "pattern", "codec"),
    [("ssv2", "*/*.webm", "vp9"), ("ucf101", "UCF-101/*/*.avi", "mpeg4")],
)
def test_videos_decode_to_every_frame(
    made: dict[str, Path], dataset: str, pattern: str, codec: str
) -> None:
    miniature: Miniature = small(dataset)
    for path in sorted(made[dataset].glob(pattern))[:3]:
        report = subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "null", "-"],
            capture_output=True, text=True, check=True,
        ).stderr  # fmt: skip
        assert f"Video: {codec}" in report
        assert f"{miniature.width_px}x{miniature.height_px}" in report
        assert re.findall(r"frame=\s*(\d+)", report)[-1] == str(miniature.frames)
