from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import ManifestError
from pipeline.schema.base import Identifier, Strict, load, nearest


class Inner(Strict):
    epochs: int
    rate: float = 0.1


class Outer(Strict):
    rows: dict[Identifier, Inner]


def write(folder: Path, text: str) -> Path:
    path = folder / "manifests" / "outer.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        load(Outer, write(folder, text))
    return caught.value


def test_valid_file_loads(tmp_path: Path) -> None:
    assert load(Outer, write(tmp_path, "rows: {a_1: {epochs: 3}}")).rows["a_1"].epochs == 3


def test_unknown_key_names_file_key_and_nearest(tmp_path: Path) -> None:
    error = refused(tmp_path, "rows: {a: {epoch: 3}}")
    assert error.where == "manifests/outer.yaml"
    assert "rows.a.epoch" in error.what
    assert "did you mean 'epochs'?" in error.do


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rows: {a: {epochs: '3'}}", "rows.a.epochs"),
        ("rows: {a: {epochs: true}}", "rows.a.epochs"),
        ("rows: {tsn.r50-8f: {epochs: 3}}", "tsn.r50-8f"),
        ("rows: {a: {epochs: 3}, a: {epochs: 4}}", "written twice"),
        ("rows: {a: [", "YAML"),
        ("rows: !!python/object/apply:os.system ['true']", "YAML"),
    ],
)
def test_bad_input_is_one_message(tmp_path: Path, text: str, word: str) -> None:
    error = refused(tmp_path, text)
    assert word in error.what
    assert error.where.startswith("manifests/outer.yaml")
    assert error.exit_code == 2
    assert str(tmp_path) not in str(error)


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "rows: {}")
    with pytest.raises(ManifestError, match=r"there is no outr\.yaml") as caught:
        load(Outer, tmp_path / "manifests" / "outr.yaml")
    assert "outer" in caught.value.do


def test_merge_keys_still_work(tmp_path: Path) -> None:
    text = "rows:\n  a: &base {epochs: 3}\n  b: {<<: *base, rate: 0.5}\n"
    assert load(Outer, write(tmp_path, text)).rows["b"] == Inner(epochs=3, rate=0.5)


def test_nearest_lists_the_valid_ones_when_nothing_is_close() -> None:
    assert nearest("zzz", ["b", "a"]) == "valid: a, b"
