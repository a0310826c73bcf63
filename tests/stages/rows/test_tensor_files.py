"""Tensors are written whole or not at all; a damaged file is one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.core.errors import StoreError
from stages.rows.tensor_files import load_tensors, save_tensors

STATE = {"a": torch.arange(1000), "b": torch.ones(2, 3)}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.pt"
    save_tensors(path, STATE)
    found = load_tensors(path, what="the weights", do="train")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    assert [file.name for file in path.parent.iterdir()] == ["weights.pt"]


def test_a_file_has_the_bytes_that_torch_writes_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    torch.save(STATE, tmp_path / "other" / "weights.pt")
    save_tensors(tmp_path / "weights.pt", STATE)
    want = (tmp_path / "other" / "weights.pt").read_bytes()
    assert (tmp_path / "weights.pt").read_bytes() == want


@pytest.mark.parametrize("before", [None, b"an earlier file"])
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "weights.pt"
    if before is not None:
        path.write_bytes(before)
    code = (
        "import resource, sys, pathlib, torch\n"
        "from stages.rows.tensor_files import save_tensors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: save_tensors(pathlib.Path(sys.argv[1]), {'a': torch.zeros(100_000)})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.stdout.startswith("StoreError the disk is full"), done.stderr
    assert "free some space" in done.stdout
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left == ({} if before is None else {"weights.pt": before})


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("stages.rows.tensor_files.TemporaryDirectory", refuse)
    with pytest.raises(StoreError, match="cannot be written: Permission denied"):
        save_tensors(tmp_path / "weights.pt", STATE)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_a_file_cut_short_is_damaged(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "weights.pt"
    save_tensors(path, STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(StoreError, match="the weights of ROW are damaged") as caught:
        load_tensors(path, what="the weights of ROW", do="run `tdn train ROW`")
    assert (caught.value.where, caught.value.do) == ("weights.pt", "run `tdn train ROW`")


def test_a_file_that_is_no_state_dict_is_damaged_and_none_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save([torch.ones(1)], path)
    with pytest.raises(StoreError, match="damaged"):
        load_tensors(path, what="the weights", do="")
    path.unlink()
    with pytest.raises(StoreError, match="the weights are missing"):
        load_tensors(path, what="the weights", do="")
