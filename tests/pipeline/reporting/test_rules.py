"""The little language of claims made in prose."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.errors import ManifestError
from pipeline.reporting.rules import Rule, parse

VALUES = {
    "doc/1/a/top1": 45.2,
    "doc/1/b/top1": 49.5,
    "doc/1/c/top1": 51.3,
    "doc/1/a/flops": 33.0,
    "doc/1/c/flops": 36.0,
    "other/1/a/top1": 52.3,
}


def rule(text: str) -> Rule:
    return parse(text, "doc", tuple(VALUES), where="here")


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("'1/c/top1' > '1/a/top1'", True),
        ("'1/a/top1' < '1/b/top1' < '1/c/top1'", True),
        ("near('1/b/top1' - '1/a/top1', 4.3)", True),
        ("near('1/b/top1' - '1/a/top1', 4.4)", False),
        ("near('1/c/top1', 51)", True),
        ("around(100 * ('1/c/flops' / '1/a/flops' - 1), 9)", True),
        ("around('1/b/top1' - '1/a/top1', 2.5)", False),
        ("'1/c/top1' > highest('1/*/top1', 'c')", True),
        ("lowest('1/*/top1') >= 45.2 and highest('1/*/flops') <= 36", True),
        ("rising('1/a/top1', '1/b/top1', '1/c/top1')", True),
        ("rising('1/a/top1', '1/c/top1', '1/b/top1')", False),
        ("('1/a/top1' > 50) + ('1/b/top1' > 49) + ('1/c/top1' > 51) >= 2", True),
        ("not '1/a/top1' > 50 or '1/a/top1' > 60", True),
        ("abs('1/a/top1' - '1/c/top1') < 6 and -1 < 0", False),
        ("'other:1/a/top1' > '1/c/top1'", True),
    ],
)
def test_rules(text: str, truth: bool) -> None:
    assert bool(rule(text).evaluate(VALUES.__getitem__)) is truth


def test_a_rule_works_on_draws() -> None:
    draws = {"doc/1/a/top1": np.array([1.0, 5.0]), "doc/1/b/top1": np.array([2.0, 4.0])}
    found = rule("'1/b/top1' > '1/a/top1' and near('1/a/top1', 1.0)").evaluate(draws.__getitem__)
    assert found.tolist() == [True, False]
    counted = rule("('1/b/top1' > '1/a/top1') + ('1/a/top1' < 9) >= 2").evaluate(draws.__getitem__)
    assert counted.tolist() == [True, False]


def test_a_rule_may_mix_numbers_with_draws() -> None:
    mixed = {"doc/1/a/top1": 1.0, "doc/1/b/top1": 2.0, "doc/1/c/top1": np.array([3.0, 1.5])}
    found = rule("rising('1/a/top1', '1/b/top1', '1/c/top1')").evaluate(mixed.__getitem__)
    assert found.tolist() == [True, False]


def test_a_rule_names_its_cells() -> None:
    assert rule("highest('1/*/top1', 'b') > '1/a/flops'").cells() == [
        "doc/1/a/top1",
        "doc/1/c/top1",
        "doc/1/a/flops",
    ]


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("near('1/b/top1' - '1/a/top1', 4.3)", "near(49.5 - 45.2, 4.3)"),
        ("'other:1/a/top1' > highest('1/*/top1', 'c')", "52.3 > highest(45.2, 49.5)"),
        ("not ('1/a/top1' > 50) and -1 < 0", "not 45.2 > 50 and -1 < 0"),
        ("100 * ('1/c/flops' / '1/a/flops' - 1) < 10", "100 * (36.0 / 33.0 - 1) < 10"),
    ],
)
def test_a_rule_is_spelled_with_its_numbers(text: str, spelled: str) -> None:
    assert rule(text).spelled(lambda address: f"{VALUES[address]}") == spelled


@pytest.mark.parametrize(
    "text",
    [
        "'1/zzz/top1' > 3",
        "highest('9/*/top1') > 3",
        "highest(3) > 3",
        "__import__('os').getcwd()",
        "(lambda: 1)() > 0",
        "[x for x in ()]",
        "'1/a/top1'.upper()",
        "near('1/a/top1', '1/b/top1')",
        "'1/a/top1' == 45.2",
        "'1/a/top1' ** 99 > 1",
        "True",
        "1 >",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        rule(text)
    assert caught.value.where == "here"


def test_a_resampled_number_may_stand_beside_one_that_is_not() -> None:
    draws = {**VALUES, "doc/1/a/top1": np.array([45.0, 50.0])}
    found = rule("'1/b/top1' > '1/a/top1' and '1/c/flops' > '1/a/flops'").evaluate(draws.get)
    assert found.tolist() == [True, False]
    most = rule("highest('1/*/top1') >= 51").evaluate(draws.get)
    assert np.all(most)
