"""Annotation files of every layout, changed as people change them: refused with file and remedy, or
read as meant, or read with a remark. Nothing else, and never a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import TdnError
from pipeline.schema.dataset import Dataset
from pipeline.sources.ledger import check, read_ledger
from tests.pipeline.samples import dataset

EXAMPLES = 150


@dataclass(frozen=True)
class Layout:
    """A small data set: its manifest, its files, and its annotation by file name."""

    about: Dataset
    raw: Path
    lists: dict[str, str]

    def outcome(self, **changed: bytes) -> tuple[dict[str, int], Any]:
        """Remarks by kind, and classes and rows, with some annotation files changed."""
        for name, text in self.lists.items():
            (self.raw / name).write_bytes(changed.get(name, text.encode()))
        summary = self.raw.parent / f"{self.raw.name}.json"
        record = check(self.about, self.raw, summary)
        rows = [
            (row.video_id, row.labels, row.splits, row.status)
            for row in read_ledger(summary.with_suffix(".parquet"))
        ]
        remarks = {kind: found["count"] for kind, found in record["remarks"].items()}
        return remarks, (record["classes"], rows)


def own(separator: str, labels: str) -> dict[str, str]:
    lines = {
        f"{letter}{number}": f"{letter}{number}.mp4{separator}{label}\n"
        for letter, label in zip("ab", labels, strict=True)
        for number in range(4)
    }
    train = "".join(line for name, line in lines.items() if name[1] != "3")
    return {"train": train, "val": lines["a3"] + lines["b3"]}


def texts(layout: str) -> tuple[list[str], dict[str, str]]:
    """(files below the videos' folder, annotation) of a layout; eight videos of two classes."""
    mine = [f"{letter}{number}.mp4" for letter in "ab" for number in range(4)]
    if layout in ("own_list", "own_csv"):
        found = own(" ", "01") if layout == "own_list" else own(",", "ab")
        suffix = ".txt" if layout == "own_list" else ".csv"
        return mine, {name + suffix: text for name, text in found.items()}
    if layout in ("act", "fcvid"):
        found = own(" ", "01")
        lists = {"train.txt": found["train"], "test.txt": found["val"]}
        return mine, {**lists, "classes.txt": "jump\nrun\n"}
    ids = [str(number + 1) for number in range(8)]
    named = [(name, ("Pulling", "Pushing")[int(name) % 2]) for name in ids]
    if layout == "ssv1":
        lines = [f"{name};{label}\n" for name, label in named]
        parts = {"train": lines[:6], "validation": lines[6:], "labels": ["Pushing\n", "Pulling\n"]}
        stem = "something-something-v1-"
        lists = {f"{stem}{part}.csv": "".join(found) for part, found in parts.items()}
        return [f"{name}/{n:05d}.jpg" for name in ids for n in (1, 2)], lists
    if layout == "ssv2":
        items = [{"id": name, "template": label} for name, label in named]
        labels = {"Pulling": 0, "Pushing": 1}
        values = {"train": items[:6], "validation": items[6:], "labels": labels}
        return [f"{name}.webm" for name in ids], {
            f"{part}.json": json.dumps(value, indent=0) for part, value in values.items()
        }
    if layout == "kinetics400":
        head = "label,youtube_id,time_start,time_end,split\n"
        names = [(f"abcdefgh_{n:02d}", ("air drumming", "jumping")[n % 2]) for n in range(8)]
        lines = [f"{label},{name},1,11,train\n" for name, label in names]
        last = "".join(lines[6:]).replace("train", "validate")
        lists = {"train.csv": head + "".join(lines[:6]), "validate.csv": head + last}
        return [f"{label}/{name}_000001_000011.mp4" for name, label in names], lists
    if layout == "ucf101":
        videos = [f"{c}/v_{c}_g{n:02d}_c01" for c in ("Archery", "Biking") for n in range(1, 5)]
        train = "".join(f"{v}.avi {1 + ('B' in v)}\n" for v in videos if "g04" not in v)
        test = "".join(f"{v}.avi\n" for v in videos if "g04" in v)
        lists = {f"trainlist0{n}.txt": train for n in (1, 2, 3)}
        lists |= {f"testlist0{n}.txt": test for n in (1, 2, 3)}
        return [f"{v}.avi" for v in videos], {**lists, "classInd.txt": "1 Archery\n2 Biking\n"}
    videos = [f"{c}/{c}_{n}.avi" for c in ("clap", "wave") for n in range(4)]
    lists = {
        f"{c}_test_split{turn}.txt": "".join(
            f"{c}_{n}.avi {2 if n == 3 else 1} \n" for n in range(4)
        )
        for c in ("clap", "wave")
        for turn in (1, 2, 3)
    }
    return videos, lists


LAYOUTS = (
    "own_list", "own_csv", "act", "fcvid", "ssv1", "ssv2", "kinetics400", "ucf101", "hmdb51"
)  # fmt: skip


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Layout, Any]]:
    """All of them on disk with their unchanged outcome; files hold their names, which is enough
    for `check`."""
    root = tmp_path_factory.mktemp("lists")
    found = {}
    for name in LAYOUTS:
        files, lists = texts(name)
        about = dataset(name)
        for file in files:
            path = root / name / about.options.videos / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file)
        layout = Layout(about, root / name, lists)
        found[name] = (layout, layout.outcome())
    return found


