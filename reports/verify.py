"""Re-hash a report's chain, from `index.html` to the raw files, without the project's code.

    python3 reports/verify.py reports/mini

Standard library alone: copy it anywhere. It reads the page, its trace pages and tables and the run
records that they rest on, and digests again every file that a record names and every raw video
that a frame store was made from. Exit status, as of `tdn audit`: 0 clean; 1 broken, each finding
names the file; 2 it could not run; 3 incomplete: data, runs or raw files are not on this machine.

It computes no result again, and does not look at `dvc.lock`, git, signatures, and manifests or code
that no record names. Raw videos are found by name and content: the ledger is a Parquet file.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

CLEAN, BROKEN, NOT_RUN, INCOMPLETE = 0, 1, 2, 3
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
STEP = re.compile(
    r"<li><code>([0-9a-f]*) ([^<]+)</code>"
    r'(?: <span class="soft">by ([^<,]+)(?:, see above)?</span>)?'
)
ROOTS = {
    ".md": re.compile(r"Evidence root `([0-9a-f]{64})`"),
    ".tex": re.compile(r"Evidence root \\texttt\{([0-9a-f]{64})\}"),
    ".html": re.compile(r"(?:root|root.json</a>,|sha256) <code>([0-9a-f]{64})</code>"),
}
RECORD = {"schema", "identity", "outputs", "identity_sha256", "record_sha256"}
IDENTITY = {"stage", "key", "profile", "inputs", "params", "params_sha256", "code"}


class Item(NamedTuple):
    """A file or folder as a record names it; `files`: {name below it: sha256}, of a folder."""

    role: str
    path: str
    sha256: str
    files: Mapping[str, str]


class Run(NamedTuple):
    """A run record."""

    sha256: str
    params: Mapping[str, Any]
    inputs: list[Item]
    outputs: list[Item]


def read_json(path: Path) -> Any:
    """The JSON value of a file; ValueError for a key that is there twice, NaN and no UTF-8."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    text = path.read_bytes().decode("utf-8")
    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def digest_json(value: Any) -> str:
    """sha256 of a value's canonical JSON: sorted keys, no spaces, UTF-8."""
    form: dict[str, Any] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    return hashlib.sha256(json.dumps(value, allow_nan=False, **form).encode("utf-8")).hexdigest()


def is_scratch(name: str) -> bool:
    """What editors, file managers and readers of LMDB leave: no result."""
    left = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory")
    ends = name.endswith(("~", ".swp", ".swo", ".lmdb-lock", "#"))
    return ends or name in left or name.startswith((".tmp-", "._", ".#", ".nfs"))


def frames_in(names: Iterable[str], prefix: str | None) -> list[str]:
    """The numbered JPEGs among a folder's files, in the order of their numbers."""
    found = []
    for name in names:
        stem, _, suffix = name.rpartition(".")
        number = re.search(r"[0-9]{1,18}$", stem)
        if number and suffix.lower() in ("jpg", "jpeg") and not stem.startswith("."):
            found.append((stem[: number.start()], int(number[0]), name))
    return [name for _, _, name in sorted(found) if name.startswith(prefix or "")]


def digest_frames(folder: Path, names: Iterable[str]) -> str:
    """sha256 over names, sizes and bytes of a folder's frames, in order."""
    content = hashlib.sha256()
    for name in map(os.fsencode, names):
        data = Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).read_bytes()
        content.update(f"{len(name)} {len(data)}\n".encode() + name + data)
    return content.hexdigest()


def read_item(entry: Mapping[str, Any]) -> Item:
    """An input or output of a record; ValueError where it is not plain or contradicts itself."""
    path, files = entry["path"], entry.get("files") or {}
    for name in (path, *files):
        if {"", ".", ".."} & {*name.split("/")}:
            raise ValueError(f"the path {name!r} leaves the project or is not plain")
    listed = {name: about["sha256"] for name, about in files.items()}
    if files and entry["sha256"] != digest_json(listed):
        raise ValueError(f"its digest of {path} is not that of the files it lists there")
    return Item(entry["role"], path, entry["sha256"], listed)


