"""Manifests of the user's own: written whole or not at all, seen by every loader."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ManifestError, UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.resolve_plans import resolve_typed
from pipeline.schema.base import read_yaml
from pipeline.schema.dataset import load_dataset
from pipeline.schema.profiles import load_profile
from stages import plan, profile_graph
from stages.commands import new_dataset
from stages.networks import Catalogue
from tests.checkout import ROOT
from tests.e2e.test_published_checkpoint import released
from tests.pipeline.sources.test_own_videos import put, tree


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    """Profile `my` of an empty project with the tracked manifests."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "manifests").symlink_to(ROOT / "manifests")
    (root / "dvc.yaml").symlink_to(ROOT / "dvc.yaml")
    return Workspace(root, "my")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return tree(tmp_path / "Gestures 2")


@pytest.mark.parametrize("full", [False, True])
def test_the_plans_of_what_is_written_resolve(work: Workspace, videos: Path, full: bool) -> None:
    made = new_dataset.run(work, videos, None, full=full)
    assert made.name == "gestures_2"
    plans = resolve_typed(work, Catalogue(ROOT))
    for name in made.rows:
        for stage in ("train", "predict", "score"):
            assert (stage, name) in plans
    assert (("pretrain", "images_resnet50") in plans) == full
    assert work.raw(made.name, generated=False).joinpath("videos/clap/0.mp4").is_file()


def test_a_row_may_start_from_published_weights(work: Workspace, videos: Path) -> None:
    file = videos.parent / "tdn_kinetics.pth.tar"
    released(file, "tdn", width=12, num_classes=7)
    made = new_dataset.run(work, videos, None, full=False, checkpoint=file)
    assert made.rows[-1] == "tdn_from_weights_gestures_2" and len(made.rows) == 4
    assert (work.root / "data/weights/tdn_kinetics.pth.tar").resolve() == file.resolve()
    plans = resolve_typed(work, Catalogue(ROOT))
    given: Any = plans["train", "tdn_weights_gestures_2"]
    assert given.checkpoint.classifier == "new" and given.checkpoint.sha256
    trained: Any = plans["train", made.rows[-1]]
    assert trained.network == given.network
    start = trained.start
    assert (start.source, start.imported, start.keep_classifier) == (given.row, True, True)
    table = read_yaml(work.root / "my/tables/my_gestures_2.yaml")["rows"]["from_weights"]
    assert table == {"label": "TDN, from tdn_kinetics.pth.tar", "run": made.rows[-1]}


def test_weights_that_fit_no_network_of_the_scale_are_refused_and_nothing_is_written(
    work: Workspace, videos: Path
) -> None:
    file = videos.parent / "tdn_kinetics.pth.tar"
    released(file, "tdn", width=16, num_classes=7)
    with pytest.raises(UsageError, match="its weights fit none of tdn, tsn") as caught:
        new_dataset.run(work, videos, None, full=False, checkpoint=file)
    assert "add --full" in caught.value.do
    assert sorted(path.name for path in work.root.iterdir()) == ["dvc.yaml", "manifests"]
    released(file, "tdn", width=12, num_classes=7)
    put(work.root / "data/weights", file.name)
    with pytest.raises(UsageError, match="other weights of that name") as caught:
        new_dataset.run(work, videos, None, full=False, checkpoint=file)
    assert caught.value.where == f"data/weights/{file.name}"
    assert not (work.root / "my").exists()


def test_tracked_profiles_stay_as_they_are(work: Workspace, videos: Path) -> None:
    local = Workspace(work.root, "local")
    before = resolve_typed(local, Catalogue(ROOT)), profile_graph.derived(local)
    new_dataset.run(work, videos, None, full=False)
    assert (resolve_typed(local, Catalogue(ROOT)), profile_graph.derived(local)) == before


def test_the_graph_depends_on_the_users_files_and_on_shared_ones(
    work: Workspace, videos: Path
) -> None:
    new_dataset.run(work, videos, None, full=False)
    graph = profile_graph.derived(work)[profile_graph.graph_path(work)]
    assert profile_graph.graph_path(work).relative_to(work.root).as_posix() == (
        "my/profiles/my/dvc.yaml"
    )
    lines = {line.strip() for line in graph.splitlines()}
    own = ["tables", "claims.csv", "profiles/${profile}.yaml", "${experiments_file}", "datasets"]
    shared = ["datasets", "recipes.yaml", "protocols.yaml"]
    assert {f"- my/{name}" for name in own} | {f"- manifests/{name}" for name in shared} <= lines
    assert not {f"- manifests/{name}" for name in own[:-1]} & lines
    assert "- ../../../my/${experiments_file}" in lines


