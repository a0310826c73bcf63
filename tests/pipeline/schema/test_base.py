from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import Field

from pipeline.core.errors import ManifestError
from pipeline.schema import base
from pipeline.schema.base import Identifier, Strict, load, nearest, parse_yaml
from tests.checkout import ROOT


class Inner(Strict):
    epochs: int
    rate: float = 0.1


class Outer(Strict):
    rows: dict[Identifier, Inner]
    pairs: list[list[str]] = Field(default_factory=list)


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


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("1e-3", "write 1.0e-3:"), ("5E-4", "write 5.0e-4:"), ("1e3", "write 1.0e+3:"),
        ("2.5e4", "write 2.5e+4:"), ("-1e-3", "write -1.0e-3:"), (".5e2", "write 0.5e+2:"),
    ],
)  # fmt: skip
def test_a_number_that_yaml_takes_for_text_says_what_to_write(
    tmp_path: Path, written: str, remedy: str
) -> None:
    error = refused(tmp_path, f"rows: {{a: {{epochs: 3, rate: {written}}}}}")
    assert error.do.startswith(remedy)
    correct = error.do.removeprefix("write ").partition(":")[0]
    rows = load(Outer, write(tmp_path, f"rows: {{a: {{epochs: 3, rate: {correct}}}}}")).rows
    assert rows["a"].rate == float(written)


@pytest.mark.parametrize(
    ("word", "reading"),
    [
        ("yes", "a truth value (true)"), ("Off", "a truth value (false)"),
        ("null", "nothing"), ("~", "nothing"), ("1.5", "a number"),
        ("2024-01-31", "a date (2024-01-31)"),
    ],
)  # fmt: skip
def test_a_word_that_yaml_does_not_take_for_text_wants_quotes(
    tmp_path: Path, word: str, reading: str
) -> None:
    error = refused(tmp_path, f"rows: {{}}\npairs: [[left, {word}]]")
    assert error.do.startswith(f"put it in quotes: without them YAML reads {reading}")
    assert "pairs.0.1" in error.what
    loaded = load(Outer, write(tmp_path, f"rows: {{}}\npairs: [[left, '{word}']]"))
    assert loaded.pairs == [["left", word]]


def test_a_wrong_type_that_is_not_yaml_s_doing_has_no_such_advice(tmp_path: Path) -> None:
    for text in ("rows: {a: {epochs: 3, rate: fast}}", "rows: {}\npairs: [[[a]]]"):
        assert refused(tmp_path, text).do == "correct the key"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("010", "takes 010 for the number 8: write 8, or '010' for text"),
        ("0x1F", "takes 0x1F for the number 31: write 31, or '0x1F' for text"),
        ("0b11", "takes 0b11 for the number 3: write 3, or '0b11' for text"),
        ("12:30", "takes 12:30 for the number 750"), ("1:30.5", "for the number 90.5"),
        (".nan", "no finite number"), (".inf", "no finite number"),
        ("1.0e+400", "no finite number"),
        ("2024-13-45", "month"), ("!!float x", "float"), ("!!bool x", "x"),
        ("!!timestamp x", "cannot be read"), ("{? [x] : 1}", "unhashable"), ("9" * 5000, "digits"),
        ('"\\ud800"', "surrogates"), ('"\\U00110000"', "range"), ("[" * 500, "recursion"),
        ("[" * 100_000, "recursion"), ("\n" + "- " * 100_000, "recursion"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_what_it_looks_like_is_refused(
    tmp_path: Path, value: str, words: str
) -> None:
    error = refused(tmp_path, f"rows: {{}}\npairs: {value}")
    assert words in error.what
    assert parse_yaml(value) == value, "text, where a value is given on the command line"


def test_a_tab_after_a_colon_is_refused_with_and_without_libyaml(tmp_path: Path) -> None:
    assert "tab" in refused(tmp_path, "rows: {}\npairs:\t1").what.replace("\\t", "tab")


def test_libyaml_reads_every_manifest_as_the_plain_loader_does() -> None:
    if (fast := base._fast_loader()) is None:
        pytest.skip("PyYAML came without libyaml")
    paths = sorted((ROOT / "manifests").rglob("*.yaml"))
    assert len(paths) > 40
    for path in paths:
        text = path.read_text("utf-8")
        plain, read = (yaml.load(text, Loader=loader) for loader in (base._PlainLoader, fast))
        assert repr(read) == repr(plain), path
