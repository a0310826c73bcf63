"""Who may import whom, and which outside library has which owner (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "stages", "tdn_model")
PIXELS = (
    "pipeline/clips.py",
    "pipeline/decoding.py",
    "pipeline/transforms.py",
)
OWNERS = {
    "ffmpeg": ("pipeline/video.py", "pipeline/mini/encode.py"),
    "imageio_ffmpeg": ("pipeline/video.py",),
    "lmdb": ("pipeline/framestore.py",),
    "ray": ("pipeline/workers.py",),
    "yaml": ("pipeline/manifest_base.py",),
    "pydantic": ("pipeline/manifest",),
    "pandas": ("pipeline/reporting/",),
    "jinja2": ("pipeline/reporting/",),
    "matplotlib": ("pipeline/reporting/figures/",),
    "typer": ("stages/",),
    "rich": ("stages/",),
    "cv2": ("pipeline/mini/", "pipeline/flow.py", "pipeline/halves.py", "stages/bench/clips.py"),
    "captum": ("tdn_model/explain.py",),
    "torch": ("tdn_model/", "stages/", *PIXELS),
    "torchvision": ("tdn_model/", "stages/", *PIXELS),
}
FORBIDDEN = {
    "tdn_model/": ("pipeline", "stages"),
    "pipeline/": ("stages", "tdn_model"),
    "pipeline/reporting/": ("torch", "ray", "lmdb"),
}


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_stays_in_its_room(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    tops = {name.split(".")[0] for name in imported(path)}
    for library, owners in OWNERS.items():
        if library in tops:
            assert place.startswith(owners), f"{place} imports {library}, owned by {owners}"
    for room, banned in FORBIDDEN.items():
        if place.startswith(room):
            assert not tops & set(banned), f"{place} imports {sorted(tops & set(banned))}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nobody_imports_the_command_line(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "stages":
        assert not any(name.split(".")[0] == "stages" for name in imported(path))


def test_no_module_is_too_long() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules()
    }
    assert {place: n for place, n in lengths.items() if n > 400} == {}
