"""The entry points that torch.hub finds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from tdn_model import export_official
from tdn_model.build import MODELS
from tests.tdn_model.helpers import clips, mini

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, Any] = {"width": 8, "blocks": (1, 1, 1, 1)}


def test_every_network_and_the_reader_are_entry_points() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert all(callable(getattr(module, name)) for name in (*MODELS, "official"))


def test_a_network_is_made_by_its_name() -> None:
    given = {"num_classes": 5, "num_segments": 4, **SMALL}
    model = torch.hub.load(str(ROOT), "tdn", source="local", **given).eval()
    with torch.no_grad():
        assert model(clips(model)).shape == (2, 5)


def test_imagenet_weights_that_do_not_exist_are_refused() -> None:
    given = {"num_classes": 5, "num_segments": 8, "imagenet": True, **SMALL}
    with pytest.raises(ValueError, match="no ImageNet weights fit slowfast"):
        torch.hub.load(str(ROOT), "slowfast", source="local", **given)


def test_a_published_checkpoint_is_read(tmp_path: Path) -> None:
    model = mini("tsm").eval()
    torch.save({"state_dict": export_official(model)}, tmp_path / "tsm.pth.tar")
    given = {"file": tmp_path / "tsm.pth.tar", "architecture": "tsm", "num_segments": 4, **SMALL}
    read = torch.hub.load(str(ROOT), "official", source="local", **given)
    x = clips(model)
    with torch.no_grad():
        assert torch.equal(read(x), model(x))
