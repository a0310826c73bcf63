"""`tdn store push` and `pull`: one machine decodes, another trains."""

from __future__ import annotations

import errno
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.core.errors import AbsentData, StoreError, TdnError, UsageError
from pipeline.core.files import files_below, is_scratch, read_json
from pipeline.core.remote_files import RemoteFiles
from pipeline.core.workspace import Workspace
from pipeline.store.index import read_index
from stages import plan, profile_graph
from stages.commands.share_stores import _side_by_side, pull, push
from stages.driver import dvc_record
from tests.checkout import Checkout, copy_to
from tests.e2e.test_graph import ROW as LINES
from tests.e2e.test_graph import keep, one_network_and_figure
from tests.e2e.test_published_checkpoint import run
from tests.pipeline import samples

ROW = "tsn_r50_8f_ssv1"
LABELS = ["Holding something", "Pushing something"]
DONE = {"plan", "check@ssv1", "decode@ssv1", "flow@ssv1"}
SHARED = ("data/paper/sources", "data/paper/decoded", "data/paper/frames", "data/paper/flow")


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout with seven videos in three shards, their flow, and what DVC knows of them."""
    made = copy_to(tmp_path_factory.mktemp("decoded") / "checkout")
    one_network_and_figure(made)

    def profile(value: dict[str, Any]) -> None:
        value.update(rows=[ROW], datasets=["ssv1"], flow=["ssv1"], sizes_px={224: 48, 256: 54})
        keep(value, "backbones", "resnet50").update(width=4, blocks=[1, 1, 1, 1])
        value["flow_policy"].update(scales=1, warps=1, inner_iterations=1, outer_iterations=1)
        value["loader"].update(workers=0)
        value["compute"].update(device="cpu")

    def dataset(value: dict[str, Any]) -> None:
        value.update(num_classes=2, expected={"train": 4, "validation": 3}, flip_pairs=[])
        value["decode"]["videos_per_shard"] = 3

    made.rewrite("manifests/profiles/paper.yaml", profile)
    made.rewrite("manifests/datasets/ssv1.yaml", dataset)
    made.rewrite(
        "manifests/recipes.yaml", lambda value: value["recipes"]["tsm_sthsth"].update(epochs=1)
    )
    rows = LINES.format(key=ROW, architecture="tsn", start="scratch")
    (made.root / "manifests/experiments.yaml").write_text(f"experiments:\n{rows}", "utf-8")
    work = Workspace(made.root, "paper")
    splits = ("train", "train", "train", "train", "validation", "validation", "validation")
    videos = {str(n): (split, LABELS[n % 2], 8 + n) for n, split in enumerate(splits)}
    samples.something_v1(work.raw("ssv1", generated=False), videos, LABELS)
    made.git("init", "-q")
    used = profile_graph.use(work)
    run(work, "check", "decode", "flow", "pretrain")
    dvc_record.record(made.root, used, DONE)
    return work


@pytest.fixture
def url(decoded: Workspace) -> Iterator[str]:
    """Where the data set was pushed to."""
    push(decoded, "memory://lab/stores", [])
    yield "memory://lab/stores"
    fsspec.filesystem("memory").rm("/lab", recursive=True)


@pytest.fixture
def other(decoded: Workspace, tmp_path: Path) -> Workspace:
    """Another machine's checkout of the same commit, with neither videos nor frames."""
    data = shutil.ignore_patterns("data", "reports", "runs", ".tdn")
    shutil.copytree(decoded.root, tmp_path / "checkout", ignore=data)
    return Workspace(tmp_path / "checkout", "paper")


def contents(work: Workspace) -> dict[str, bytes]:
    """Every file of the data set and its records, but locks and what is for people."""
    folders = [*SHARED, "reports/paper/records/check", "reports/paper/records/decode"]
    files = [path for folder in folders for path in files_below(work.root / folder)]
    return {
        work.relative(path): path.read_bytes()
        for path in files
        if path.suffix not in (".csv", ".lock")
    }


