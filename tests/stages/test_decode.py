"""`tdn decode` says what became of the videos."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.files import write_json
from stages import check, decode
from tests.pipeline.samples import Made
from tests.stages.commands.test_estimate_decode import check_plan, own


def test_partial_and_failed_videos_are_named_with_their_counts(tmp_path: Path) -> None:
    work, dataset = own(tmp_path, 4)
    dataset = dataset.model_copy(update={"max_failed_fraction": 0.5})
    clips = work.raw("own", generated=False) / "videos"
    (clips / "clip001.avi").write_bytes(b"no video")
    (clips / "clip002.avi").unlink()
    check.run(work, "own", check_plan(dataset))
    made = Made(dataset, work.raw("own", generated=False), work.sources("own"), work.frames("own"))
    about = made.decode()
    write_json(work.decoded("own"), about)
    first, *rest = decode.lines(work, "own")
    assert first.startswith("own: 4 listed videos: 1 error, 1 missing, 2 ok; ")
    assert [line.split(": ")[:2] for line in rest] == [
        ["  clip001.avi", "error"], ["  clip002.avi", "missing"],
    ]  # fmt: skip
