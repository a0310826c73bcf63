from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.mini.encode import encode
from pipeline.video.ffmpeg import binary


def test_the_ffmpeg_that_the_user_names_is_the_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "ffmpeg"
    named.write_text(f'#!/bin/sh\ntouch "{tmp_path}/ran"\nexec "{binary()}" "$@"\n')
    named.chmod(0o755)
    monkeypatch.setenv("TDN_FFMPEG", str(named))
    clip = np.zeros((3, 32, 48, 3), dtype=np.uint8)
    encode(clip, tmp_path / "a.avi", "mpeg4", 12.0, 5)
    assert (tmp_path / "ran").exists()
    assert (tmp_path / "a.avi").stat().st_size
    named.write_text("#!/bin/sh\necho no such encoder >&2\nexit 1\n")
    with pytest.raises(DataError, match="no such encoder"):
        encode(clip, tmp_path / "b.avi", "mpeg4", 12.0, 5)
