"""`tdn import-checkpoint` says what a refused file is, and never how to load it unsafely."""

from __future__ import annotations

import pickle
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import ImportPlan
from stages import import_weights, train
from stages.commands import import_checkpoint
from stages.import_weights import convert, read_checkpoint
from stages.rows.row_network import build_network, load_start
from stages.rows.tensor_files import save_tensors
from tests.e2e.test_published_checkpoint import released
from tests.stages.conftest import DATA, NETWORK, train_plan

FILE = "model.pth.tar"


def refusal(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    assert caught.value.where == path.name and caught.value.do
    assert "weights_only" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("page", ["<!DOCTYPE html><html>…", "\n <html lang=en>", "<?xml version"])
def test_a_web_page_is_called_one(tmp_path: Path, page: str) -> None:
    (tmp_path / FILE).write_text(page, "utf-8")
    assert "web page" in refusal(tmp_path / FILE).what


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("number", [np.float64(71.5), np.int64(3), np.float32(2), np.bool_(True)])
def test_numbers_of_numpy_beside_the_tensors_are_read(
    tmp_path: Path, number: Any, zipped: bool
) -> None:
    held = {"state_dict": {"a": torch.ones(3)}, "best_prec1": number}
    torch.save(held, tmp_path / FILE, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / FILE)
    assert found["best_prec1"] == number
    assert torch.equal(found["state_dict"]["a"], torch.ones(3))


def test_numbers_that_numpy_1_wrote_are_read(tmp_path: Path) -> None:
    torch.save({"a": np.float64(2)}, tmp_path / FILE, _use_new_zipfile_serialization=False)
    written = (tmp_path / FILE).read_bytes()
    assert b"numpy._core.multiarray" in written
    (tmp_path / FILE).write_bytes(written.replace(b"numpy._core.multi", b"numpy.core.multi"))
    assert read_checkpoint(tmp_path / FILE)["a"] == 2


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_program_is_turned_into_tensors_by_the_command_that_is_advised(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(network), str(tmp_path / FILE))
    error = refusal(tmp_path / FILE)
    assert "TorchScript" in error.what
    command = error.do.partition("; then import ")[0].removeprefix("python -c ")
    command = f"{sys.executable} -c {command}"
    subprocess.run(command, shell=True, check=True, capture_output=True)
    found = read_checkpoint(tmp_path / f"plain-{FILE}")
    assert torch.equal(found["weight"], network.weight)


@pytest.mark.parametrize(
    ("held", "name"),
    [
        ({"state_dict": {}, "args": Namespace(lr=0.1)}, "argparse.Namespace"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_objects_that_could_run_code_are_named(tmp_path: Path, held: Any, name: str) -> None:
    torch.save(held, tmp_path / FILE)
    error = refusal(tmp_path / FILE)
    assert name in error.what and "state_dict()" in error.do


def test_a_plain_pickle_and_a_cut_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(pickle.dumps({"a": Namespace()}))
    refusal(tmp_path / FILE)
    torch.save({"a": torch.ones(300)}, tmp_path / FILE)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:700])
    assert "damaged" in refusal(tmp_path / FILE).what
    torch.save([torch.ones(1)], tmp_path / FILE)
    assert "no state dict" in refusal(tmp_path / FILE).what
    assert "no such file" in refusal(tmp_path / "gone.pth").what


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
NO_PICKLE = b"\x80\x02j\xff\xff\xff\xff."


@pytest.mark.parametrize("content", [LFS, b"", b"\x80", NO_PICKLE, b"\x1f\x8b", bytes(99)])
def test_bytes_that_are_no_checkpoint_are_called_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert "damaged or not a checkpoint" in refusal(tmp_path / FILE).what


def test_a_file_of_the_older_format_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / FILE, _use_new_zipfile_serialization=False)
    whole = (tmp_path / FILE).read_bytes()
    for length in range(1, len(whole) - 12, 7):
        (tmp_path / FILE).write_bytes(whole[:length])
        refusal(tmp_path / FILE)


@pytest.mark.parametrize(
    "held",
    [[1], 3, {1: torch.ones(2)}, {("a", 1): 2}, {"state_dict": None}, {"state_dict": {2: 1}}],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, held: Any) -> None:
    torch.save(held, tmp_path / FILE)
    assert "no state dict" in refusal(tmp_path / FILE).what


@pytest.mark.parametrize(
    "state", [{}, {"a": 1}, {"new_fc.weight": torch.tensor(1.0)}, {"new_fc.weight": torch.ones(3)}]
)
def test_tensors_of_no_network_are_named(tmp_path: Path, state: Any) -> None:
    with pytest.raises(UsageError, match="not a checkpoint of tsn"):
        convert(state, "tsn", where=FILE, do="look", num_segments=8, backbone="resnet50")


@pytest.mark.parametrize("text", ["", "{}", "[1, 2", "[1.5]", "[true]", '["a"]', "\xff"])
def test_an_order_of_classes_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / FILE)
    (tmp_path / "order.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="no JSON list of class indices"):
        import_checkpoint.run(
            tmp_path / FILE, "tsn", tmp_path / "out.pt", "resnet50", 8, tmp_path / "order.json"
        )
    assert not (tmp_path / "out.pt").exists()


def test_every_training_of_a_row_may_start_from_one_imported_set_of_weights(
    work: Workspace,
) -> None:
    plan = train_plan("fine", start={"kind": "row", "source": "given", "imported": True}, seeds=2)
    given = build_network("given", plan.network, 2, seed=7)
    save_tensors(work.run("given") / "train" / "weights.pt", given.state_dict())
    for number in (0, 1):
        model = build_network("fine", plan.network, 2, seed=number)
        load_start(work, plan, model, number)
        assert torch.equal(
            model.state_dict()["stem.conv.weight"], given.state_dict()["stem.conv.weight"]
        )


def test_weights_of_other_classes_get_a_new_classifier_and_are_trained_on(work: Workspace) -> None:
    size = {"width": 4, "blocks": [1, 1, 1, 1], "num_classes": 7}
    file = work.root / "data/weights/tsn.pth.tar"
    released(file, "tsn", num_segments=4, **size)
    checkpoint = {"checkpoint": "data/weights/tsn.pth.tar", "class_names": None}
    plan: dict[str, Any] = {
        "row": "given",
        "smoke": True,
        "data": DATA,
        "network": {**NETWORK, "architecture": "tsn"},
        "checkpoint": {**checkpoint, "sha256": None, "class_names_sha256": None},
    }
    with pytest.raises(UsageError, match="it has 7 classes, and ssv1 has 2"):
        import_weights.run(work, "given", ImportPlan.model_validate(plan))
    plan["checkpoint"]["classifier"] = "new"
    import_weights.run(work, "given", ImportPlan.model_validate(plan))
    found = torch.load(work.run("given") / "train/weights.pt", weights_only=True)
    theirs = torch.load(file, weights_only=False)["state_dict"]
    assert torch.equal(found["stem.conv.weight"], theirs["module.base_model.conv1.weight"])
    assert found["classifier.weight"].shape[0] == 2
    start = {"kind": "row", "source": "given", "keep_classifier": True, "imported": True}
    train.run(work, "fine", train_plan("fine", start=start, epochs=1))
    assert (work.run("fine") / "train/weights.pt").is_file()
