"""The whole pipe under DVC, on a miniature of the miniature: what re-runs, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.checkout import Checkout, copy_to

pytestmark = pytest.mark.slow

ROWS = "manifests/experiments.yaml"
ROW = """  {key}:
    dataset: ssv1
    input: frames
    start: {start}
    architecture: {architecture}
    backbone: resnet50
    segments: 8
    options: {{}}
    recipe: tsm_sthsth
    protocols: [center_1x1]
"""


def keep(value: dict[str, Any], group: str, name: str) -> Any:
    """Of a group of a manifest leave one entry, and return it."""
    value[group] = {name: value[group][name]}
    return value[group][name]


def one_network_and_figure(checkout: Checkout) -> None:
    """Counting all networks, and drawing all figures, takes longer than everything else."""
    checkout.rewrite(
        "manifests/models.yaml",
        lambda value: (keep(value, "networks", "tsn_8f"), value["ensembles"].clear()),
    )
    checkout.rewrite(
        "manifests/figures.yaml", lambda value: keep(value, "figures", "training_modules")
    )


def shrink(checkout: Checkout) -> None:
    """Three rows on a few clips of one data set, a network four channels wide, one epoch; one
    starts from images, one from scratch, one from the first."""
    rows = "".join(
        ROW.format(key=f"{name}_r50_8f_ssv1", architecture=name, start=start)
        for name, start in (("tsn", "images"), ("tconv", "scratch"))
    )
    rows += ROW.format(key="tsn_r50_8f_ssv1_again", architecture="tsn", start="tsn_r50_8f_ssv1")
    (checkout.root / ROWS).write_text("experiments:\n" + rows, "utf-8")
    one_network_and_figure(checkout)

    def profile(value: dict[str, Any]) -> None:
        value.update(datasets=["ssv1"], flow=[])
        keep(value, "backbones", "resnet50")["width"] = 4
        value["images"].update(images=80, epochs=1)
        value["schedules"]["from_images"]["epochs"] = 1

    checkout.rewrite("manifests/profiles/mini.yaml", profile)
    miniature = "manifests/miniatures/ssv1.yaml"
    path = checkout.root / miniature
    classes = path.read_text("utf-8").count("forward:") * 2
    checkout.edit(miniature, r"(?m)^frames: \d+", "frames: 14")
    for split, clips in (("train", 2), ("validation", 2), ("test", 1)):
        checkout.edit(miniature, rf"({split}: {{clips_per_class: )\d+", rf"\g<1>{clips}")
    checkout.edit(
        miniature,
        r"expected: {[^}]*}",
        f"expected: {{train: {2 * classes}, validation: {2 * classes}, test: {classes}}}",
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = copy_to(tmp_path_factory.mktemp("graph"))
    shrink(made)
    assert made.run("profile", "use", "mini").returncode == 0
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-qm", "start")
    # Driven side by side here; that DVC then has nothing to do is the first test.
    done = made.run("repro", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def repro(checkout: Checkout, *targets: str) -> set[str]:
    """`dvc repro`; returns the stages that ran."""
    done = checkout.run("repro", *targets, module="dvc")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    ran = [line.split("'")[1] for line in lines if line.startswith("Running stage '")]
    return {name.rpartition(":")[2] for name in ran}


def test_a_second_run_does_nothing_and_status_is_clean(checkout: Checkout) -> None:
    assert repro(checkout) == set()
    status = checkout.run("status", module="dvc")
    assert "up to date" in status.stdout


def test_the_tables_and_the_report_are_there(checkout: Checkout) -> None:
    metrics = json.loads((checkout.root / "reports/mini/metrics/tsn_r50_8f_ssv1.json").read_text())
    assert metrics["smoke"] is True
    found = metrics["protocols"]["center_1x1"]
    assert found["n_expected"] == found["n_scored"] > 0
    table = (checkout.root / "reports/mini/tables/tdn-iclr2021/1d.csv").read_text("utf-8")
    assert "smoke" in table
    page = (checkout.root / "reports/mini/index.html").read_text("utf-8")
    assert str(checkout.root) not in page
    assert "https://" not in page.replace("https://www.w3.org", "")


def test_dry_run_and_targets_find_nothing_to_do(checkout: Checkout) -> None:
    dry = checkout.run("repro", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "")
    one = checkout.run("repro", "tsn_r50_8f_ssv1", "ssv1")
    assert one.returncode == 0
    assert "tsn_r50_8f_ssv1, ssv1: up to date" in one.stderr


def test_dvc_shows_what_an_edit_changes_and_what_was_measured(checkout: Checkout) -> None:
    path = checkout.root / ROWS
    text = path.read_text("utf-8")
    checkout.git("add", "-A", "-f", "manifests")
    checkout.git("commit", "-qm", "rows", "--allow-empty")
    checkout.edit(ROWS, "segments: 8", "segments: 16")
    try:
        shown = checkout.run("params", "diff", module="dvc").stdout
        assert "experiments.tsn_r50_8f_ssv1.segments" in shown
        before = checkout.files()
        dry = checkout.run("repro", "--dry-run")
        assert "train@tsn_r50_8f_ssv1\n" in dry.stdout, dry.stderr
        assert "train@tconv_r50_8f_ssv1" not in dry.stdout
        assert checkout.files() == before, "a dry run writes nothing, no plan either"
    finally:
        path.write_text(text, "utf-8")
        repro(checkout)
    metrics = checkout.run("metrics", "show", module="dvc").stdout
    assert "tsn_r50_8f_ssv1" in metrics
    plots = checkout.run("plots", "show", module="dvc")
    assert plots.returncode == 0, plots.stderr
    assert "failed to load" not in plots.stdout + plots.stderr


def test_a_comment_runs_only_the_plan(checkout: Checkout) -> None:
    path = checkout.root / "tdn_model/models/tsn.py"
    text = path.read_text("utf-8")
    path.write_text(text + "\n# a remark\n", "utf-8")
    try:
        assert repro(checkout) == {"plan"}
    finally:
        path.write_text(text, "utf-8")
        repro(checkout)


def test_switching_profiles_re_runs_nothing_and_dirties_nothing(checkout: Checkout) -> None:
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "mini is done")
    used = checkout.run("profile", "use", "local")
    assert used.returncode == 0, used.stderr
    graph = used.stdout.split()[-1]
    ran = repro(checkout, f"{graph}:check@weizmann", f"{graph}:decode@weizmann")
    assert "decode@weizmann" in ran, "absent data is an outcome"
    assert repro(checkout) == set()
    assert repro(checkout, f"{graph}:decode@weizmann") == set()
    dropped = checkout.run("profile", "drop", "local")
    assert dropped.returncode == 0
    assert "up to date" in checkout.run("status", module="dvc").stdout
    dirty = checkout.git("status", "--porcelain", "--untracked-files=no").splitlines()
    assert dirty == []


def test_editing_one_row_runs_that_row_the_tables_and_the_report(checkout: Checkout) -> None:
    checkout.edit(
        ROWS, "architecture: tconv(.*?)options: {}", r"architecture: tconv\1options: {stages: [5]}"
    )
    row = "tconv_r50_8f_ssv1"
    ran = repro(checkout)
    assert {f"train@{row}", f"predict@{row}"} <= ran
    allowed = {f"{stage}@{row}" for stage in ("train", "predict", "score")}
    assert ran <= allowed | {"plan", "cost", "tables", "figures", "report"}


def test_a_row_that_others_start_from_takes_them_along_and_a_removed_row_none(
    checkout: Checkout,
) -> None:
    checkout.edit(ROWS, r"  tconv_r50_8f_ssv1:.*?(?=  tsn_r50_8f_ssv1_again)", "")
    stopped = checkout.run("repro", module="dvc")
    assert "run `tdn profile use mini`, then the same command again" in stopped.stderr
    assert checkout.run("profile", "use", "mini").returncode == 0
    alone = checkout.run("repro", "--dry-run")
    assert "tables" in alone.stdout and "@" not in alone.stdout, alone.stdout + alone.stderr
    checkout.edit(ROWS, "options: {}", "options: {}\n    seed: 1")
    ran = repro(checkout)
    trained = {name for name in ran if name.startswith("train@")}
    assert trained == {"train@tsn_r50_8f_ssv1", "train@tsn_r50_8f_ssv1_again"}
    assert not [name for name in ran if "tconv" in name]
    cells = (checkout.root / "reports/mini/tables/cells.json").read_text("utf-8")
    table = (checkout.root / "reports/mini/tables/tdn-iclr2021/1d.csv").read_text("utf-8")
    line = next(line for line in table.splitlines() if line.startswith("tconv"))
    assert "smoke" not in line
    measured = [
        cell
        for key, cell in json.loads(cells)["cells"].items()
        if key.endswith("/1d/tconv/top1") and cell.get("measured") is not None
    ]
    assert measured == []