def test_a_second_data_set_has_a_profile_of_its_own(work: Workspace, videos: Path) -> None:
    new_dataset.run(work, videos, None, full=False)
    with pytest.raises(UsageError, match="a profile my already, of gestures_2") as caught:
        new_dataset.run(work, videos, "again", full=False)
    assert "--profile my_again" in caught.value.do
    other = Workspace(work.root, "my_again")
    new_dataset.run(other, videos, "again", full=False)
    assert load_profile(work.manifests, "my_again").datasets == ["again"]
    assert load_profile(work.manifests, "my").datasets == ["gestures_2"]


@pytest.mark.parametrize(
    ("name", "profile", "words"),
    [
        ("ssv1", "my", "a tracked data set 'ssv1'"),
        ("No Name", "my", "cannot be a data set's name"),
        ("x", "mini", "'mini' is no profile of your own"),
        ("x", "my-own", "'my-own' is no profile of your own"),
    ],
)
def test_names_that_are_taken_or_odd_are_refused_and_nothing_is_written(
    work: Workspace, videos: Path, name: str, profile: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        new_dataset.run(Workspace(work.root, profile), videos, name, full=False)
    assert caught.value.do
    assert sorted(path.name for path in work.root.iterdir()) == ["dvc.yaml", "manifests"]


def test_videos_inside_the_project_are_refused(work: Workspace) -> None:
    place = tree(work.root / "data/raw/mine")
    with pytest.raises(UsageError, match="inside the project") as caught:
        new_dataset.run(work, place, None, full=False)
    assert f"mv {place} .." in caught.value.do
    assert not (work.root / "my").exists()


def test_a_folder_that_is_there_is_kept(work: Workspace, videos: Path) -> None:
    put(work.raw("gestures_2", generated=False), "theirs.mp4")
    with pytest.raises(UsageError, match="the name 'gestures_2' is taken") as caught:
        new_dataset.run(work, videos, None, full=False)
    assert caught.value.where == "data/raw/gestures_2"
    assert not (work.root / "my").exists()


def test_what_fails_on_the_way_leaves_nothing_and_the_same_command_goes_on(
    work: Workspace, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def fails(path: Path, data: bytes) -> None:
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(new_dataset, "write_atomic", fails)
        with pytest.raises(OSError, match="No space"):
            new_dataset.run(work, videos, None, full=False)
    left = [p for top in ("my", "data") for p in (work.root / top).rglob("*") if not p.is_dir()]
    assert len(written) == 4 and left == []
    assert new_dataset.run(work, videos, None, full=False).name == "gestures_2"


def test_a_tracked_data_set_is_never_shadowed(work: Workspace, videos: Path) -> None:
    new_dataset.run(work, videos, None, full=False)
    own = work.root / "my/datasets"
    (own / "ssv1.yaml").write_text((own / "gestures_2.yaml").read_text("utf-8"), "utf-8")
    with pytest.raises(ManifestError, match="two data sets 'ssv1', yours and a tracked one"):
        load_dataset(work.manifests, "ssv1")


@pytest.mark.parametrize("wanted", [None, ("tables", "all")])
def test_a_misspelt_cell_in_ones_own_sentences_is_told_before_anything_runs(
    work: Workspace,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: tuple[str, str] | None,
) -> None:
    monkeypatch.setattr(plan, "Catalogue", lambda _: None)
    monkeypatch.setattr(plan, "resolve", lambda *_: {("tables", "all"): None})
    monkeypatch.setattr(plan, "write", lambda *_: 0)
    new_dataset.run(work, videos, None, full=False)
    profile_graph.use(work)
    path = work.root / "my/prose_claims.csv"
    cells = [f"gestures_2/{name}/top1" for name in ("tdn", "tsm", "tns")]
    sentence = {"prose_id": "my/best", "document": "my", "sentence": "TDN is best.", "place": "x"}
    sentence["kind"] = "ordering"
    with path.open(newline="") as file:
        columns = next(csv.reader(file))

    def write(rule: str) -> None:
        with path.open("w", newline="") as file:
            lines = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            lines.writeheader()
            lines.writerow({**sentence, "ours": rule})

    write(f"'{cells[0]}' > '{cells[1]}'")
    plan.run(work, wanted)
    write(f"'{cells[0]}' > '{cells[2]}'")
    with pytest.raises(ManifestError, match="my/gestures_2/tns/top1") as caught:
        plan.run(work, wanted)
    assert "did you mean" in caught.value.do and "my/best" in caught.value.where


def test_without_a_profile_of_ones_own_the_remedy_is_the_command(work: Workspace) -> None:
    with pytest.raises(UsageError, match="no profile my of your own yet") as caught:
        load_profile(work.manifests, "my")
    assert "`tdn new-dataset DIR --profile my`" in caught.value.do
