from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.cli.options import print_json, print_table, row_keys, with_profile, workspace
from tests.checkout import ROOT


@dataclass(frozen=True)
class Line:
    name: str
    size: float | None


def test_advice_names_the_profile_in_use_where_a_command_takes_one() -> None:
    text = "run `tdn check ssv1`, then `tdn train ROW --profile gpu` or `make repro`"
    workspace("mini")
    assert with_profile(text) == text
    workspace("local")
    assert with_profile("run `tdn check ssv1`, then `tdn decode ssv1` or `make repro`") == (
        "run `tdn check ssv1 --profile local`, then `tdn decode ssv1 --profile local` "
        "or `make repro PROFILE=local`"
    )
    assert with_profile("run `tdn check ssv1` and `tdn decode ssv1` with --profile local") == (
        "run `tdn check ssv1 --profile local` and `tdn decode ssv1 --profile local`"
    )
    for alone in (
        "`tdn train ROW --profile gpu`",
        "`tdn models`",
        "`tdn profile use gpu`",
        "tdn x",
    ):
        assert with_profile(alone) == alone
    workspace("mini")


def test_a_shell_is_told_the_rows_that_begin_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = row_keys("tdn_r50_8f_ssv1_std")
    assert "tdn_r50_8f_ssv1_stdm_only" in found
    assert all(key.startswith("tdn_r50_8f_ssv1_std") for key in found)
    assert not [key for key in row_keys("") if key.startswith("_")]
    monkeypatch.chdir(tmp_path)
    assert row_keys("") == []


def test_a_message_names_the_users_own_manifest_where_that_is_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my/datasets").mkdir(parents=True)
    (tmp_path / "my/datasets/x.yaml").touch()
    (tmp_path / "manifests").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    text = "mend manifests/datasets/x.yaml or manifests/datasets/y.yaml"
    assert with_profile(text) == "mend my/datasets/x.yaml or manifests/datasets/y.yaml"


def test_dataclasses_are_printed_as_objects(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"lines": [Line("ä", 1.5), Line("b", None)]})
    assert json.loads(capsys.readouterr().out) == {
        "lines": [{"name": "ä", "size": 1.5}, {"name": "b", "size": None}]
    }
    with pytest.raises(TypeError, match="object is no JSON value"):
        print_json(object())


def test_a_table_is_aligned_and_never_cut_or_folded(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 60
    print_table(("name", ">G", "note"), [("a", "1.0", ""), ("[b]", "22.5", long.strip())])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name     G  note", "a      1.0", f"[b]   22.5  {long.strip()}"]
