"""A network's parts are found by running it: who reads whom, and what each part costs."""

from __future__ import annotations

import pytest

from pipeline.schema.network_list import Network
from stages.figure_data.architecture import parts_of
from stages.network_cost import clip_cost, keywords_of


def network(architecture: str) -> Network:
    return Network(
        title="", architecture=architecture, backbone="resnet50", segments=3, side_px=64, classes=5
    )


def reads(architecture: str, inside: str = "") -> dict[str, set[str]]:
    return {part.name: set(part.reads) for part in parts_of(network(architecture), inside)}


def test_tdn_fuses_its_short_term_differences_before_res2_and_res3() -> None:
    parts = {part.name: part for part in parts_of(network("tdn"))}
    assert {name: set(part.reads) for name, part in parts.items()} == {
        "stem": {"input"}, "short_term": {"input"}, "fusions.0": {"stem", "short_term"},
        "res2": {"fusions.0"}, "fusions.1": {"res2", "short_term"}, "res3": {"fusions.1"},
        "res4": {"res3"}, "res5": {"res4"}, "classifier": {"res5"}, "output": {"classifier"},
    }  # fmt: skip
    assert parts["res2"].contents == {"blocks": 3} and not parts["res2"].ours
    assert parts["res3"].contents == {"blocks": 4, "LongTermTDM": 4, "TemporalConv": 4}
    assert parts["short_term"].ours and parts["res3"].shape == [3, 512, 8, 8]


@pytest.mark.parametrize("architecture", ["tdn", "featdiff", "tanet"])
def test_the_parts_cost_what_the_network_costs(architecture: str) -> None:
    one = network(architecture)
    total = clip_cost(architecture, keywords_of(one), one.side_px).cost.gmacs
    assert sum(part.gmacs for part in parts_of(one)) == pytest.approx(total)


def test_differences_of_image_maps_are_read_where_no_module_takes_them() -> None:
    found = reads("featdiff")
    assert found["difference.res3"] == {"difference.res2", "image.res2"}
    assert found["output"] == {"image.classifier", "difference.classifier"}


def test_a_block_is_drawn_with_its_shortcut() -> None:
    found = reads("tdn", "res3.0")
    assert found["after_conv1.long_term"] == {"conv1"}
    assert (found["shortcut"], found["output"]) == ({"input"}, {"conv3", "shortcut"})
