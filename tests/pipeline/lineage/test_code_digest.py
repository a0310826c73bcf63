"""Which edits count as a change of a stage's code, and which do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.lineage.code_digest import Code, Parts, code_digest

FILES = {
    "stages/__init__.py": "",
    "stages/train.py": """
        import torch
        from pipeline.clips.reading import read
        from tdn_model.build import build

        def run():
            return build("a"), read(torch)
        """,
    "pipeline/__init__.py": "import os\nos.environ.setdefault('A', 'b')\n",
    "pipeline/clips/__init__.py": "",
    "pipeline/clips/reading.py": """
        SIDE = 4

        def read(x):
            from pipeline import shapes
            return shapes.cut(x, SIDE)

        def unused():
            return SIDE + 1
        """,
    "pipeline/shapes.py": "def cut(x, side):\n    return x[:side]\n",
    "pipeline/other.py": "def cut(x, side):\n    return x[side:]\n",
    "tdn_model/__init__.py": "",
    "tdn_model/build.py": """
        import importlib

        MODELS: dict[str, str] = {"a": "tdn_model.a:a"}

        def build(name):
            module, _, factory = MODELS[name].partition(":")
            return getattr(importlib.import_module(module), factory)()
        """,
    "tdn_model/a.py": "class Net:\n    pass\n\n\ndef a():\n    return Net()\n",
}
ROOTS = ["stages.train:run", "tdn_model.a:a"]


def put(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = text.strip("\n").splitlines()
    indent = min((len(i) - len(i.lstrip()) for i in lines if i.strip()), default=0)
    path.write_text("\n".join(line[indent:] for line in lines) + "\n", encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        put(tmp_path, name, text)
    return tmp_path


def reached(tree: Path) -> Parts:
    return Code(tree).reached(ROOTS)


def digest(tree: Path) -> str:
    return code_digest(reached(tree))


def edit(tree: Path, name: str, old: str, new: str) -> None:
    text = (tree / name).read_text("utf-8")
    assert old in text
    (tree / name).write_text(text.replace(old, new), "utf-8")


def test_definitions_are_followed_through_imports_inside_functions(tree: Path) -> None:
    assert {path: list(names) for path, names in reached(tree).items()} == {
        "pipeline/__init__.py": ["(on import)", "os"],
        "pipeline/clips/reading.py": ["SIDE", "read"],
        "pipeline/shapes.py": ["cut"],
        "stages/train.py": ["run", "torch"],
        "tdn_model/a.py": ["Net", "a"],
        "tdn_model/build.py": ["MODELS", "build", "importlib"],
    }


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pipeline/shapes.py", "def cut", '"""What it is."""\n\n\n# why\ndef cut'),
        ("pipeline/shapes.py", "    return", '    """Cut."""\n    return'),
        ("pipeline/clips/reading.py", "SIDE = 4\n", 'SIDE = (4)\n"""Pixels."""\n'),
        ("pipeline/clips/reading.py", "SIDE + 1", "SIDE + 2"),
        ("pipeline/other.py", "side:", "side + 1:"),
        ("tdn_model/build.py", '"tdn_model.a:a"', '"tdn_model.a:a", "b": "tdn_model.b:b"'),
        ("tdn_model/a.py", "    pass", '    """A network."""'),
    ],
)
def test_what_does_not_run_does_not_count(tree: Path, name: str, old: str, new: str) -> None:
    before = digest(tree)
    edit(tree, name, old, new)
    assert digest(tree) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pipeline/shapes.py", "x[:side]", "x[: side + 1]"),
        ("pipeline/clips/reading.py", "SIDE = 4", "SIDE = 5"),
        ("pipeline/__init__.py", "'b'", "'c'"),
        ("tdn_model/a.py", "    pass", "    width = 3"),
        ("stages/train.py", "import torch", "import jax as torch"),
        ("pipeline/clips/reading.py", "import shapes", "import other as shapes"),
    ],
)  # fmt: skip
def test_what_runs_counts(tree: Path, name: str, old: str, new: str) -> None:
    before = digest(tree)
    edit(tree, name, old, new)
    assert digest(tree) != before


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('raise ValueError("too few")', 'raise ValueError("too few frames: take more")', True),
        ('raise ValueError("too few")', "raise ValueError(f'{side} is too few')", False),
        ('raise ValueError(f"{x}, {side} px")', 'raise ValueError(f"side {x}: {side}")', True),
        ('raise ValueError(f"{x}, {side} px")', 'raise ValueError(f"{side}, {x} px")', False),
        ('raise ValueError("too few")', 'raise KeyError("too few")', False),
        ("raise ValueError(1)", "raise ValueError(2)", False),
        ('return {"a": 1}[x]', 'return {"b": 1}[x]', False),
    ],
)
def test_the_words_of_an_error_do_not_count(tree: Path, old: str, new: str, same: bool) -> None:
    put(tree, "pipeline/shapes.py", f"def cut(x, side):\n    {old}\n")
    before = digest(tree)
    put(tree, "pipeline/shapes.py", f"def cut(x, side):\n    {new}\n")
    assert (digest(tree) == before) is same


def test_a_moved_module_changes_nothing(tree: Path) -> None:
    before = digest(tree)
    (tree / "pipeline/shapes.py").rename(tree / "pipeline/clips/cutting.py")
    edit(
        tree,
        "pipeline/clips/reading.py",
        "from pipeline import shapes\n    return shapes.cut",
        "from pipeline.clips import cutting\n    return cutting.cut",
    )
    assert digest(tree) == before


def test_a_definition_that_moves_to_another_module_changes_nothing(tree: Path) -> None:
    before = digest(tree)
    edit(tree, "pipeline/clips/reading.py", "SIDE = 4\n", "from pipeline.shapes import SIDE\n")
    edit(tree, "pipeline/shapes.py", "def cut", "SIDE = 4\n\n\ndef cut")
    assert digest(tree) == before


def test_a_string_that_names_a_function_counts_as_its_use(tree: Path) -> None:
    put(
        tree,
        "pipeline/shapes.py",
        """
        import sys

        def low(x):
            return x

        def cut(x, side):
            return getattr(sys.modules[__name__], "low")(x)
        """,
    )
    before = digest(tree)
    edit(tree, "pipeline/shapes.py", "return x\n", "return x + 1\n")
    assert digest(tree) != before


def test_two_functions_of_one_name_cannot_be_swapped(tree: Path) -> None:
    text = """
        from pipeline import {0} as first, {1} as second

        SIDE = 4

        def read(x):
            return first.cut(x, SIDE) - second.cut(x, SIDE)
        """
    put(tree, "pipeline/clips/reading.py", text.format("shapes", "other"))
    before = digest(tree)
    put(tree, "pipeline/clips/reading.py", text.format("other", "shapes"))
    assert digest(tree) != before


def test_one_use_of_two_functions_of_one_name_cannot_be_swapped(tree: Path) -> None:
    text = """
        from pipeline import other as second, shapes as first

        SIDE = 4

        def read(x):
            return [first.cut(x, SIDE), second.cut(x, SIDE), {0}.cut(x, SIDE)]
        """
    put(tree, "pipeline/clips/reading.py", text.format("first"))
    before = digest(tree)
    put(tree, "pipeline/clips/reading.py", text.format("second"))
    assert digest(tree) != before


def test_statements_that_run_on_import_count_in_their_order(tree: Path) -> None:
    put(tree, "pipeline/__init__.py", "A = []\nA.append(1)\nA.append(2)\n")
    before = digest(tree)
    put(tree, "pipeline/__init__.py", "A = []\nA.append(2)\nA.append(1)\n")
    assert digest(tree) != before


def test_a_name_bound_by_two_imports_is_a_message(tree: Path) -> None:
    put(
        tree,
        "pipeline/clips/reading.py",
        """
        def read(x):
            from pipeline.shapes import cut
            return cut(x, 1)

        def other(x):
            from pipeline.other import cut
            return cut(x, 1)
        """,
    )
    with pytest.raises(UsageError, match="two imports bind 'cut'"):
        reached(tree)


def test_a_template_beside_the_module_counts(tree: Path) -> None:
    edit(tree, "pipeline/shapes.py", "    return", '    open("page.html.j2")\n    return')
    put(tree, "pipeline/page.html.j2", "<p>one</p>")
    before = digest(tree)
    put(tree, "pipeline/page.html.j2", "<p>two</p>")
    assert digest(tree) != before
    assert "page.html.j2" in reached(tree)["pipeline/page.html.j2"]


def test_two_templates_that_change_places_are_a_change(tree: Path) -> None:
    edit(tree, "pipeline/shapes.py", "    return", '    open("templates")\n    return')
    put(tree, "pipeline/templates/one.html.j2", "<p>one</p>")
    put(tree, "pipeline/templates/two.html.j2", "<p>two</p>")
    before = digest(tree)
    put(tree, "pipeline/templates/one.html.j2", "<p>two</p>")
    put(tree, "pipeline/templates/two.html.j2", "<p>one</p>")
    assert digest(tree) != before


def test_broken_module_is_a_message(tree: Path) -> None:
    put(tree, "pipeline/shapes.py", "def")
    with pytest.raises(UsageError, match="not valid Python") as caught:
        reached(tree)
    assert caught.value.where == "pipeline/shapes.py, line 1"


def test_unknown_root_is_a_message(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"stages\.nothing:run"):
        Code(tree).reached(["stages.nothing:run"])
