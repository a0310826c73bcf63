"""Who may import whom, and which outside library has which owner (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "stages", "tdn_model")
ORDER = {
    "pipeline": [
        "core", "schema", "video", "sources", "store", "clips", "scores", "mini", "lineage",
        "reporting", "audit",
    ],
    "tdn_model": [
        "contract", "losses", "layers", "weights", "models", "build", "published", "optim",
        "training", "activation_checkpointing", "inference", "count_cost", "attribution", "",
    ],
    "stages": [
        "profile_graph", "networks", "network_cost", "graph", "rows", "trainer",
        "import_weights", "figure_data",
        "plan", "mini", "check", "decode", "flow", "pretrain", "train", "predict", "score",
        "cost", "tables", "figures", "report", "commands", "driver", "bench", "cli", "__main__",
    ],
}  # fmt: skip
"""Rooms of each package: a room may import itself and those before it. '' is the package itself."""
TORCH_ROOMS = ("tdn_model/", "stages/", "pipeline/clips/")
OWNERS = {
    "ffmpeg": ("pipeline/video/ffmpeg.py", "pipeline/mini/encode.py"),
    "imageio_ffmpeg": ("pipeline/video/ffmpeg.py",),
    "fsspec": ("pipeline/core/remote_files.py",),
    "lmdb": ("pipeline/store/lmdb_store.py",),
    "ray": ("pipeline/core/ray_pool.py", "stages/trainer/ray_workers.py"),
    "yaml": ("pipeline/schema/base.py", "pipeline/schema/quick_yaml.py"),
    "pydantic": ("pipeline/schema/",),
    "pandas": ("pipeline/reporting/",),
    "jinja2": ("pipeline/reporting/",),
    "matplotlib": ("pipeline/reporting/figures/",),
    "typer": ("stages/cli/",),
    "rich": ("stages/cli/",),
    "dvc": ("stages/driver/",),
    "cv2": ("pipeline/mini/", "pipeline/store/tvl1.py"),
    "rocrate": ("pipeline/audit/provenance_export.py",),
    "captum": ("tdn_model/attribution.py",),
    "torch": TORCH_ROOMS,
    "torchvision": TORCH_ROOMS,
}  # fmt: skip
FORBIDDEN = {
    "tdn_model/": ("pipeline", "stages"),
    "pipeline/": ("stages", "tdn_model"),
    "pipeline/reporting/": ("torch", "ray", "lmdb"),
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imported(path: Path) -> set[str]:
    """Dotted names of the modules and members that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{place(path)}: write imports in full"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room(dotted: str) -> str:
    """The room of a module: the folder or file right below its package."""
    parts = dotted.split(".")
    below = ROOT.joinpath(*parts[:2])
    if len(parts) > 1 and (below.is_dir() or below.with_suffix(".py").is_file()):
        return parts[1]
    return ""


@pytest.mark.parametrize("path", modules(), ids=place)
def test_libraries_are_imported_by_their_owners_only(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    for library, owners in OWNERS.items():
        if library in tops:
            assert place(path).startswith(owners), f"{place(path)} imports {library}"
    for folder, banned in FORBIDDEN.items():
        if place(path).startswith(folder):
            assert not tops & set(banned), f"{place(path)} imports {sorted(tops & set(banned))}"


@pytest.mark.parametrize("path", modules(), ids=place)
def test_no_room_imports_one_after_it(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    order = ORDER[package]
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    own = room(dotted)
    assert own in order or not own, f"{place(path)} is in no room that ORDER lists"
    allowed = order[: order.index(own) + 1] if own in order else []
    for name in imported(path):
        if name.split(".")[0] == package and (other := room(name)):
            assert other in allowed, f"{place(path)} imports {name}, which comes after it"


def test_every_room_of_the_order_is_there() -> None:
    for package, order in ORDER.items():
        for name in filter(None, order):
            below = ROOT / package / name
            assert below.is_dir() or below.with_suffix(".py").is_file(), f"{package}/{name}"


def test_rooms_have_no_circle_of_modules() -> None:
    from graphlib import TopologicalSorter

    names = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in modules()
    }
    graph = {}
    for name, path in names.items():
        wanted = imported_at_top(path) & names.keys()
        graph[name] = {other for other in wanted if other != name and not name.startswith(other)}
    list(TopologicalSorter(graph).static_order())


def imported_at_top(path: Path) -> set[str]:
    found: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_no_two_modules_share_a_name() -> None:
    packages = {p.parent.name for p in modules() if p.name == "__init__.py"}
    stems = Counter(path.stem for path in modules() if not path.stem.startswith("__"))
    stages = set(ORDER["stages"])
    assert {stem: n for stem, n in stems.items() if n > 1} == {}
    assert {stem for stem in stems if stem in packages - stages} == set()


def test_no_module_is_too_long() -> None:
    lengths = {place(p): len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert {name: n for name, n in lengths.items() if n > 350} == {}


def test_functions_in_source_do_not_look_like_tests() -> None:
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                assert not node.name.startswith("test_"), f"{place(path)}: {node.name}"