@pytest.mark.slow
def test_what_is_pulled_is_no_news_to_dvc_and_a_row_trains_from_it(
    decoded: Workspace, other: Workspace, url: str
) -> None:
    (line,) = pull(other, url, [])
    assert line.startswith("ssv1: ") and line.endswith(" 0 were there")
    assert contents(other) == contents(decoded)
    assert len(list(other.frames("ssv1").glob("*.lmdb"))) == 3
    plan.run(other)
    changed = dvc_record.changed(other.root, "manifests/profiles/paper/dvc.yaml")
    assert not DONE & changed
    run(other, "pretrain", "train")
    assert not other.raw("ssv1", generated=False).exists()
    assert read_json(other.run(ROW) / "train/outcome.json")["status"] == "ok"
    (again,) = pull(other, url, ["ssv1"])
    assert ": 0 pulled" in again
    (pushed,) = push(other, url, [])
    assert ": 0 pushed" in pushed, "and this machine can hand it on"


@pytest.mark.parametrize("error", [SystemExit(9), OSError(errno.ENOSPC, "No space left")])
def test_a_pull_that_is_stopped_leaves_no_half_store_and_goes_on(
    decoded: Workspace,
    other: Workspace,
    url: str,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(self: RemoteFiles, digest: str, path: Path) -> None:
        if path.name in ("shard-00001.lmdb", "index.json"):
            raise error
        get(self, digest, path)

    get = RemoteFiles.get
    monkeypatch.setattr(RemoteFiles, "get", stopped)
    with pytest.raises(type(error)):
        pull(other, url, [])
    with pytest.raises(AbsentData):
        read_index(other.frames("ssv1"))
    assert not other.record("decode", "ssv1").exists()
    monkeypatch.undo()
    (line,) = pull(other, url, [])
    assert not line.endswith(" 0 were there"), "what had arrived is not copied again"
    assert contents(other) == contents(decoded)


def test_a_damaged_store_is_mended_and_what_is_no_part_of_it_goes(
    decoded: Workspace, other: Workspace, url: str
) -> None:
    pull(other, url, [])
    shard = other.frames("ssv1") / "shard-00001.lmdb"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for name in ("shard-00007.lmdb", ".tmp-killed"):
        (other.frames("ssv1") / name).write_bytes(b"of an earlier store")
    (line,) = pull(other, url, [])
    assert ": 3 pulled" in line, "the shard, its record and the index"
    assert contents(other) == contents(decoded)
    assert not [p for p in other.frames("ssv1").iterdir() if is_scratch(p.name)]


def test_flow_that_was_not_pushed_stays(other: Workspace, url: str) -> None:
    pull(other, url, [])
    remote = RemoteFiles(url)
    value = remote.read("paper/ssv1.json")
    value["files"] = {path: about for path, about in value["files"].items() if "flow" not in path}
    remote.write("paper/ssv1.json", value)
    (line,) = pull(other, url, [])
    assert ": 0 pulled" in line
    assert read_index(other.flow("ssv1")).videos


def test_a_store_of_another_ledger_is_not_pushed(decoded: Workspace) -> None:
    record = decoded.record("decode", "ssv1")
    whole = record.read_bytes()
    ledger = read_json(record)["identity"]["inputs"][0]["sha256"]
    record.write_bytes(whole.replace(ledger.encode(), b"0" * 64))
    try:
        with pytest.raises(
            StoreError, match="decode of ssv1 was run before what it reads"
        ) as caught:
            push(decoded, "memory://stale", [])
    finally:
        record.write_bytes(whole)
    assert caught.value.where == "data/paper/sources/ssv1.json"


def test_other_bytes_than_were_pushed_are_refused(
    decoded: Workspace, other: Workspace, url: str
) -> None:
    files = fsspec.filesystem("memory")
    digest = read_json(decoded.record("decode", "ssv1"))["outputs"][1]["files"]["shard-00002.lmdb"]
    place = f"/lab/stores/files/{digest['sha256'][:2]}/{digest['sha256']}"
    whole = files.cat_file(place)
    files.pipe_file(place, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"other bytes for shard-00002\.lmdb"):
        pull(other, url, [])
    with pytest.raises(AbsentData):
        read_index(other.frames("ssv1"))
    assert not [p for p in other.frames("ssv1").iterdir() if is_scratch(p.name)]


def test_a_file_that_is_not_what_its_record_says_is_not_pushed(decoded: Workspace) -> None:
    shard = decoded.frames("ssv1") / "shard-00000.lmdb"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(StoreError, match="not what its run record says"):
            push(decoded, "memory://damaged", [])
    finally:
        shard.write_bytes(whole)
    with pytest.raises(AbsentData, match="has no data set of profile paper"):
        pull(decoded, "memory://damaged", [])


def test_a_recorded_file_that_is_gone_is_named(decoded: Workspace, tmp_path: Path) -> None:
    shard = decoded.frames("ssv1") / "shard-00000.lmdb"
    away = shard.rename(tmp_path / shard.name)
    try:
        with pytest.raises(StoreError, match="not what its run record says") as caught:
            push(decoded, f"memory://{tmp_path.name}", ["ssv1"])
        assert caught.value.where == shard.name
    finally:
        shutil.move(away, shard)


def test_a_damaged_list_is_told_from_a_damaged_way(other: Workspace, url: str) -> None:
    remote = RemoteFiles(url)
    remote._fs.pipe_file(f"{remote._base}/paper/ssv1.json", b"{")
    with pytest.raises(StoreError, match="it is damaged"):
        pull(other, url, ["ssv1"])
    remote.write("paper/ssv1.json", {"files": {}, "plans": {}, "commit": None})
    with pytest.raises(StoreError, match="no decoded store"):
        pull(other, url, ["ssv1"])


def test_after_an_error_few_others_are_begun() -> None:
    begun: list[int] = []

    def do(item: int) -> None:
        begun.append(item)
        if item == 0:
            time.sleep(0.5)
        if item == 1:
            raise StoreError("no way")
        time.sleep(0.01)

    with pytest.raises(StoreError):
        _side_by_side(do, range(400))
    assert len(begun) < 100


def test_a_checkout_that_would_decode_otherwise_pulls_nothing(other: Workspace, url: str) -> None:
    Checkout(other.root).edit("manifests/datasets/ssv1.yaml", "quality: 2", "quality: 3")
    with pytest.raises(UsageError, match="by another check than this checkout's"):
        pull(other, url, [])
    assert not other.frames("ssv1").exists()


def test_a_list_that_names_a_file_of_anything_else_is_refused(other: Workspace, url: str) -> None:
    remote = RemoteFiles(url)
    value = remote.read("paper/ssv1.json")
    content = next(iter(value["files"].values()))
    for path in (
        "../outside",
        "/etc/hostname",
        "manifests/recipes.yaml",
        "data/paper/frames/ssv2/index.json",
        "data/paper/frames/ssv1/../../../x",
        "data/paper/frames/ssv1/.tmp-x",
    ):
        remote.write("paper/ssv1.json", value | {"files": {**value["files"], path: content}})
        with pytest.raises(StoreError, match="no list of ssv1's files") as caught:
            pull(other, url, [])
        assert path in caught.value.what
        assert not (other.root / "data/paper/frames").exists()


def test_what_is_not_here_or_not_there_is_a_sentence(
    other: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AbsentData, match="ssv1 is not decoded here"):
        push(other, "memory://lab", ["ssv1"])
    with pytest.raises(AbsentData, match=r"nowhere has no paper/ssv1\.json"):
        pull(other, "memory://nowhere", ["ssv1"])
    with pytest.raises(TdnError, match="Protocol not known: foo"):
        pull(other, "foo://x", [])
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError, match="gs:// needs a package") as caught:
        push(other, "gs://x", [])
    assert "pip install gcsfs`" in caught.value.do


def test_by_an_s3_server(
    decoded: Workspace, other: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer
    s3 = server(ip_address="127.0.0.1", port=0)
    s3.start()
    host, port = s3.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(StoreError, match="bucket does not exist"):
            push(decoded, "s3://lab/stores", [])
        fsspec.filesystem("s3").mkdir("lab")
        push(decoded, "s3://lab/stores", [])
        (line,) = pull(other, "s3://lab/stores", [])
        assert line.endswith(" 0 were there")
        assert contents(other) == contents(decoded)
    finally:
        s3.stop()
