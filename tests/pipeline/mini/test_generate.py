"""The bytes of a miniature follow from its manifest alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_file, sha256_json
from pipeline.mini import generate
from tests.pipeline.mini.miniatures import small


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


@pytest.fixture(scope="module")
def two_processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("dataset", ["ssv1", "ssv2", "ucf101", "kinetics400", "hmdb51", "fcvid"])
def test_bytes_do_not_depend_on_the_number_of_workers(
    dataset: str,
    tmp_path: Path,
    two_processes: ProcessPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []  # the same two for all data sets: their imports take longest

    def pool(workers: int, _: object) -> nullcontext[ProcessPoolExecutor]:
        started.append(workers)
        return nullcontext(two_processes)

    monkeypatch.setattr("pipeline.mini.generator.ProcessPoolExecutor", pool)
    miniature = small(dataset)
    alone = generate(dataset, miniature, tmp_path / "alone", 0)
    helped = generate(dataset, miniature, tmp_path / "helped", 2)
    assert alone == helped and started == [2]
    found = digests(tmp_path / "alone")
    assert found == digests(tmp_path / "helped")
    assert alone["content"] == sha256_json(found)
    assert alone["files"] == len(found)
    assert alone["subsets"] == miniature.expected


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miniature = small("ssv1")
    whole = generate("ssv1", miniature, tmp_path / "whole", 0)
    monkeypatch.setattr("pipeline.mini.generator._SCENES_PER_JOB", 4)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        generate("ssv1", miniature, target, 0, stop)
    partial = tmp_path / "cut.partial"
    assert not target.exists()
    kept = {path: path.stat().st_mtime_ns for path in partial.rglob("*.jpg")}
    assert kept
    (partial / "20bn-something-something-v1" / ".tmp-1-5").mkdir()
    assert generate("ssv1", miniature, target, 0) == whole
    assert not partial.exists()
    for path, written in kept.items():
        assert (target / path.relative_to(partial)).stat().st_mtime_ns == written
    assert digests(target) == digests(tmp_path / "whole")


def test_another_recipe_starts_over(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate("ssv1", small("ssv1", seed=1), tmp_path / "set", 0, stop)
    first = generate("ssv1", small("ssv1", seed=2), tmp_path / "set", 0)
    again = generate("ssv1", small("ssv1", seed=2), tmp_path / "other", 0)
    assert first == again
    assert digests(tmp_path / "set") == digests(tmp_path / "other")


def test_what_stood_there_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "set"
    target.mkdir()
    (target / "stale.txt").write_text("x")
    generate("ssv1", small("ssv1"), target, 0)
    assert not (target / "stale.txt").exists()


def test_progress_counts_clips(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = generate("ssv1", small("ssv1"), tmp_path / "set", 0, lambda *now: seen.append(now))
    assert seen[-1] == (result["clips"], result["clips"])
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_unknown_data_set_is_named_with_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'ssv1'"):
        generate("sv1", small("ssv1"), tmp_path / "set", 0)
