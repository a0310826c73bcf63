"""Lists as people write them: refused with file, line and remedy, or read as they are meant."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.sources.inventory import normalise
from pipeline.sources.lister import Listing
from pipeline.sources.readers import read
from tests.pipeline.samples import dataset
from tests.pipeline.sources.test_readers import own, texts, touch

NAMES = ("a0.mp4", "a1.mp4", "b0.mp4")


def listing(root: Path, text: str | bytes, **options: object) -> Listing:
    """The listing of three files and one list, `train.txt`."""
    for name in NAMES:
        touch(root / "v" / name)
    data = text.encode() if isinstance(text, str) else text
    touch(root / "train.txt", data)
    multi = bool(options.pop("multi_label", False))
    about = dataset(
        "fcvid" if multi else "own_list", options=own({"train": "train.txt"}, **options)
    )
    return read(about, root)


def found(listing: Listing) -> dict[str, tuple[str, list[int]]]:
    return {str(row.video_id): (row.status, row.labels) for row in listing.rows}


@pytest.mark.parametrize(
    ("separator", "line", "count"),
    [
        (",", "a0.mp4,0,", 3),
        (",", "a0.mp4,0,1", 3),
        (",", "a0.mp4,0,12.5,x", 4),
        (",", "a0.mp4", 1),
        ("\t", "a0.mp4\t0\t1", 3),
        (";", "a0.mp4;0;", 3),
        (" ", "a0.mp4 0 1", 3),
        (" ", "a0.mp4 24 0 1", 4),
        (" ", "a0.mp4", 1),
    ],
)
def test_a_line_with_other_columns_than_the_manifest_is_refused(
    tmp_path: Path, separator: str, line: str, count: int
) -> None:
    first = f"b0.mp4{separator}0\n\n"
    with pytest.raises(DataError) as caught:
        listing(tmp_path, first + line, separator=separator)
    message = str(caught.value)
    assert f"{count} columns where the manifest names 2 (path, labels)" in message
    assert "train.txt, line 3" in message
    assert "`skip`" in message


def test_a_column_that_is_named_skip_is_left_out(tmp_path: Path) -> None:
    text = "a0.mp4,x,0\nb0.mp4,y,1\n"
    columns = ["path", "skip", "labels"]
    assert found(listing(tmp_path, text, separator=",", columns=columns)) == {
        "a0.mp4": ("ok", [0]), "b0.mp4": ("ok", [1]),
    }  # fmt: skip


def test_several_labels_stay_allowed_where_the_manifest_wants_them(tmp_path: Path) -> None:
    text = "a0.mp4,0,1,\nb0.mp4,1\n"
    rows = found(listing(tmp_path, text, separator=",", multi_label=True))
    assert rows == {"a0.mp4": ("ok", [0, 1]), "b0.mp4": ("ok", [1])}


@pytest.mark.parametrize("header", ["path label", "video class", "Filename Label", "id num_frames"])
def test_a_header_is_named_and_can_be_declared(tmp_path: Path, header: str) -> None:
    text = f"{header}\na0.mp4 0\nb0.mp4 1\n"
    with pytest.raises(DataError, match=r"(?s)looks like a header.*train\.txt, line 1.*header: tr"):
        listing(tmp_path, text)
    assert set(found(listing(tmp_path, text, header=True))) == {"a0.mp4", "b0.mp4"}
    with pytest.raises(DataError, match=r"the first line names a video(?s:.)*header: false"):
        listing(tmp_path, "a0.mp4 0\n", header=True)


def test_a_video_may_have_the_name_of_a_column(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "video")
    rows = found(listing(tmp_path, "video 0\nb0.mp4 1\n"))
    assert rows == {"video": ("ok", [0]), "b0.mp4": ("ok", [1])}


def test_comments_are_left_out_with_a_remark(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "#1.mp4")
    read_back = listing(tmp_path, "# my videos\na0.mp4 0\n#1.mp4 1\n#b0.mp4 1\n")
    assert set(found(read_back)) == {"a0.mp4", "#1.mp4"}
    assert [remark.kind for remark in read_back.remarks] == ["comment lines, left out"] * 2
    assert texts(read_back)[0] == "train.txt, line 1 begins with #"


@pytest.mark.parametrize("label", ["-1", "1.0", "0.5", "+1", "1e3", "1."])
def test_a_number_that_is_no_class_number_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(DataError, match=r"no class number(?s:.)*train\.txt, line 2"):
        listing(tmp_path, f"a0.mp4 0\nb0.mp4 {label}\n")


@pytest.mark.parametrize("label", ["0,1", "0;1", "0,", "0;", "1|2", "x", "0x1", "nan"])
def test_several_labels_and_names_among_numbers_are_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(DataError, match=r"several columns|is a name(?s:.)*train\.txt, line 2"):
        listing(tmp_path, f"a0.mp4 0\nb0.mp4 {label}\n")


@pytest.mark.parametrize(
    "lines", ["0 jump\n1 run\n", "1 jump\n2 run\n", "jump,\nrun,\n", "a\0\nb\n"]
)
def test_a_class_file_that_holds_more_than_names_is_refused(tmp_path: Path, lines: str) -> None:
    touch(tmp_path / "classes.txt", lines.encode())
    with pytest.raises(DataError, match=r"more than a class name|control(?s:.)*classes\.txt"):
        listing(tmp_path, "a0.mp4 0\nb0.mp4 1\n", classes="classes.txt")


def test_a_line_without_a_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without a label(?s:.)*train\.txt, line 2"):
        listing(tmp_path, "a0.mp4,0\nb0.mp4,\n", separator=",")


@pytest.mark.parametrize("frames", ["x", "-1", "12.0", ""])
def test_a_frame_count_that_is_none_is_refused(tmp_path: Path, frames: str) -> None:
    options = {"columns": ["path", "frames", "labels"], "separator": ","}
    with pytest.raises(DataError, match=r"no number of frames(?s:.)*line 1(?s:.)*skip"):
        listing(tmp_path, f"a0.mp4,{frames},0\n", **options)
    rows = listing(tmp_path, "a0.mp4,24,0\n", **options).rows
    assert [row.frames_listed for row in rows] == [24]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("./a0.mp4", "a0.mp4"), (".//a0.mp4", "a0.mp4"), ("sub/./x.mp4", "sub/x.mp4"),
        ("sub//x.mp4", "sub/x.mp4"), ("././sub/x.mp4", "sub/x.mp4"), ("v/a0.mp4", "v/a0.mp4"),
    ],
)  # fmt: skip
def test_names_as_find_writes_them(tmp_path: Path, written: str, meant: str) -> None:
    touch(tmp_path / "v" / "sub" / "x.mp4")
    assert found(listing(tmp_path, f"{written} 0\n")) == {meant: ("ok", [0])}


@pytest.mark.parametrize("name", ["", "a", "..", "../a", "/a", "a.b/c.d", "...", "a/..b"])
def test_other_names_are_not_touched(name: str) -> None:
    assert normalise(name) == name


@pytest.mark.parametrize(
    "name", ["x.ts", "x.gif", "x", "x.MP4", "1/2/3/4/5/6/7/8/9/x.mp4", ".x.mp4"]
)
def test_a_listed_file_is_found_whatever_its_ending_and_depth(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "v" / name)
    (row,) = listing(tmp_path, f"{name} 0\n").rows
    assert (row.status, row.relpath) == ("ok", f"v/{name}")


def test_a_missing_file_names_the_one_with_another_ending(tmp_path: Path) -> None:
    (row,) = listing(tmp_path, "a0.avi 0\n").rows
    assert (row.status, row.reason) == ("missing", "no file v/a0.avi; there is v/a0.mp4")
    (row,) = listing(tmp_path, "a1 0\n").rows
    assert row.reason == "no file v/a1; there is v/a1.mp4"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-16-be-mark", "utf-32", "utf-8"])
def test_lists_in_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    text = "a0.mp4 aï\r\nb0.mp4 b\r\n"
    if encoding == "utf-16-be-mark":
        data = b"\xfe\xff" + text.encode("utf-16-be")
    else:
        data = text.encode(encoding)
    assert listing(tmp_path, data).classes == ("aï", "b")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_an_encoding_without_a_mark_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=r"looks like UTF-16(?s:.)*train\.txt(?s:.)*UTF-8"):
        listing(tmp_path, "a0.mp4 0\nb0.mp4 1\n".encode(encoding))
    with pytest.raises(DataError, match="begins as UTF-16"):
        listing(tmp_path, b"\xff\xfea\x00b")


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_composed_differently_are_found_with_a_remark(
    tmp_path: Path, written: str, stored: str
) -> None:
    name = "été.mp4"
    touch(tmp_path / "v" / unicodedata.normalize(stored, name))
    touch(tmp_path / "v" / "Plain.MP4")
    read_back = listing(tmp_path, f"{unicodedata.normalize(written, name)} 0\nplain.mp4 1\n")
    assert {row.status for row in read_back.rows} == {"ok"}
    assert {remark.kind for remark in read_back.remarks} == {
        "accents are composed differently (Unicode NFC and NFD)", "upper and lower case differ",
    }  # fmt: skip
    assert read_back.unlisted == tuple(f"v/{name}" for name in NAMES)
