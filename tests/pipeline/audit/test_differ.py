"""Differences are told as a reader would, and floats are compared within a tolerance."""

from __future__ import annotations

from pipeline.audit.differ import changes, close, plan_changes, show
from pipeline.lineage.code_digest import Parts, code_digest


def plan(parts: Parts, **params: object) -> dict[str, object]:
    return {"params": params, "code": {"digest": code_digest(parts)}, "parts": parts}


def test_a_plan_differs_in_parameters_and_definitions() -> None:
    old = {"a.py": {"crop": "1", "flip": "1"}, "b.py": {"load": "1"}}
    new = {"moved.py": {"crop": "2", "flip": "1"}, "c.py": {"save": "1"}}
    before = plan(old, recipe={"lr": 0.02, "flip": True}, note=None)
    after = plan(new, recipe={"lr": 0.01, "flip": True}, note="x")
    assert plan_changes(before, after, old) == [
        "note nothing → x",
        "recipe.lr 0.02 → 0.01",
        "code crop changed (moved.py)",
        "code load removed (b.py)",
        "code save added (c.py)",
    ]
    assert plan_changes(before, before, old) == []


def test_code_that_changed_from_something_unknown_is_said_to_have_changed() -> None:
    before, after = plan({"a.py": {"crop": "1"}}), plan({"a.py": {"crop": "2"}})
    assert plan_changes(before, after) == ["code changed"]


def test_lists_differ_by_place_and_a_flag_is_no_number() -> None:
    assert list(changes({"a": [1, 2]}, {"a": [1, 3]})) == [("a[1]", 2, 3)]
    assert list(changes([1, 2], [1])) == [("", [1, 2], [1])]
    assert list(changes(True, 1)) == [("", True, 1)]


def test_floats_may_move_and_nothing_else() -> None:
    assert close({"x": [1.0, "a"]}, {"x": [1.0 + 1e-9, "a"]}, 1e-6)
    assert not close({"x": 1.0}, {"x": 1.1}, 1e-6)
    assert not close({"x": 1}, {"x": 2}, 1.0)
    assert not close({"x": 1.0}, {"y": 1.0}, 1e-6)
    assert not close([1.0], [1.0, 1.0], 1e-6)


def test_long_values_are_cut() -> None:
    assert show("a" * 100) == "a" * 59 + "…"
