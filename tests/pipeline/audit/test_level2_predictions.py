"""Predictions that two rows share: a forgery, unless one plan trains both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.audit.context import Context
from pipeline.audit.level2_predictions import one_experiment
from pipeline.lineage.evidence import Run


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"lr": 0.1, "decay": "cosine", "milestones": []}, True),
        ({"lr": 0.2, "decay": "cosine", "milestones": []}, False),
        ({"lr": 0.1, "decay": "milestones", "milestones": [6, 9]}, False),
        (None, False),
    ],
)
def test_rows_of_one_plan_are_one_experiment(other: dict[str, Any] | None, same: bool) -> None:
    recipe = {"lr": 0.1, "decay": "cosine", "milestones": []}
    plans = {"a": {"row": "a", "recipe": recipe}, "b": other and {"row": "b", "recipe": other}}
    runs = {f"train/{key}": SimpleNamespace(key=key) for key, plan in plans.items() if plan}
    context = SimpleNamespace(
        evidence=SimpleNamespace(runs=runs), params=lambda run: plans[run.key]
    )
    first, second = (cast(Run, SimpleNamespace(key=key)) for key in "ab")
    assert one_experiment(cast(Context, context), first, second) is same
