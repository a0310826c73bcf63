from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.dvc_lock import Ignored
from pipeline.core.files import (
    atomic_folder,
    canonical_json,
    files_below,
    read_json,
    sha256_json,
    sha256_path,
    write_atomic,
    write_json,
)
from tests.checkout import ROOT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), JSON))
def test_canonical_json_does_not_depend_on_key_order(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(turned)
    assert sha256_json(value) == sha256_json(turned)


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_identical_content_keeps_the_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": 1})
    os.utime(path, ns=(1, 1))
    write_json(path, {"x": 1})
    assert path.stat().st_mtime_ns == 1
    write_json(path, {"x": 2})
    assert read_json(path) == {"x": 2}


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_written_file_has_the_mode_that_open_would_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").write_bytes(b"")

    def refuse(mask: int) -> int:
        raise AssertionError(f"the mask is set to {mask:o} while other threads may create files")

    monkeypatch.setattr(os, "umask", refuse)
    write_atomic(tmp_path / "file", b"x")
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "file")}
    assert len(modes) == 1


def test_a_folder_is_replaced_when_it_is_complete_and_kept_when_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "out"
    with atomic_folder(path) as folder:
        (folder / "first").write_text("1")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "second").write_text("2")
        raise RuntimeError
    assert [p.name for p in path.iterdir()] == ["first"]
    with atomic_folder(path) as folder:
        (folder / "third").write_text("3")
    assert [p.name for p in path.iterdir()] == ["third"]
    assert [p.name for p in path.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "name",
    ["x~", ".x.swp", ".DS_Store", "Thumbs.db", "desktop.ini", "._x", ".~lock.x#", "#x#", ".nfs01"],
)
def test_what_editors_and_file_managers_leave_changes_no_digest(tmp_path: Path, name: str) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    before = sha256_path(tmp_path)
    (tmp_path / name).write_bytes(b"stray")
    assert sha256_path(tmp_path) == before
    assert Ignored(ROOT)(ROOT / "runs" / name), "DVC would digest it"
    assert runpy.run_path(str(ROOT / "reports/verify.py"))["is_scratch"](name)


def test_what_lies_in_a_folder_that_is_being_written_is_no_file_of_it(tmp_path: Path) -> None:
    for name in ("weights.pt", ".tmp-a/weights.pt", "sub/.tmp-b", "sub/done"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert files_below(tmp_path) == [tmp_path / "sub/done", tmp_path / "weights.pt"]
