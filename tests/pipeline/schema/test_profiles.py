"""Profiles: what a small one replaces in a recipe, and the seed that repeats everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import ManifestError
from pipeline.core.workspace import Workspace
from pipeline.lineage.resolve_plans import resolve_typed
from pipeline.schema.plan_models import PretrainPlan, TrainPlan
from pipeline.schema.profiles import load_profile, write_seed
from pipeline.schema.recipes import load_recipes
from stages.networks import Catalogue
from tests.checkout import Checkout, copy_to

MINI = "manifests/profiles/mini.yaml"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return copy_to(tmp_path)


def test_a_seed_is_written_once_and_leaves_every_other_line(checkout: Checkout) -> None:
    manifests, path = checkout.root / "manifests", checkout.root / MINI
    before = path.read_text("utf-8")
    line = write_seed(manifests, "mini", 7)
    assert line == f"{MINI}: seed 0 -> 7 (`git checkout {MINI}` takes it back)"
    assert load_profile(manifests, "mini").seed == 7
    assert path.read_text("utf-8") == before.replace("\nseed: 0\n", "\nseed: 7\n")
    assert write_seed(manifests, "mini", 7) == ""


@pytest.mark.parametrize("line", ["", "seed : 0\n", "seed:\n  0\n"])
def test_a_seed_that_is_written_otherwise_is_left_to_its_user(
    checkout: Checkout, line: str
) -> None:
    checkout.edit(MINI, r"(?m)^seed: 0\n", line)
    before = (checkout.root / MINI).read_bytes()
    with pytest.raises(ManifestError, match="0 lines `seed: NUMBER`"):
        write_seed(checkout.root / "manifests", "mini", 3)
    assert (checkout.root / MINI).read_bytes() == before


def test_a_remark_behind_the_seed_stays(checkout: Checkout) -> None:
    checkout.edit(MINI, r"(?m)^seed: 0\n", "seed: 0  # the first\r\n")
    write_seed(checkout.root / "manifests", "mini", 3)
    assert b"\nseed: 3  # the first\r\n" in (checkout.root / MINI).read_bytes()


def test_the_seed_reaches_every_training_and_image_pretraining(checkout: Checkout) -> None:
    work, networks = Workspace(checkout.root), Catalogue(checkout.root)
    before = resolve_typed(work, networks)
    write_seed(work.manifests, "mini", 7)
    after = resolve_typed(work, networks)
    for key, plan in after.items():
        earlier = before[key]
        if isinstance(plan, TrainPlan) and isinstance(earlier, TrainPlan):
            assert plan.seed == earlier.seed + 7
    images, earlier = after["pretrain", "images_resnet50"], before["pretrain", "images_resnet50"]
    assert isinstance(images, PretrainPlan) and isinstance(earlier, PretrainPlan)
    assert images.stills is not None and earlier.stills is not None
    assert images.stills.seed == earlier.stills.seed + 7


def test_rows_of_one_kind_share_what_the_schedule_sets_and_keep_the_rest() -> None:
    manifests = Path(__file__).resolve().parents[3] / "manifests"
    mini, recipes = load_profile(manifests, "mini"), load_recipes(manifests)
    shared = {
        (s.flip, s.crop, s.group_rates, s.epochs, s.batch, s.lr)
        for recipe in recipes.values()
        if recipe.kind == "from_images"
        for s in [mini.scaled(recipe)]
    }
    assert len(shared) == 1
    kept = {mini.scaled(recipe).sampling for recipe in recipes.values()}
    assert kept == {"segments_random", "dense"}
    corners = mini.scaled(recipes["featdiff_hmdb51_rgb"])
    assert (corners.crop, corners.group_rates) == ("corners", "tsn")


def test_an_unknown_crop_of_a_schedule_is_refused(checkout: Checkout) -> None:
    checkout.edit(MINI, "crop: short_side_jitter", "crop: shortside")
    with pytest.raises(ManifestError, match="short_side_jitter"):
        load_profile(checkout.root / "manifests", "mini")
