"""`tdn views` says what a test clip really takes."""

from __future__ import annotations

import pytest
import torch

from pipeline.clips.transforms import crop_views
from pipeline.core.workspace import Workspace
from pipeline.schema.protocols import load_protocols
from stages.commands import show_views
from tests.checkout import ROOT

PROTOCOLS = load_protocols(ROOT / "manifests")
ONE_OF_EACH = {(p.crops, p.resize_px, p.crop_px): name for name, p in PROTOCOLS.items()}


@pytest.mark.parametrize("size_px", [(340, 256), (176, 144), (240, 320)])
@pytest.mark.parametrize("name", sorted(ONE_OF_EACH.values()))
def test_printed_crops_are_those_that_are_cut(name: str, size_px: tuple[int, int]) -> None:
    protocol = PROTOCOLS[name]
    found = show_views.run(Workspace(ROOT), name, 40, 8, 5, "video", 0, size_px)
    width, height = found["resized_px"]
    for box in found["crops"]:
        assert 0 <= box["left"] <= width - protocol.crop_px
        assert 0 <= box["top"] <= height - protocol.crop_px
    # One colour per column: a crop shows where it was cut.
    columns = torch.linspace(0, 255, size_px[0]).byte().expand(3, size_px[1], size_px[0])
    cut = crop_views([columns], protocol.crops, protocol.resize_px, protocol.crop_px)
    assert len(cut) == len(found["crops"])
    for view, box in zip(cut, found["crops"], strict=True):
        middle = 255 * (box["left"] + protocol.crop_px / 2) / width
        assert view[0, 0, 0].float().mean().item() == pytest.approx(middle, abs=2)