class Verifier:
    """One look at `reports/P`; `broken` and `absent` are what it found, {path: what is wrong}."""

    def __init__(self, report: Path) -> None:
        self.report = report.resolve()
        self.root, self.profile = self.report.parents[1], self.report.name
        self.broken: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        self.runs: dict[str, Run] = {}
        self.makers: dict[str, str] = {}
        self.made: dict[str, Item] = {}
        self.digests: dict[Path, str] = {}
        self.videos = 0

    def verify(self) -> int:
        """Look at everything; the exit status."""
        for path in sorted((self.report / "records").glob("*/*.json")):
            if not path.name.endswith(".observed.json") and "@" not in path.name:
                self.attempt(path, self.read_record, path)
        if not self.runs and not self.broken:
            return NOT_RUN
        for name, run in self.runs.items():
            for item in run.inputs:
                self.check_input(name, item)
            for item in run.outputs:
                self.check_item(name, item)
            if name.startswith("decode/"):
                self.attempt(self.report / "records" / f"{name}.json", self.check_raw, name)
        self.attempt(self.report / "root.json", self.check_root)
        self.attempt(self.report / "tables" / "cells.json", self.check_cells)
        self.attempt(self.report / "index.html", self.check_links)
        self.attempt(self.report / "trace", self.check_traces)
        return BROKEN if self.broken else INCOMPLETE if self.absent else CLEAN

    def attempt(self, path: Path, check: Any, *given: Any) -> None:
        """Let a check read what anybody may have written."""
        try:
            check(*given)
        except DAMAGED as error:
            self.find(self.place(path), f"it cannot be read or does not hold: {error}")

    def find(self, path: str, words: str) -> None:
        self.broken.setdefault(path, words)

    def place(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def hash(self, path: Path) -> str:
        """sha256 of a file, read once; words where it cannot be read."""
        if path not in self.digests:
            try:
                with path.open("rb") as file:
                    self.digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                self.digests[path] = f"cannot be read: {error.strerror}"
        return self.digests[path]

    def above(self, path: str) -> str | None:
        """The output of a run that is a path, or the nearest folder above it."""
        while path and path not in self.made:
            path = path.rpartition("/")[0]
        return path or None

    def recorded(self, path: str) -> str | None:
        """What its maker recorded of a file: '' for nothing, None where no run made it."""
        made = self.above(path)
        if made is None:
            return None
        item = self.made[made]
        return item.sha256 if made == path else item.files.get(path[len(made) + 1 :], "")

    def read_record(self, path: Path) -> None:
        record = read_json(path)
        identity, name = record["identity"], f"{path.parent.name}/{path.stem}"
        sealed = {key: value for key, value in record.items() if key != "record_sha256"}
        checks = {
            "record_sha256": record["record_sha256"] == digest_json(sealed),
            "identity_sha256": record["identity_sha256"] == digest_json(identity),
            "params_sha256": identity["params_sha256"] == digest_json(identity["params"]),
            "schema": record["schema"] == "tdn.run/1",
            "profile": identity["profile"] == self.profile,
            "name": f"{identity['stage']}/{identity['key']}" == name,
            "list of fields": {*record} == RECORD and {*identity} == IDENTITY,
        }
        if wrong := [what for what, holds in checks.items() if not holds]:
            self.find(self.place(path), f"its {wrong[0]} does not fit")
        inputs, outputs = ([*map(read_item, x)] for x in (identity["inputs"], record["outputs"]))
        self.runs[name] = Run(record["record_sha256"], identity["params"], inputs, outputs)
        for item in outputs:
            if item.path in self.made:
                self.find(item.path, f"{name} and {self.makers[item.path]} both made it")
            self.makers[item.path], self.made[item.path] = name, item
        code = self.report / "code" / f"{identity['code']['digest'][:16]}.json"
        self.attempt(code, self.check_code, code, identity["code"]["digest"])

    def check_code(self, path: Path, digest: str) -> None:
        """The list of definitions behind a code digest."""
        definitions = {one for found in read_json(path).values() for one in found.values()}
        if digest_json(sorted(definitions)) != digest:
            self.find(self.place(path), "it lists other definitions than those of a code digest")

    def check_input(self, name: str, item: Item) -> None:
        """What a run read is what its maker recorded; a file that no run made is on disk."""
        declared = self.recorded(item.path)
        if declared is None:
            if self.profile in item.path.split("/")[1:2]:  # below data/P, runs/P or reports/P
                self.find(item.path, f"{name} read it, and no record says what made it")
            self.check_item(name, item)
        elif declared not in ("", item.sha256):
            self.find(item.path, f"{name} saw another file than its maker recorded")

    def check_item(self, name: str, item: Item) -> None:
        path = self.root / item.path
        if path.is_dir():
            found = {place: self.hash(file) for place, file in self.below(path)}
            for part in {*found, *item.files} if digest_json(found) != item.sha256 else ():
                whole, declared = f"{item.path}/{part}", item.files.get(part, "")
                if part not in found:
                    self.miss(whole, name)
                elif found[part] != declared:
                    words = "not the file that was recorded" if declared else "in no record"
                    self.find(whole, f"{words} ({name})")
        elif not path.is_file():
            self.miss(item.path, name)
        elif self.hash(path) != item.sha256:
            self.find(item.path, f"not the file that was recorded ({name})")

    def below(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """(name below the folder, path) of all its files that are no scratch."""
        for place, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not is_scratch(name)]
            for path in (Path(place, name) for name in names if not is_scratch(name)):
                if path.is_file():
                    yield path.relative_to(folder).as_posix(), path

    def miss(self, path: str, name: str) -> None:
        """A file is absent with its whole place (data, runs, a store, raw data), or missing."""
        parts = path.split("/")
        places = [f"data/{self.profile}", f"runs/{self.profile}"]
        if parts[0] == "data" and not path.endswith(".generated.json"):
            depth = 3 if parts[1] in ("raw", "weights") else 4
            if {"raw", "weights", "frames", "flow"} & {*parts[1:3]}:
                places.append("/".join(parts[:depth]))
        around = [place for place in places if f"{path}/".startswith(f"{place}/")]
        if gone := [place for place in around if not (self.root / place).exists()]:
            self.absent.setdefault(gone[0], "not on this machine")
        else:
            self.find(path, f"missing: {name} records it")

    def check_root(self) -> None:
        """It is the digest over all records and files behind the tables, and all pages carry it."""
        path = self.report / "root.json"
        stated = read_json(path)
        reads, runs, todo = sorted({*stated["reads"]}), {}, [*stated["reads"]]
        while todo:
            made = self.above(todo.pop())
            name = self.makers[made] if made is not None else ""
            if name and name not in runs:
                runs[name] = self.runs[name].sha256
                todo += [item.path for item in self.runs[name].inputs]
        own = {p: self.root / p for p in reads if self.above(p) is None}
        files = {p: self.hash(file) if file.is_file() else None for p, file in own.items()}
        body = {"schema": stated["schema"], "profile": self.profile, "reads": reads}
        body |= {"runs": runs, "files": files}
        if {**body, "root": digest_json(body)} != stated:
            known, now = stated["runs"] | stated["files"], runs | files
            others = sorted(n for n in {*known, *now} if known.get(n) != now.get(n))
            words = ", ".join(others[:4]) or "what it lists"
            self.find(self.place(path), f"it is not the root of these now: {words}")
        cells = self.hash(self.report / "tables" / "cells.json")
        for page in (self.report / "index.html", *self.report.glob("t*/**/*.*")):
            if page.suffix in ROOTS:
                roots = ROOTS[page.suffix].findall(page.read_text("utf-8", errors="replace"))
                wanted = {stated["root"], *([cells] if page.name == "index.html" else [])}
                if not wanted <= {*roots} and (roots or "trace" not in page.parts):
                    self.find(self.place(page), "it carries another root than root.json")

    def check_cells(self) -> None:
        """Every cell's sources are what their makers recorded."""
        path = self.report / "tables" / "cells.json"
        for name, cell in read_json(path)["cells"].items():
            for source in cell["lineage"]["sources"]:
                place = source["path"]
                if source["sha256"] != (self.recorded(place) or self.hash(self.root / place)):
                    self.find(self.place(path), f"{name} was made from another {place}")

    def check_links(self) -> None:
        """Every link of `index.html` leads to a file and, on a page of ours, to a place in it."""
        page = self.report / "index.html"
        anchors: dict[Path, set[str]] = {}
        for link in {*re.findall(r'href="([^"]+)"', page.read_text("utf-8"))}:
            name, _, fragment = html.unescape(link).partition("#")
            target = page.parent / unquote(name) if name else page
            if ":" in name:
                continue
            if target.suffix == ".html" and target.is_file() and target not in anchors:
                text = target.read_text("utf-8", errors="replace")
                anchors[target] = {"", *map(html.unescape, re.findall(r' id="([^"]+)"', text))}
            if not target.is_file() or unquote(fragment) not in anchors.get(target, {fragment}):
                self.find(self.place(page), f"its link {link} leads nowhere")

    def check_traces(self) -> None:
        """Every step of a trace page is that of the record which it names."""
        for page in sorted((self.report / "trace").glob("**/*.html")):
            for digest, place, maker in STEP.findall(page.read_text("utf-8", errors="replace")):
                path = html.unescape(place)
                kind, _, name = path.partition("/records/")
                run = self.runs.get(name.removesuffix(".json")) if kind.startswith("rep") else None
                declared = run.sha256 if run else self.recorded(path) or self.hash(self.root / path)
                made = self.makers.get(self.above(path) or "", "")
                if not digest or not declared.startswith(digest):
                    self.find(self.place(page), f"its step {digest} {path} is not the record's")
                elif maker and html.unescape(maker) != made:
                    self.find(self.place(page), f"{path} was made by {made or 'no run'}")

    def check_raw(self, name: str) -> None:
        """Every source that a store's shards name is among the raw files, and so are its lists."""
        dataset = name.partition("/")[2]
        store = next(item.path for item in self.runs[name].outputs if item.role == "store")
        path = self.root / "data" / self.profile / "sources" / f"{dataset}.json"
        if not (self.root / store).is_dir() or not path.is_file():
            return
        params, summary = self.runs[f"check/{dataset}"].params, read_json(path)
        if summary["status"] == "absent":
            return
        raw = f"data/{self.profile if params['generated'] else ''}/raw/{dataset}".replace("//", "/")
        if not (self.root / raw).is_dir():
            self.absent.setdefault(raw, "not on this machine")
            return
        for list_name, digest in summary["annotations"].items():
            if self.hash(self.root / raw / list_name) != digest:
                self.find(f"{raw}/{list_name}", "not the list that was checked")
        shards = [read_json(shard) for shard in (self.root / store).glob("shard-*.json")]
        videos = {v["video_id"]: v["source_sha256"] for shard in shards for v in shard["videos"]}
        self.check_videos(raw, videos, params["dataset"]["options"]["frame_prefix"])

    def check_videos(self, raw: str, videos: Mapping[str, str], prefix: str | None) -> None:
        """Each video under its name where a file or folder has it, else its content anywhere."""
        named: dict[str, list[tuple[str, str]]] = {}
        for place, digest in self.candidates(self.root / raw, prefix):
            name = place.rpartition("/")[2]
            for key in {"", name, name.rpartition(".")[0]}:
                named.setdefault(key, []).append((digest, place))
        contents = {digest for digest, _ in named.get("", [])}
        for video, digest in sorted(videos.items()):
            own = dict(named.get(video.rpartition("/")[2], []))
            self.videos += 1
            if digest and digest not in (own or contents):
                words = "not the video that was decoded" if own else "no raw file is this video"
                self.find(next(iter(own.values()), f"{raw}/{video}"), words)

    def candidates(self, raw: Path, prefix: str | None) -> Iterator[tuple[str, str]]:
        """(path, digest) of every raw file that is no frame, and of every folder of frames."""
        for folder, _, names in os.walk(raw, followlinks=True):
            place = Path(folder)
            if frames := frames_in(names, prefix):
                yield self.place(place), digest_frames(place, frames)
            for name in {*names} - {*frames}:
                yield self.place(place / name), self.hash(place / name)


def main() -> int:
    """Verify the report that the command line names; print what is wrong, then the totals."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path, help="reports/PROFILE, in the project's folder")
    found = Verifier(parser.parse_args().report)
    status = found.verify()
    if status == NOT_RUN:
        print(f"there are no run records in {found.report / 'records'}", file=sys.stderr)
        return status
    for word, findings in (("broken", found.broken), ("absent", found.absent)):
        for path, words in findings.items():
            print(f"{word}: {path}: {words}")
    counts = f"{len(found.runs)} records, {len(found.digests)} files, {found.videos} raw videos"
    print(f"verify: {counts}: {('clean', 'broken', '', 'incomplete')[status]}")
    return status


if __name__ == "__main__":
    sys.exit(main())
