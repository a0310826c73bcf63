from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.core.errors import DataError, UsageError
from pipeline.core.workspace import Workspace
from stages import train
from stages.trainer import training_run
from stages.trainer.training_setup import fit_batch, name_empty_classes, of_loaders
from tests.stages.conftest import train_plan


def test_the_rate_follows_a_batch_that_the_data_cut(capsys: pytest.CaptureFixture[str]) -> None:
    plan = train_plan(batch=64, lr=0.02).model_copy(update={"smoke": False})
    assert fit_batch(plan, 24, 1) == (24, pytest.approx(0.0075))
    assert "batch 24, learning rate 0.0075 in place of 0.02" in capsys.readouterr().err
    assert fit_batch(plan, 640, 1) == (64, 0.02)
    assert capsys.readouterr().err == ""


def test_a_miniatures_schedule_is_its_own() -> None:
    assert fit_batch(train_plan(batch=64, lr=0.02), 24, 1) == (24, 0.02)


def test_workers_share_a_batch_equally() -> None:
    assert fit_batch(train_plan(batch=8), 7, 2) == (6, 0.05)
    with pytest.raises(UsageError, match="3 workers cannot share a batch of 8"):
        fit_batch(train_plan(batch=8), 100, 3)
    with pytest.raises(DataError, match="no training videos"):
        fit_batch(train_plan(batch=8), 0, 2)


@pytest.mark.parametrize(
    ("micro_batch", "do"), [(None, "micro_batch: 2"), (2, "micro_batch: 1"), (1, "recompute: true")]
)
def test_too_little_memory_names_the_setting_that_mends_it(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, micro_batch: int | None, do: str
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training_run, "train_step", too_large)
    with pytest.raises(UsageError, match="need more memory") as caught:
        train.run(work, "row", train_plan(compute={"micro_batch": micro_batch}))
    assert do in caught.value.do


def test_a_loader_without_shared_memory_is_a_sentence() -> None:
    died = RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible")
    assert isinstance(of_loaders(died), DataError)
    other = RuntimeError("shapes differ")
    assert of_loaders(other) is other


def test_classes_without_a_clip_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    videos = [SimpleNamespace(labels=[0]), SimpleNamespace(labels=[0, 2])]
    clips: Any = SimpleNamespace(dataset=SimpleNamespace(videos=videos), unusable=[1, 2, 3])
    name_empty_classes("row", clips, ("a", "b", "c", "d"))
    said = "row: 2 classes without a training clip (3 videos have no frames): b, d"
    assert capsys.readouterr().err.strip() == said
    name_empty_classes("row", clips, ("a",))
    assert capsys.readouterr().err == ""
