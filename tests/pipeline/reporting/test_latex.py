"""The tables as LaTeX: every one of the manifests compiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import TablesPlan
from pipeline.schema.table_layouts import load_all
from stages import tables
from tests.checkout import ROOT

ENGINE = shutil.which("tectonic") or shutil.which("pdflatex")
PREAMBLE = r"\documentclass{article}\usepackage{booktabs,amssymb}\begin{document}"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every table with its printed numbers alone: nothing was measured."""
    work = Workspace(tmp_path_factory.mktemp("project"))
    shutil.copytree(ROOT / "manifests", work.manifests)
    stated = load_all(work.manifests)
    layouts = stated.layouts
    named = {run for layout in layouts for row in layout.rows.values() for run in row.named_runs}
    rows = sorted(named - set(stated.combinations))
    tables.run(work, "all", TablesPlan(profile="mini", smoke=True, rows=rows))
    folder = work.reports / "tables"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.tex")}
    assert len(found) == len(layouts) - 1, "all but that of another profile's combinations"
    return found


def test_no_character_is_left_that_latex_does_not_know(texts: dict[str, str]) -> None:
    strange = {name: [c for c in text if not c.isascii()] for name, text in texts.items()}
    assert not any(strange.values()), strange


@pytest.mark.skipif(ENGINE is None, reason="no tectonic or pdflatex here")
def test_every_table_compiles(texts: dict[str, str], tmp_path: Path) -> None:
    body = "\n\\clearpage\n".join([PREAMBLE, *texts.values(), r"\end{document}"])
    (tmp_path / "all.tex").write_text(body, "utf-8")
    words = [str(ENGINE), "all.tex"]
    if "pdflatex" in words[0]:
        words[1:1] = ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000
