"""The list of networks: what each costs at its paper's input, beside the printed number."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import ManifestError, UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.claims import load_claims
from pipeline.schema.network_list import Models, load_models
from stages.commands.list_networks import Line, lines, run
from tdn_model.build import MODELS

ROOT = Path(__file__).resolve().parents[3]

KNOWN = {  # key: (parameters in millions, 10⁹ multiply-adds of the clips that a row prints)
    "i3d_r50_32f": (27.58, 304.94),
    "i3d_3x1x1_8f": (32.99, 47.70),
    "nl_i3d_r50_32f": (34.94, 441.72),
    "nl_i3d_gcn_r50_32f": (38.70, 459.46),
    "nl_i3d_r50_128f": (35.40, 281.52),
    "slowonly_r50_8f": (32.45, 41.74),
    "slowonly_r50_8f_256": (32.45, 54.52),
    "slowfast_r50_8x8": (34.57, 65.71),
    "slowfast_r101_nl_16x8": (60.08, 233.96),
    "r2plus1d_r34_32f": (63.70, 152.36),
    "i3d_inceptionv1_64f": (12.70, 111.15),
    "s3d_64f": (8.32, 71.92),
    "s3d_g_64f": (9.55, 71.92),
    "artnet_r18_16f": (39.67, 25.69),
    "eco_16f": (47.15, 64.41),
    "eco_en_lite_92f": (149.53, 267.30),
    "tsn_inceptionv3": (22.61, 2.84),
    "c3d_16f": (78.41, 38.55),
    "res3d_r18_16f": (33.22, 40.70),
    "p3d_r50_16f": (25.13, 8.44),
}


@pytest.fixture(scope="module")
def listed() -> list[Line]:
    return run(Workspace(ROOT))


@pytest.mark.slow
def test_networks_cost_what_is_known(listed: list[Line]) -> None:
    found = {line.key: (line.params / 1e6, line.gmacs) for line in listed}
    for key, (params, gmacs) in KNOWN.items():
        assert found[key] == (pytest.approx(params, abs=0.006), pytest.approx(gmacs, abs=0.006)), (
            key
        )


@pytest.mark.slow
def test_every_printed_cost_is_listed_and_a_difference_has_its_reason(listed: list[Line]) -> None:
    places = {f"{line.place}/flops" for line in listed if line.place}
    claims = load_claims(ROOT / "manifests" / "claims.csv")
    assert places == {key for key, claim in claims.items() if claim.unit == "gflops"}
    for line in listed:
        assert line.within is not False or line.note, f"{line.key}: {line.difference_pct:+.1f} %"


def test_every_network_of_the_package_is_listed() -> None:
    models = manifest()
    assert {network.architecture for network in models.networks.values()} == set(MODELS)


def test_an_ensemble_has_a_line_per_printed_number() -> None:
    printed = {"tdn-iclr2021/2/tdn_8f_16f/flops": 108.0, "tdn-iclr2021/3/tdn_8f_16f/flops": 100.0}
    costs = {"tdn_8f_16f": {"params": 14, "gmacs": 108.0, "input": "8 × 224² + 16 × 224²"}}
    first, second = lines(manifest(), costs, printed, ["tdn_8f_16f"])
    assert (first.params, first.gmacs, first.architecture) == (14, 108.0, "tdn")
    assert (first.within, second.within) == (True, False)
    assert second.difference_pct == pytest.approx(8.0)
    assert second.place == "tdn-iclr2021/3/tdn_8f_16f"


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown network 'slowfats'"):
        run(Workspace(ROOT), ["slowfats"])
    text = (ROOT / "manifests" / "models.yaml").read_text(encoding="utf-8")
    (tmp_path / "models.yaml").write_text(text.replace("2/eco/", "2/echo/"), encoding="utf-8")
    with pytest.raises(ManifestError, match="claim of eco_16f: unknown"):
        load_models(tmp_path, list(load_claims(ROOT / "manifests" / "claims.csv")))


def manifest() -> Models:
    return load_models(ROOT / "manifests", list(load_claims(ROOT / "manifests" / "claims.csv")))
