"""What is read off the source without torch is what `tdn_model.build` accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.networks import SHARED_OPTIONS, Catalogue
from tdn_model.build import MODELS, options

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("architecture", MODELS)
def test_a_networks_options_are_its_factorys_keyword_arguments(architecture: str) -> None:
    expected = sorted([*options(architecture), *SHARED_OPTIONS])
    assert Catalogue(ROOT).options(architecture) == expected
