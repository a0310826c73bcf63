"""Differences are told as a reader would, and floats are compared within a tolerance."""

from __future__ import annotations

from pipeline.audit.differ import changes, close, plan_changes, show


def plan(files: dict[str, str], **params: object) -> dict[str, object]:
    return {"params": params, "code": {"files": files}}


def test_a_plan_differs_in_parameters_and_modules() -> None:
    before = plan({"a.py": "1", "b.py": "1"}, recipe={"lr": 0.02, "flip": True}, note=None)
    after = plan({"a.py": "2", "c.py": "1"}, recipe={"lr": 0.01, "flip": True}, note="x")
    assert plan_changes(before, after) == [
        "note nothing → x",
        "recipe.lr 0.02 → 0.01",
        "code a.py changed",
        "code b.py removed",
        "code c.py added",
    ]
    assert plan_changes(before, before) == []


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
