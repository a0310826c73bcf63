"""`tdn bench NAME`: options that a benchmark does not take are refused, its report is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from stages.cli.bench_commands import bench
from tests.pipeline.samples import write_clip


def test_an_option_of_another_benchmark_is_refused() -> None:
    with pytest.raises(UsageError, match="benchmark 'decode' has no option --device"):
        bench("decode", device="cpu")
    with pytest.raises(UsageError, match="benchmark 'timings' has no option --script-ffmpeg"):
        bench("timings", script_ffmpeg=Path("ffmpeg"))


def test_a_smaller_measurement_needs_a_folder_of_its_own() -> None:
    with pytest.raises(UsageError, match="smaller"):
        bench("model", width=8)


def test_the_report_is_written_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "videos" / "0.mkv", 8, size="64x48")
    bench("decode", rounds=1, videos=tmp_path / "videos", out=tmp_path / "reports")
    assert json.loads((tmp_path / "reports" / "decode.json").read_text())["settings"]["rounds"] == 1
    text = (tmp_path / "reports" / "decode.md").read_text("utf-8")
    assert text.startswith("# Decoding and storing videos") and text in capsys.readouterr().out