def each(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(line) for line in text.splitlines(keepends=True))


def last(text: str) -> str:
    return text.splitlines(keepends=True)[-1]


MEANT: dict[str, Callable[[str], str | bytes]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "byte mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "blank lines": lambda text: text.replace("\n", "\n \n"),
    "trailing blanks": lambda text: text.replace("\n", " \t\n"),
    "no last line end": lambda text: text.rstrip("\n"),
}
"""Changes that mean the same."""
OTHER: dict[str, Callable[[str], str | bytes]] = {
    "UTF-16 without mark": lambda text: text.encode("utf-16-le"),
    "Latin-1": lambda text: ("é" + text).encode("latin-1"),
    "./": lambda text: each(text, lambda line: f"./{line}"),
    "comment": lambda text: f"# a comment\n{text}",
    "comment //": lambda text: f"// a comment\n{text}",
    "header": lambda text: f"path label\n{text}",
    "header of csv": lambda text: f"path,label\n{text}",
    "index column": lambda text: each(text, lambda line: f"0 {line}"),
    "one more column": lambda text: text.replace("\n", " 7\n"),
    "one more cell": lambda text: text.replace("\n", ",7\n"),
    "trailing comma": lambda text: text.replace("\n", ",\n"),
    "trailing semicolon": lambda text: text.replace("\n", ";\n"),
    "more in one line": lambda text: text.replace("\n", " 7\n", 1),
    "line twice": lambda text: text + last(text),
    "list twice": lambda text: text + text,
    "quotes": lambda text: each(text, lambda line: f'"{line.rstrip()}"\n'),
    "tabs": lambda text: text.replace(" ", "\t"),
    "upper case": lambda text: text.upper(),
    "label -1": lambda text: text.replace(" 1\n", " -1\n"),
    "label 1.0": lambda text: text.replace(" 1\n", " 1.0\n"),
    "labels from 1": lambda text: text.replace(" 1\n", " 2\n").replace(" 0\n", " 1\n"),
    "hexadecimal": lambda text: text.replace(" 1\n", " 0x1\n"),
    "huge label": lambda text: text.replace(" 1\n", " 9999999999\n"),
    "two labels": lambda text: text.replace(" 1\n", " 0,1\n").replace("a\n", "a;b\n"),
    "another class": lambda text: text.replace("Pulling", "Zebra").replace("jumping", "zebra"),
    "class in capitals": lambda text: text.replace("Pulling", "PULLING", 1).replace("jump", "Jump"),
    "no label": lambda text: each(text, lambda line: line.partition(";")[0].split(" ")[0] + "\n"),
    "half": lambda text: text[: len(text) // 2],
    "half a line": lambda text: text[: -len(last(text)) // 2],
    "garbage": lambda text: f"{text}%%%%\n",
    "zeros": lambda text: f"{text}\0\0",
    "empty": lambda text: "",
    "web page": lambda text: "<!DOCTYPE html>\n<html><title>404</title></html>\n",
    "backwards": lambda text: "".join(reversed(text.splitlines(keepends=True))),
    "another ending": lambda text: text.replace(".mp4", ".mov").replace(".avi", ".mov"),
    "no ending": lambda text: text.replace(".mp4", "").replace(".avi", ""),
    "absolute": lambda text: each(text, lambda line: f"/data/{line}"),
    "folder": lambda text: each(text, lambda line: f"videos/{line}"),
    "way out": lambda text: each(text, lambda line: f"../{line}"),
    "backslashes": lambda text: text.replace("/", "\\"),
    "merge conflict": lambda text: f"<<<<<<< HEAD\n{text}=======\n>>>>>>> other\n",
}
"""Changes that mean something else, or nothing."""


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_changed_lists_are_refused_or_read_as_meant_or_remarked_on(
    layouts: dict[str, tuple[Layout, Any]], data: st.DataObject
) -> None:
    layout, (remarks, meant) = layouts[data.draw(st.sampled_from(LAYOUTS))]
    name = data.draw(st.sampled_from(sorted(layout.lists)))
    change = data.draw(st.sampled_from([*MEANT, *OTHER]))
    changed = {**MEANT, **OTHER}[change](layout.lists[name])
    also = data.draw(st.sampled_from(["UTF-8", "CRLF", "UTF-16"]))
    if isinstance(changed, str):
        changed = {**MEANT, "UTF-8": str.encode}[also](changed)
    changed = changed if isinstance(changed, bytes) else changed.encode()
    what = f"{layout.about.name}: {name}: {change}"
    try:
        found_remarks, found = layout.outcome(**{name: changed})
    except TdnError as error:
        assert change not in MEANT, f"{what}: {error}"
        assert error.where and error.do, f"{what}: {error}"
        assert name in str(error) or "manifests/" in str(error) or "check" in error.where, what
        return
    if change in MEANT:
        assert (found_remarks, found) == (remarks, meant), what
    elif change == "folder" or (name == "classes.txt" and found[1] == meant[1]):
        return  # ids and names of classes are what a list says
    elif found != meant:
        bad = [row for row in found[1] if row[3] not in ("ok", "skipped")]
        assert bad or found_remarks != remarks, f"{what}: {found} without a word"
