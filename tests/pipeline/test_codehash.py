from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.codehash import closure, code_digest
from pipeline.errors import UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    put("stages/__init__.py", "")
    put("stages/train.py", "import torch\nfrom pipeline.clips import read\n")
    put("pipeline/__init__.py", "")
    put("pipeline/clips.py", "def read():\n    from pipeline import store\n    return store\n")
    put("pipeline/store.py", "X = 1\n")
    put("pipeline/other.py", "X = 1\n")
    return tmp_path


def digest(tree: Path) -> str:
    return code_digest(closure(tree, ["stages.train"]))


def test_closure_follows_imports_also_inside_functions(tree: Path) -> None:
    assert list(closure(tree, ["stages.train"])) == [
        "pipeline/__init__.py",
        "pipeline/clips.py",
        "pipeline/store.py",
        "stages/__init__.py",
        "stages/train.py",
    ]


def test_comments_layout_and_docstrings_do_not_count(tree: Path) -> None:
    before = digest(tree)
    (tree / "pipeline/store.py").write_text('"""What it is."""\n\n# why\nX = (1)\n', "utf-8")
    assert digest(tree) == before


def test_a_changed_statement_counts(tree: Path) -> None:
    before = digest(tree)
    (tree / "pipeline/store.py").write_text("X = 2\n", "utf-8")
    assert digest(tree) != before


def test_an_unrelated_module_does_not_count(tree: Path) -> None:
    before = digest(tree)
    (tree / "pipeline/other.py").write_text("X = 2\n", "utf-8")
    assert digest(tree) == before


def test_a_new_entry_in_a_lazy_registry_does_not_count(tree: Path) -> None:
    store = tree / "pipeline/store.py"
    store.write_text('MODELS: dict[str, str] = {"a": "pipeline.other:a"}\n', "utf-8")
    before = digest(tree)
    store.write_text('MODELS: dict[str, str] = {"a": "pipeline.other:a", "b": "x:y"}\n', "utf-8")
    assert digest(tree) == before


def test_broken_module_is_a_message(tree: Path) -> None:
    (tree / "pipeline/store.py").write_text("def\n", "utf-8")
    with pytest.raises(UsageError, match="not valid Python") as caught:
        digest(tree)
    assert caught.value.where == "pipeline/store.py, line 1"


def test_unknown_root_is_a_message(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"stages\.nothing"):
        closure(tree, ["stages.nothing"])
