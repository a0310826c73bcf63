from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ManifestError, UsageError
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage import resolve_plans as plan
from pipeline.schema.experiments import load_experiments
from pipeline.schema.profiles import load_profile
from pipeline.schema.recipes import load_recipes
from stages.graph import typed_plan
from stages.networks import Catalogue
from tests.checkout import Checkout, copy_to

ROWS = "manifests/experiments.yaml"
FULL = "tdn_r50_8f_ssv1"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return copy_to(tmp_path)


def plans(checkout: Checkout, profile: str = "mini") -> dict[str, dict[str, Any]]:
    found = plan.resolve(Workspace(checkout.root, profile), Catalogue(checkout.root))
    return {
        f"{stage}.{key}": {"params": value["params"], "code": value["code"]}
        for (stage, key), value in found.items()
    }


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The plans of `mini` of a copy that nobody edited."""
    return plans(copy_to(tmp_path_factory.mktemp("before")))


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_one_rows_edit_reaches_that_row_alone(checkout: Checkout, before: dict[str, Any]) -> None:
    row = "tdn_r50_8f_ssv1_stdm_mul"
    checkout.edit(ROWS, "s_tdm_fusion: mul", "s_tdm_fusion: res_channel")
    own = {f"{stage}.{row}" for stage in ("train", "predict", "score")}
    assert changed(before, plans(checkout)) == {*own, "cost.all"}


def test_comments_and_order_reach_nothing(checkout: Checkout, before: dict[str, Any]) -> None:
    checkout.edit(ROWS, "experiments:\n", "# a remark\nexperiments:\n")
    checkout.edit(
        "manifests/recipes.yaml",
        "    epochs: 50\n    batch: 128\n",
        "    batch: 128\n    epochs: 50\n",
    )
    checkout.edit("tdn_model/models/tdn.py", "\nclass ", "\n# a remark\nclass ")
    assert changed(before, plans(checkout)) == set()


def test_remarks_on_rows_and_data_sets_reach_nothing(
    checkout: Checkout, before: dict[str, Any]
) -> None:
    checkout.edit(ROWS, "note: torchvision", "note: as we know, torchvision")
    checkout.edit("manifests/datasets/ssv1.yaml", "\nquirks:.*", "\nquirks: []\n")
    assert changed(before, plans(checkout)) == set()


def test_a_changed_module_reaches_the_rows_that_use_it(
    checkout: Checkout, before: dict[str, Any]
) -> None:
    for module in ("models/tdn", "layers/tdm"):
        checkout.edit(f"tdn_model/{module}.py", r"(\n    def __init__\()", r"\n    extra = 1\1")
        reached = changed(before, plans(checkout))
        for stage in ("train", "predict"):
            assert f"{stage}.{FULL}" in reached
            others = {f"{stage}.{name}_r50_8f_ssv1" for name in ("tsn", "tconv", "tsm")}
            assert not reached & others


def test_a_reporting_change_trains_nothing(checkout: Checkout, before: dict[str, Any]) -> None:
    checkout.edit(
        "pipeline/reporting/report_view.py", r"(\ndef \w+\([^)]*\)[^:]*:\n)", r"\1    str(1)\n"
    )
    assert changed(before, plans(checkout)) == {"report.all"}


def test_what_no_stage_can_run_reaches_nothing(checkout: Checkout, before: dict[str, Any]) -> None:
    path = checkout.root / "tdn_model/models/tdn.py"
    path.write_text(path.read_text("utf-8") + "\n\ndef unused():\n    return 1\n", "utf-8")
    assert changed(before, plans(checkout)) == set()


def test_a_moved_module_reaches_nothing_and_is_found_where_it_is(
    checkout: Checkout, before: dict[str, Any]
) -> None:
    work = Workspace(checkout.root)
    plan.write(work, plan.resolve(work, Catalogue(checkout.root)))
    old, new = "pipeline/clips/crops.py", "pipeline/clips/cropping.py"
    (checkout.root / old).rename(checkout.root / new)
    for path in [*checkout.root.glob("pipeline/**/*.py"), *checkout.root.glob("stages/**/*.py")]:
        text = path.read_text("utf-8")
        path.write_text(text.replace("pipeline.clips.crops", "pipeline.clips.cropping"), "utf-8")
    assert changed(before, plans(checkout)) == set()
    assert plan.write(work, plan.resolve(work, Catalogue(checkout.root))) == 0
    planned = [json.loads(path.read_text()) for path in (work.data / "code").glob("*.json")]
    files = {file for parts in planned for file in parts}
    assert new in files and old not in files


@pytest.mark.parametrize("name", ["report.css", "report.html.j2", "trace.html.j2"])
def test_a_template_reaches_the_report_alone(
    checkout: Checkout, name: str, before: dict[str, Any]
) -> None:
    path = checkout.root / "pipeline/reporting/templates" / name
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    assert changed(before, plans(checkout)) == {"report.all"}


def test_a_removed_row_leaves_no_plan(checkout: Checkout) -> None:
    work = Workspace(checkout.root)
    plan.write(work, plan.resolve(work, Catalogue(checkout.root)))
    row = "tdn_r50_8f_ssv1_stdm_mul"
    assert work.plan("train", row).is_file()
    checkout.edit(ROWS, rf"  {row}:\n.*?(?=  \w+:\n    base)", "")
    plan.write(work, plan.resolve(work, Catalogue(checkout.root)))
    assert not list((work.data / "plan").glob(f"*{row}*"))


def test_writing_the_same_plans_again_changes_nothing(checkout: Checkout) -> None:
    work = Workspace(checkout.root)
    found = plan.resolve(work, Catalogue(checkout.root))
    assert plan.write(work, found) == len(found)
    assert plan.write(work, found) == 0


@pytest.mark.parametrize("profile", ["mini", "paper", "local", "gpu", "long"])
def test_every_profile_resolves(checkout: Checkout, profile: str) -> None:
    assert any(key.startswith("train.") for key in plans(checkout, profile))


GPU = "manifests/profiles/gpu.yaml"


def test_a_profile_of_some_rows_plans_those_alone(checkout: Checkout) -> None:
    chosen = load_profile(checkout.root / "manifests", "gpu").rows
    found = plans(checkout, "gpu")
    assert {key for key in found if key.startswith("train.")} == {f"train.{row}" for row in chosen}
    assert found["tables.all"]["params"]["rows"] == [
        row for row in plans(checkout)["tables.all"]["params"]["rows"] if row in chosen
    ]


def test_a_profiles_miniature_size_reaches_that_profile_alone(checkout: Checkout) -> None:
    mini, gpu = plans(checkout), plans(checkout, "gpu")
    checkout.edit(GPU, r"clips_per_class: \d+", "clips_per_class: 7")
    assert changed(mini, plans(checkout)) == set()
    # The raw data, what is expected of them, what tells of them, and scores, whose clusters are the
    # scenes; rows follow the store.
    scores = {key for key in gpu if key.startswith("score.")}
    assert changed(gpu, plans(checkout, "gpu")) == scores | {
        "mini.ssv1",
        "check.ssv1",
        "decode.ssv1",
        "figures.all",
    }


@pytest.mark.parametrize(
    ("pattern", "replacement", "what", "hint"),
    [
        ("  - tsn_r50_8f_ssv1", "  - tsn_r50_8f_ssv11", "unknown", "'tsn_r50_8f_ssv1'"),
        (
            "  - tsn_r50_8f_ssv1\n",
            "  - tsn_r50_8f_ssv1\n  - tsn_r50_8f_ucf101_s1\n",
            "starts from tsn_r50_8f_kinetics400",
            "add tsn_r50_8f_kinetics400",
        ),
        ("generated: true", "generated: false", "does not generate", ""),
        (r"224: \d+, ", "", "no size for the papers' 224 px", "add 224"),
        ("flow: \\[\\]\n", "", "flow", ""),  # the graph runs over it
        ("  ssv1:\n    height", "  ssv2:\n    height", "does not generate", ""),
    ],
)
def test_a_profile_that_cannot_run_says_why(
    checkout: Checkout, pattern: str, replacement: str, what: str, hint: str
) -> None:
    checkout.edit(GPU, pattern, replacement)
    with pytest.raises(ManifestError, match=what) as caught:
        plans(checkout, "gpu")
    assert hint in caught.value.do
    assert "profiles/gpu.yaml" in caught.value.where


def test_only_generated_data_are_kept_below_the_profile(tmp_path: Path) -> None:
    work = Workspace(tmp_path, "mine")
    assert work.raw("ssv1", generated=True) == tmp_path / "data/mine/raw/ssv1"
    assert work.raw("ssv1", generated=False) == tmp_path / "data/raw/ssv1"


def test_a_new_generated_profile_needs_no_code(checkout: Checkout) -> None:
    text = (checkout.root / GPU).read_text("utf-8")
    for name, refused in (("mine", False), ("raw", True)):
        path = checkout.root / f"manifests/profiles/{name}.yaml"
        path.write_text(text.replace("profile: gpu", f"profile: {name}"), "utf-8")
        if refused:  # its folder would be the user's data/raw
            with pytest.raises(ManifestError, match="no profile is called raw"):
                plans(checkout, name)
        else:
            assert plans(checkout, name)["check.ssv1"]["params"]["generated"]


def test_how_clips_are_loaded_changes_no_plan(checkout: Checkout, before: dict[str, Any]) -> None:
    checkout.edit("manifests/profiles/mini.yaml", "loader: .*?}", "loader: {workers: 3}")
    assert changed(before, plans(checkout)) == set()


def test_what_only_trainings_compute_with_reaches_them_alone_and_only_where_it_is_set(
    checkout: Checkout,
    before: dict[str, Any],
) -> None:
    assert set(before["train.tdn_r50_8f_ssv1"]["params"]["compute"]) == {
        "device", "precision", "threads",
    }  # fmt: skip
    settings = "threads: 1\n  micro_batch: 4\n  workers: 2\n  recompute: false"
    checkout.edit("manifests/profiles/mini.yaml", "threads: 1", settings)
    after = plans(checkout)
    stages = {name.partition(".")[0] for name in changed(before, after)}
    assert stages == {"train", "score"}, "scores carry the identity of a training"
    compute = after["train.tdn_r50_8f_ssv1"]["params"]["compute"]
    assert (compute["micro_batch"], compute["workers"]) == (4, 2)
    assert "recompute" not in compute


def test_a_plan_is_read_back_as_it_was_resolved(checkout: Checkout) -> None:
    work = Workspace(checkout.root)
    resolved = plan.resolve_typed(work, Catalogue(checkout.root))
    plan.write(work, plan.resolve(work, Catalogue(checkout.root)))
    for (stage, key), model in resolved.items():
        assert typed_plan(work, stage, key) == model, (stage, key)


def test_a_plan_of_another_version_says_what_to_run(checkout: Checkout) -> None:
    work = Workspace(checkout.root)
    write_json(work.plan("score", "row"), {"params": {"rows": []}, "code": {"digest": ""}})
    with pytest.raises(UsageError, match="not a plan of this version") as caught:
        typed_plan(work, "score", "row")
    assert "`tdn plan`" in caught.value.do


def test_a_row_is_the_same_experiment_at_another_scale(checkout: Checkout) -> None:
    mini = plans(checkout)[f"train.{FULL}"]["params"]
    paper = plans(checkout, "paper")[f"train.{FULL}"]["params"]
    assert mini["network"]["options"] == paper["network"]["options"]
    assert mini["network"]["segments"] == paper["network"]["segments"]
    assert mini["smoke"]
    assert not paper["smoke"]
    assert paper["network"]["width"] == 64
    assert paper["recipe"]["epochs"] == 50


def test_mini_has_one_schedule_for_every_kind_of_recipe(checkout: Checkout) -> None:
    manifests = checkout.root / "manifests"
    kinds = {name: recipe.kind for name, recipe in load_recipes(manifests).items()}
    rows = load_experiments(manifests, load_profile(manifests, "mini"))
    found = plans(checkout)
    for name in ("epochs", "batch", "lr", "decay", "weight_decay", "dropout"):
        values = {
            (kinds[row.recipe], found[f"train.{key}"]["params"]["recipe"][name])
            for key, row in rows.items()
        }
        assert len(values) == len(set(kinds.values())), name


def test_rows_that_start_from_each_other_are_refused(checkout: Checkout) -> None:
    checkout.edit(ROWS, "start: tsn_r50_hmdb51_flow", "start: featdiff_r50_hmdb51_flow")
    with pytest.raises(ManifestError, match="start from each other"):
        plans(checkout)


def test_a_row_that_starts_from_a_tsn_takes_its_difference_network_from_images(
    checkout: Checkout,
) -> None:
    found = plans(checkout)
    row = found["train.featdiff_r50_hmdb51_flow_s1"]["params"]["start"]
    assert row == {
        "kind": "row",
        "source": "tsn_r50_hmdb51_flow_s1",
        "images": "images_resnet50",
        "two_stream": True,
        "keep_classifier": True,
        "own_images": True,
    }
    row = found["train.tdn_r50_16f_hmdb51_s1"]["params"]["start"]
    assert row == {
        "kind": "row",
        "source": "tdn_r50_16f_kinetics400",
        "images": None,
        "two_stream": False,
        "keep_classifier": False,
        "own_images": False,
    }


def test_pretraining_prepares_the_backbones_that_rows_start_from(checkout: Checkout) -> None:
    def starts(profile: str) -> dict[str, Any]:
        found = plans(checkout, profile).items()
        return {key: plan["params"] for key, plan in found if key.startswith("pretrain.")}

    backbones = {f"pretrain.images_{name}" for name in ("resnet50", "res2net50", "resnet101")}
    assert set(starts("mini")) == backbones | {"pretrain.scratch"}
    assert starts("paper")["pretrain.images_resnet101"]["kind"] == "imagenet"
    assert set(starts("local")) == {"pretrain.scratch"}


@pytest.mark.parametrize(
    ("pattern", "replacement", "hint"),
    [
        ("dataset: ssv1", "dataset: ssv11", "did you mean 'ssv1'?"),
        ("architecture: tdn", "architecture: tdnn", "did you mean 'tdn'?"),
        ("backbone: resnet50", "backbone: resnet51", "did you mean 'resnet50'?"),
        ("recipe: tdn_sthsth_8f_paper", "recipe: tdn_sthsth_paper", "tdn_sthsth_8f_paper"),
        (r"\[center_1x1\]", "[center_1x2]", "center_1x"),
        ("s_tdm_fusion: mul", "s_tdm_fuson: mul", "did you mean 's_tdm_fusion'?"),
        ("fold: '1'", "fold: '4'", "'1'|valid"),
        ("segments: 8", "segmets: 8", "did you mean 'segments'?"),
        ("start: images", "start: image", "did you mean 'images'?"),
        ("input: frames", "input: flow", "act|hmdb51"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(
    checkout: Checkout, pattern: str, replacement: str, hint: str
) -> None:
    checkout.edit(ROWS, pattern, replacement)
    with pytest.raises(UsageError) as caught:
        plans(checkout)
    assert caught.value.exit_code == 2
    assert caught.value.where.startswith("manifests/experiments.yaml")
    assert any(option in caught.value.do for option in hint.split("|"))


def test_a_row_key_that_dvc_cannot_address_is_refused(checkout: Checkout) -> None:
    checkout.edit(ROWS, "  tsn_r50_8f_ssv1:", "  tsn.r50-8f:")
    with pytest.raises(ManifestError, match=r"tsn\.r50-8f"):
        plans(checkout)


def test_an_unknown_profile_is_told_with_the_nearest(checkout: Checkout) -> None:
    with pytest.raises(UsageError, match="unknown profile 'minni'") as caught:
        plans(checkout, "minni")
    assert "mini" in caught.value.do


def test_float16_is_for_training_alone(checkout: Checkout, before: dict[str, Any]) -> None:
    checkout.rewrite(
        "manifests/profiles/mini.yaml", lambda value: value["compute"].update(precision="float16")
    )
    after = plans(checkout)
    row = "tsn_r50_8f_ssv1"
    assert after[f"train.{row}"]["params"]["compute"]["precision"] == "float16"
    assert after[f"predict.{row}"] == before[f"predict.{row}"]


def test_frozen_batch_norms_and_synchronised_ones_exclude_each_other(checkout: Checkout) -> None:
    checkout.rewrite(
        "manifests/profiles/mini.yaml",
        lambda value: value["compute"].update(sync_bn=True, workers=2),
    )
    with pytest.raises(ManifestError, match="freezes batch norms, and the profile has sync_bn"):
        plans(checkout)


def test_a_trial_that_runs_keeps_its_plans(checkout: Checkout) -> None:
    work = Workspace(checkout.root)
    documents = plan.resolve(work, Catalogue(checkout.root))
    plan.write(work, documents)
    trial, gone = (work.plan("train", key) for key in ("row@recipe-epochs-2", "row"))
    for path in (trial, gone):
        path.write_text("{}", "utf-8")
    assert plan.write(work, documents) == 1
    assert trial.is_file() and not gone.exists()
