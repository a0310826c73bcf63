"""What decides a row's result besides seeds, code and machine."""

from __future__ import annotations

import pytest

from pipeline.core.workspace import Workspace
from pipeline.lineage.resolve_plans import resolve_typed
from pipeline.schema.plan_models import ScorePlan
from stages.networks import Catalogue
from tests.checkout import Checkout, copy_to

FIRST, SECOND = "tdn_r50_16f_kinetics400", "tdn_r50_16f_ucf101_s1"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return copy_to(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def before(checkout: Checkout) -> dict[str, str]:
    return identities(checkout)


def identities(checkout: Checkout, profile: str = "mini") -> dict[str, str]:
    plans = resolve_typed(Workspace(checkout.root, profile), Catalogue(checkout.root))
    found = {}
    for plan in plans.values():
        if isinstance(plan, ScorePlan):
            found[plan.row] = plan.identity
    return found


def with_edit(checkout: Checkout, path: str, old: str, new: str) -> dict[str, str]:
    text = (checkout.root / path).read_text("utf-8")
    checkout.edit(path, old, new)
    try:
        return identities(checkout)
    finally:
        (checkout.root / path).write_text(text, "utf-8")


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {row for row in before if before[row] != after[row]}


def test_seeds_and_how_often_leave_it(checkout: Checkout, before: dict[str, str]) -> None:
    profile = "manifests/profiles/mini.yaml"
    assert with_edit(checkout, profile, r"\nseed: 0\n", r"\nseed: 9\n") == before
    assert with_edit(checkout, profile, r"\nseeds: 1\n", r"\nseeds: 4\n") == before


def test_another_profile_of_the_same_scale_has_the_same(
    checkout: Checkout, before: dict[str, str]
) -> None:
    long = identities(checkout, "long")
    assert long and {row: before[row] for row in long} == long


@pytest.mark.parametrize(
    ("path", "old", "new", "rows"),
    [
        ("manifests/profiles/mini.yaml", r"lr: 0\.05, seed", "lr: 0.04, seed", {FIRST, SECOND}),
        ("manifests/miniatures/ucf101.yaml", r"noise: \d", "noise: 9", {SECOND}),
        ("manifests/recipes.yaml", r"(tdn_finetune:[^§]*?momentum:) 0\.9", r"\1 0.8", {SECOND}),
    ],
)
def test_a_start_a_clip_and_a_recipe_are_part_of_it(
    checkout: Checkout, before: dict[str, str], path: str, old: str, new: str, rows: set[str]
) -> None:
    assert changed(before, with_edit(checkout, path, old, new)) & {FIRST, SECOND} == rows


def test_code_is_no_part_of_it(checkout: Checkout, before: dict[str, str]) -> None:
    edit = ("stages/trainer/training_run.py", "PATIENCE = 3", "PATIENCE = 4")
    assert with_edit(checkout, *edit) == before
