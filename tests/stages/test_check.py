"""`tdn check` leaves a list to work through, most of all when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.sources.problems import read_problems
from stages import check
from tests.pipeline.samples import clip_bytes
from tests.stages.commands.test_estimate_decode import check_plan, own


def statuses(path: Path) -> list[str]:
    return [finding.status for finding in read_problems(path)]


def test_the_list_is_there_when_too_much_is_wrong(tmp_path: Path) -> None:
    work, dataset = own(tmp_path, 4)
    (work.raw("own", generated=False) / "videos" / "clip001.avi").unlink()
    with pytest.raises(DataError, match="1 of 4 videos cannot be used"):
        check.run(work, "own", check_plan(dataset))
    place = work.sources("own").with_suffix(".problems.csv")
    assert statuses(place) == ["problem", "missing"]  # no video is listed in val
    said = check.list_lines(work, "own")
    assert said == ["  to mend: 1 missing, 1 problem; see data/mini/sources/own.problems.csv"]


def test_a_look_inside_stops_by_the_same_threshold(tmp_path: Path) -> None:
    work, dataset = own(tmp_path, 4)
    clips = work.raw("own", generated=False) / "videos"
    (clips / "clip001.avi").write_bytes(b"no video")
    (clips / "clip002.avi").write_bytes(clip_bytes(".avi", 2))
    decode = dataset.decode.model_copy(update={"min_frames": 3})
    dataset = dataset.model_copy(update={"decode": decode})
    check.run(work, "own", check_plan(dataset))
    before = work.sources("own").read_bytes()
    with pytest.raises(DataError, match=r"(?s)2 of 4 videos.*clip002\.avi: short: 2 frames"):
        check.look_inside(work, "own", check_plan(dataset))
    place = work.sources("own").with_suffix(".problems.csv")
    assert statuses(place) == ["problem", "unreadable", "short"]
    dataset = dataset.model_copy(update={"max_failed_fraction": 0.5})
    check.look_inside(work, "own", check_plan(dataset))
    assert work.sources("own").read_bytes() == before
