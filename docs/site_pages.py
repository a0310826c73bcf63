"""Pages of the documentation site that are no file of docs/: README and its like, the reference.

The reference has a page for each room; the functions' own words are read from the sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

BESIDE = {"index": "README", "contributing": "CONTRIBUTING", "changelog": "CHANGELOG"}
PACKAGES = ("pipeline", "tdn_model", "stages")


def on_files(files: Files, config: Any) -> Files:
    """Add them to the site's files and the reference to its navigation."""
    root = Path(config.config_file_path).parent
    for page, name in BESIDE.items():
        text = (root / f"{name}.md").read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, f"{page}.md", content=text))
    reference = []
    for package in PACKAGES:
        pages = []
        for folder in sorted({path.parent for path in (root / package).rglob("*.py")}):
            room = ".".join(folder.relative_to(root).parts)
            modules = [path.stem for path in sorted(folder.glob("*.py")) if path.stem[0] != "_"]
            if modules:
                text = "\n\n".join([f"# {room}", *(f"::: {room}.{name}" for name in modules)])
                files.append(File.generated(config, f"reference/{room}.md", content=text))
                pages.append({room: f"reference/{room}.md"})
        reference.append({package: pages})
    config.nav.append({"Reference": reference})
    return files
