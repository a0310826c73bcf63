"""One row with other values, beside its own results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.core.errors import ManifestError, UsageError
from pipeline.core.files import read_json
from stages.commands import audit_results
from stages.driver import trial
from tests.pipeline.audit.conftest import copy, counted_once, pristine, project
from tests.pipeline.audit.project import Project

__all__ = ["copy", "counted_once", "pristine", "project"]
pytestmark = pytest.mark.slow
ROW = "tsn_r50_8f_ssv1"


@contextmanager
def no_bar(title: str) -> Iterator[None]:
    yield None


def test_a_row_with_other_values_has_results_of_its_own_and_disturbs_nothing(
    project: Project,
) -> None:
    work = project.work
    own = read_json(work.metrics(ROW))
    settings = ["recipe.epochs=2", "compute.micro_batch=2"]
    metrics = trial.run(work, ROW, settings, no_bar)
    key = f"{ROW}@recipe-epochs-2_compute-micro-batch-2"
    assert metrics["row"] == key and metrics["smoke"] is True
    assert len(read_json(work.run(key) / "train/history.json")) == 2
    params = read_json(work.record("train", key))["identity"]["params"]
    assert (params["recipe"]["epochs"], params["compute"]["micro_batch"]) == (2, 2)
    assert read_json(work.metrics(ROW)) == own and not work.plan("train", key).exists()
    again = work.run(key) / "train/weights.pt"
    before = again.stat().st_mtime_ns
    trial.run(work, ROW, settings, no_bar)
    assert again.stat().st_mtime_ns == before, "what is there is not done again"
    result = audit_results.run(work, level=1)
    assert [link for link in result.broken if link.status not in audit_results.REMARKS] == []
    assert project.checkout.git("status", "--porcelain") == ""
    status = project.checkout.run(
        "status", module="dvc"
    )  # the copy has no cache: no more than that
    assert status.returncode == 0 and "modified" not in status.stdout, status.stdout


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (["recipe.epoch=2"], UsageError, "did you mean 'recipe.epochs'"),
        (["recipe.epochs"], UsageError, "write NAME=VALUE"),
        (["recipe.epochs=many"], ManifestError, "epochs"),
    ],
)
def test_a_value_that_the_row_does_not_have_is_named(
    project: Project, settings: list[str], error: Any, words: str
) -> None:
    with pytest.raises(error) as caught:
        trial.run(project.work, ROW, settings, no_bar)
    assert words in str(caught.value)


def test_more_trainings_than_the_start_has_are_refused_before_any(project: Project) -> None:
    with pytest.raises(UsageError, match="which has 1 training: each training of a row") as caught:
        trial.run(project.work, "tconv_r50_8f_ssv1", ["seeds=3"], no_bar)
    assert caught.value.do == "write `seeds: 3` into manifests/profiles/mini.yaml"
    assert not project.work.run("tconv_r50_8f_ssv1@seeds-3").exists()


def test_a_row_starts_from_an_image_pre_training_of_another_seed(project: Project) -> None:
    work, row = project.work, "tconv_r50_8f_ssv1"
    metrics = trial.run(work, row, ["start.seed=3", "seed=2"], no_bar)
    key = f"{row}@start-seed-3_seed-2"
    assert (metrics["row"], metrics["seed"]) == (key, 2)
    start = read_json(work.record("train", key))["identity"]["params"]["start"]["source"]
    stills = read_json(work.record("pretrain", start))["identity"]["params"]["stills"]
    assert stills["seed"] == 3
    own, other = (work.run(name) / "train/weights.pt" for name in ("images_resnet50", start))
    assert own.read_bytes() != other.read_bytes()
    made = other.stat().st_mtime_ns
    trial.run(work, row, ["start.seed=3", "seed=4"], no_bar)
    assert other.stat().st_mtime_ns == made, "one start serves every row"
    assert not list((work.data / "plan").glob("*@*")), "DVC would see another plan"


def test_a_row_without_image_pre_training_has_no_seed_of_it(project: Project) -> None:
    with pytest.raises(UsageError, match="does not start from an image pre-training"):
        trial.run(project.work, ROW, ["start.seed=3"], no_bar)
