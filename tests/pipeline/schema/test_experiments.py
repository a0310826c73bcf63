"""Rows by inheritance: bases, differences, and lists of folds, splits and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import ManifestError
from pipeline.schema.experiments import Experiment, load_rows

WHOLE: dict[str, Any] = {
    "dataset": "toys",
    "input": "frames",
    "start": "images",
    "architecture": "tdn",
    "backbone": "resnet50",
    "segments": 8,
    "options": {"fusion": "add", "stages": [1, 2]},
    "recipe": "slow",
    "protocols": ["center"],
    "note": "the first",
}


def rows(folder: Path, **entries: dict[str, Any]) -> dict[str, Experiment]:
    """The rows of these entries, after `whole`."""
    written = {"experiments": {"whole": WHOLE, **entries}}
    (folder / "rows.yaml").write_text(yaml.safe_dump(written, sort_keys=False), "utf-8")
    found = load_rows(folder, "rows.yaml")
    return {key: Experiment.model_validate(row.values) for key, row in found.items()}


def refused(folder: Path, **entries: dict[str, Any]) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        rows(folder, **entries)
    return caught.value


def test_a_row_states_its_differences_alone(tmp_path: Path) -> None:
    found = rows(tmp_path, longer={"base": "whole", "segments": 16})
    changed = {"segments": 16, "note": ""}  # a remark is about one row
    assert found["longer"] == Experiment.model_validate({**WHOLE, **changed})


def test_options_are_merged_one_by_one(tmp_path: Path) -> None:
    found = rows(tmp_path, other={"base": "whole", "options": {"fusion": "mul", "new": True}})
    assert found["other"].options == {"fusion": "mul", "stages": [1, 2], "new": True}


def test_options_of_another_network_are_not_inherited(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        bare={"base": "whole", "architecture": "tsn"},
        own={"base": "whole", "architecture": "tsm", "options": {"shift": 8}},
    )
    assert found["bare"].options == {}
    assert found["own"].options == {"shift": 8}


def test_folds_splits_and_seeds_are_lists(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        people={"base": "whole", "folds": ["ann", "bob"]},
        parts={"base": "whole", "splits": [1, 3], "seeds": [0, 5]},
        again={"base": "parts", "segments": 4},
        one={"base": "parts", "fold": "2"},
    )
    assert {k: r.fold for k, r in found.items() if k.startswith("people")} == {
        "people_ann": "ann",
        "people_bob": "bob",
    }
    expected = {"_s1_seed0": ("1", 0), "_s1_seed5": ("1", 5)}
    expected |= {"_s3_seed0": ("3", 0), "_s3_seed5": ("3", 5)}
    for name in ("parts", "again"):
        shown = {k: (r.fold, r.seed) for k, r in found.items() if k.startswith(name)}
        assert shown == {name + ending: value for ending, value in expected.items()}
    assert {k: r.fold for k, r in found.items() if k.startswith("one")} == {
        "one_seed0": "2",
        "one_seed5": "2",
    }


def test_a_start_with_the_same_splits_means_the_row_of_the_same_split(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        first={"base": "whole", "splits": [1, 2]},
        second={"base": "whole", "splits": [1, 2], "start": "first"},
        seeded={"base": "second", "seeds": [3]},
        alone={"base": "second_s2", "segments": 4},
    )
    assert (found["second_s1"].start, found["second_s2"].start) == ("first_s1", "first_s2")
    assert found["seeded_s2_seed3"].start == "first_s2"
    assert (found["alone"].start, found["alone"].fold) == ("first_s2", "2")


def test_an_entry_with_an_underscore_is_no_row(tmp_path: Path) -> None:
    found = rows(tmp_path, _part={"recipe": "fast"}, whole_fast={"base": "_all"}, _all={
        **WHOLE, "base": "_part"})  # fmt: skip
    assert list(found) == ["whole", "whole_fast"]


def test_every_value_says_whose_line_it_is(tmp_path: Path) -> None:
    rows(tmp_path, middle={"base": "whole", "options": {"fusion": "mul"}, "segments": 4},
         last={"base": "middle", "splits": [1]})  # fmt: skip
    origins = load_rows(tmp_path, "rows.yaml")["last_s1"].origins
    assert {k: origins[k] for k in ("dataset", "segments", "options.fusion", "fold")} == {
        "dataset": "whole",
        "segments": "middle",
        "options.fusion": "middle",
        "fold": "last",
    }
    assert origins["options.stages"] == "whole"


def test_mistakes_name_the_entry_and_what_to_do(tmp_path: Path) -> None:
    unknown = refused(tmp_path, other={"base": "whol"})
    assert unknown.what == "base: unknown 'whol'"
    assert unknown.where.endswith("rows.yaml, experiments.other")
    assert unknown.do == "did you mean 'whole'?"
    circle = refused(tmp_path, a={"base": "b"}, b={"base": "c"}, c={"base": "a"})
    assert "a → b → c → a" in circle.what
    misspelt = refused(tmp_path, other={"base": "whole", "segmets": 4})
    assert "did you mean 'segments'?" in misspelt.what
    twice = refused(tmp_path, other={"base": "whole", "folds": ["a"], "splits": [1]})
    assert "folds and splits" in twice.what
    taken = refused(tmp_path, a={"base": "whole", "splits": [1]}, a_s1={"base": "whole"})
    assert "'a_s1' is written twice" in taken.what
    near = refused(tmp_path, a={"base": "whole", "splits": [1]}, other={"base": "a_s2"})
    assert near.do == "did you mean 'a_s1'?"


def test_a_circle_through_one_of_several_rows_is_told(tmp_path: Path) -> None:
    assert "→" in refused(tmp_path, a={"base": "b_s1"}, b={"base": "a", "splits": [1]}).what
