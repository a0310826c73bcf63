"""One frame, four texts: CSV, Markdown, LaTeX, and HTML in the report's template.

The texts depend on the frame and its layout alone: no clock, no machine, no path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.reporting.ordering import Ordering
from pipeline.reporting.training_order import TrainingOrder
from pipeline.schema.table_layouts import Layout

UNIT_TEXT = {"percent": "%", "gflops": "G", "views": "", "ms": "ms", "params": ""}

_LATEX_ROOT = r"  \par\smallskip{\tiny Evidence root \texttt{%s}}"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "⊙": r"$\odot$",
    "×": r"$\times$",
    "–": "--",
    "✓": r"$\checkmark$",
    "Θ": r"$\Theta$",
    "ℓ": r"$\ell$",
    "∼": r"$\sim$",
}


@dataclass(frozen=True)
class Footing:
    """What every table says of itself: a `remark` on its numbers ('' for none), and the digest of
    the evidence that it rests on; `notes` are of this table's cells."""

    remark: str = ""
    root: str = ""
    notes: tuple[str, ...] = ()


def to_csv(frame: pd.DataFrame) -> str:
    """Comma-separated text with a header and Unix line ends."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_markdown(
    frame: pd.DataFrame,
    layout: Layout,
    orderings: Sequence[Ordering | TrainingOrder],
    about: Footing,
) -> str:
    """A heading, a pipe table (one column for claimed, one for measured and status), notes."""
    head, body = _compact(frame, layout, _escape_markdown)
    lines = [f"# {_escape_markdown(layout.document)}, table {layout.table}", ""]
    lines += [f"{_escape_markdown(layout.caption)} ({layout.place})", ""]
    if about.remark:
        lines += [f"**{about.remark}**", ""]
    align = ["---" if position == 0 else "---:" for position in range(len(head))]
    lines += [_pipes(head), _pipes(align), *(_pipes(row) for row in body), ""]
    lines += [f"{ordering.in_words}\n" for ordering in orderings]
    if layout.note:
        lines += [layout.note.strip(), ""]
    lines += [*(f"- {_escape_markdown(note)}" for note in about.notes), *([""] * bool(about.notes))]
    if about.root:
        lines += [f"Evidence root `{about.root}`", ""]
    return "\n".join(lines).rstrip() + "\n"


def to_latex(
    frame: pd.DataFrame,
    layout: Layout,
    orderings: Sequence[Ordering | TrainingOrder],
    about: Footing,
) -> str:
    """A `table` environment (packages booktabs and amssymb)."""
    head, body = _compact(frame, layout, escape_latex)
    parts = (layout.caption, about.remark, *(ordering.in_words for ordering in orderings))
    parts += about.notes
    words = [escape_latex(text) for text in parts if text]
    label = re.sub(r"[^a-z0-9]+", "-", f"{layout.document}-{layout.table}")
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{' '.join(words)}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"    \toprule",
        "    " + " & ".join(head) + r" \\",
        r"    \midrule",
        *("    " + " & ".join(row) + r" \\" for row in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        *([_LATEX_ROOT % about.root] if about.root else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is, the papers' symbols included."""
    return "".join(_LATEX.get(character, character) for character in text)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|\\*_`<>])", r"\\\1", text)


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _compact(
    frame: pd.DataFrame, layout: Layout, escape: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows for reading: per column claim, measurement with its interval, status; at the
    end how many videos failed or were decoded in part.

    A dash is where the text prints numbers in a column, but none for this row.
    """
    head = [escape(layout.label_title), *(escape(label) for label in layout.settings.values())]
    for column in layout.columns.values():
        unit = UNIT_TEXT[column.unit]
        title = f"{column.label} ({unit})" if unit else column.label
        head += [escape(f"{title} claimed"), escape("measured"), escape("status")]
    records = frame.to_dict("records")
    none = {n: "–" if any(r[f"{n}_claimed"] for r in records) else "" for n in layout.columns}
    counted = any(record["n_failed"] != "" for record in records)
    head += ["failed", "partial"] if counted else []
    body = []
    for record in records:
        row = [escape(str(record["label"]))]
        row += [escape(str(record[key])) for key in layout.settings]
        for name in layout.columns:
            row += [
                escape(str(record[f"{name}_claimed"]) or none[name]),
                escape(with_interval(record, name)),
                escape(str(record[f"{name}_status"])),
            ]
        row += [str(record["n_failed"]), str(record["n_partial"])] if counted else []
        body.append(row)
    return head, body


def with_interval(record: Mapping[Any, Any], name: str) -> str:
    """'51.3 [49.1, 53.4]', 'videos only' if it covers no more; the bare number without interval."""
    measured, low = str(record[f"{name}_measured"]), str(record[f"{name}_ci_low"])
    only = " videos only" if record[f"{name}_interval_over"] == "videos" else ""
    return f"{measured} [{low}, {record[f'{name}_ci_high']}]{only}" if low else measured
