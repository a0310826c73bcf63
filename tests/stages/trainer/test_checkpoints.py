from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.core.errors import StoreError
from stages.trainer import checkpoints
from stages.trainer.checkpoints import Checkpoints


def test_the_state_is_that_of_the_step_however_late_it_is_written(tmp_path: Path) -> None:
    weight = torch.zeros(3)
    with Checkpoints(tmp_path, "a", 0) as kept:
        kept.save(1, {"model": {"w": weight}, "history": [{"loss": 1.0}]})
        weight += 1
    with Checkpoints(tmp_path, "a", 0) as kept:
        state = kept.load()
    assert state is not None and state["step"] == 1 and state["history"] == [{"loss": 1.0}]
    assert torch.equal(state["model"]["w"], torch.zeros(3))


def test_the_last_two_of_each_training_are_kept(tmp_path: Path) -> None:
    for identity in ("a", "b"):
        with Checkpoints(tmp_path, identity, 0) as kept:
            for step in (1, 2, 30, 4):
                kept.save(step, {})
    assert len(list(tmp_path.glob("*.pt"))) == 4
    with Checkpoints(tmp_path, "c", 0) as kept:
        assert kept.load() is None


def test_a_damaged_one_is_said_and_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Checkpoints(tmp_path, "a", 0) as kept:
        kept.save(1, {"w": torch.zeros(9)})
        kept.save(2, {"w": torch.zeros(9)})
    newest = max(tmp_path.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:100])
    with Checkpoints(tmp_path, "a", 0) as kept:
        state = kept.load()
        assert state is not None and state["step"] == 1
        assert f"{newest.name}: a damaged checkpoint" in capsys.readouterr().err
        kept.save(3, {"w": torch.zeros(9)})
    assert [path.name[-4] for path in sorted(tmp_path.glob("*.pt"))] == ["1", "3"]


def test_a_full_disk_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(StoreError, match="full"), Checkpoints(tmp_path, "a", 0) as kept:
        kept.save(1, {})


def test_one_is_due_after_its_interval_or_a_share_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    with Checkpoints(tmp_path, "a", 600) as kept:
        now[0] = 100.0
        assert not kept.due() and kept.due(0.1)
        now[0] = 600.0
        assert kept.due()
