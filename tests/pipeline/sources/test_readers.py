"""Readers: official layouts in, one row per listed video out."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import AbsentData, DataError, TdnError, UsageError
from pipeline.core.files import sha256_json
from pipeline.schema.dataset import Layout, ReaderOptions, load_dataset
from pipeline.sources.annotations import number
from pipeline.sources.inventory import unsafe
from pipeline.sources.readers import READERS, Listing, read
from tests.pipeline.samples import MANIFESTS, dataset, real, something_v1, something_v2

LABELS = ["Pushing something", "Holding something", "Turning something upside down"]
DATASETS = sorted(path.stem for path in (MANIFESTS / "datasets").glob("*.yaml"))


def by_id(listing: Listing) -> dict[str, tuple[str | None, tuple[int, ...], tuple[str, ...], str]]:
    return {
        str(i.video_id): (i.relpath, tuple(i.labels), tuple(i.splits), i.status)
        for i in listing.rows
    }


def texts(listing: Listing) -> tuple[str, ...]:
    return tuple(remark.text for remark in listing.remarks)


def splits(listing: Listing) -> Counter[str]:
    return Counter(split for item in listing.rows for split in item.splits)


def touch(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_every_layout_has_a_reader() -> None:
    assert set(READERS) == set(Layout.__args__)
    for name in DATASETS:
        assert load_dataset(MANIFESTS, name).layout in READERS


# --- Something-Something ---------------------------------------------------------------------


def test_something_v1(tmp_path: Path) -> None:
    something_v1(
        tmp_path,
        {
            "10": ("train", LABELS[0], 3),
            "9": ("validation", LABELS[1], 2),
            "777": ("test", "", 2),
        },
        LABELS,
    )
    (tmp_path / "20bn-something-something-v1" / "555").mkdir()
    listing = read(dataset("ssv1"), tmp_path)
    assert listing.classes == tuple(sorted(LABELS))
    folder = "20bn-something-something-v1"
    assert by_id(listing) == {
        "10": (f"{folder}/10", (1,), ("train",), "ok"),
        "9": (f"{folder}/9", (0,), ("validation",), "ok"),
        "777": (f"{folder}/777", (), ("test",), "skipped"),
    }
    assert listing.unlisted == (f"{folder}/555",)


def test_something_v1_label_order_is_a_choice(tmp_path: Path) -> None:
    something_v1(tmp_path, {"10": ("train", LABELS[0], 1)}, LABELS)
    listing = read(dataset("ssv1", label_order="file"), tmp_path)
    assert listing.classes == tuple(LABELS)
    assert by_id(listing)["10"][1] == (0,)


@pytest.mark.parametrize("long_names", [False, True])
def test_something_v2_in_both_naming_styles(tmp_path: Path, long_names: bool) -> None:
    videos = {
        "3": ("train", "Spinning [something] that [part] stops", 3),
        "1": ("validation", "Pushing [number of] [something]", 2),
        "2": ("test", "", 1),
    }
    something_v2(tmp_path, videos, long_names=long_names)
    listing = read(dataset("ssv2"), tmp_path)
    assert listing.classes == ("Pushing number of something", "Spinning something that part stops")
    assert by_id(listing)["3"] == (
        "20bn-something-something-v2/3.webm", (1,), ("train",), "ok",
    )  # fmt: skip
    assert by_id(listing)["2"][3] == "skipped"


def test_something_v2_real_lists(tmp_path: Path) -> None:
    (tmp_path / "20bn-something-something-v2").mkdir()
    for name in ("labels", "validation"):
        file = f"something-something-v2-{name}.json"
        shutil.copy(real("annotations", "sthv2", file), tmp_path / file)
    (tmp_path / "something-something-v2-train.json").write_text("[]")
    shutil.copy(
        real("annotations", "sthv2", "something-something-v2-test_head1000.json"),
        tmp_path / "something-something-v2-test.json",
    )
    listing = read(load_dataset(MANIFESTS, "ssv2"), tmp_path)
    assert splits(listing) == {"validation": 24_777, "test": 1_000}
    assert Counter(item.status for item in listing.rows) == {"missing": 24_777, "skipped": 1_000}
    assert all(len(item.labels) == 1 for item in listing.rows if "validation" in item.splits)
    pairs = load_dataset(MANIFESTS, "ssv2").flip_pairs
    numbers = [[listing.classes.index(name) for name in pair] for pair in pairs]
    assert numbers == [[86, 87], [93, 94], [166, 167]]


def test_something_v1_flip_classes_in_both_orders(tmp_path: Path) -> None:
    names = real("annotations", "sthv1", "mmaction2_label_map.txt").read_text().splitlines()
    pairs = load_dataset(MANIFESTS, "ssv1").flip_pairs
    numbers = [[sorted(names).index(name) for name in pair] for pair in pairs]
    assert numbers == [[86, 87], [93, 94], [166, 167]]
    assert [[names.index(n) for n in pair] for pair in pairs] == [[66, 52], [30, 41], [2, 4]]


# --- UCF101, HMDB51, Weizmann ----------------------------------------------------------------


def test_ucf101_real_lists(tmp_path: Path) -> None:
    shutil.copytree(real("annotations", "ucf101"), tmp_path / "ucfTrainTestlist")
    trap = "HandstandPushups/v_HandStandPushups_g01_c01.avi"
    touch(tmp_path / "UCF-101" / trap)
    manifest = load_dataset(MANIFESTS, "ucf101")
    listing = read(manifest, tmp_path)
    assert splits(listing) == manifest.expected
    assert len(listing.rows) == 13_320
    assert texts(listing) == ()
    source, labels, where, status = by_id(listing)["v_HandStandPushups_g01_c01"]
    assert (source, status) == (f"UCF-101/{trap}", "ok")
    assert listing.classes[labels[0]] == "HandstandPushups"
    assert where == ("test01", "train02", "train03")
    official = real("annotations", "ucf101", "mmaction2_label_map.txt").read_text().split()
    assert list(listing.classes) == official


def test_ucf101_index_that_contradicts_the_folder_is_reported(tmp_path: Path) -> None:
    touch(tmp_path / "lists" / "classInd.txt", b"1 Archery\r\n2 YoYo\r\n")
    for turn in (1, 2, 3):
        touch(tmp_path / "lists" / f"testlist{turn:02d}.txt", b"YoYo/v_YoYo_g01_c02.avi\r\n")
        touch(tmp_path / "lists" / f"trainlist{turn:02d}.txt", b"YoYo/v_YoYo_g01_c01.avi 1\r\n")
    touch(tmp_path / "UCF-101" / "YoYo" / "v_YoYo_g01_c01.avi")
    listing = read(dataset("ucf101"), tmp_path)
    assert len(texts(listing)) == 3
    assert by_id(listing)["v_YoYo_g01_c01"][1] == (1,)


def test_hmdb51_real_lists(tmp_path: Path) -> None:
    shutil.copytree(
        real("annotations", "hmdb51", "testTrainMulti_7030_splits"),
        tmp_path / "testTrainMulti_7030_splits",
    )
    shutil.copytree(real("videos", "hmdb51"), tmp_path / "hmdb51_org")
    manifest = load_dataset(MANIFESTS, "hmdb51")
    listing = read(manifest, tmp_path)
    assert splits(listing) == manifest.expected
    assert len(listing.rows) == 6_766
    found = [item for item in listing.rows if item.status == "ok"]
    assert {listing.classes[item.labels[0]] for item in found} == {"wave", "cartwheel"}
    assert len(found) == 3
    odd = [item.video_id for item in listing.rows if set("![]#&;") & set(item.video_id)]
    assert len(odd) > 300


def test_weizmann_folds_leave_one_person_out() -> None:
    manifest = load_dataset(MANIFESTS, "weizmann")
    listing = read(manifest, real("weizmann"))
    assert splits(listing) == manifest.expected
    for fold in manifest.folds.values():
        train = {i.video_id for i in listing.rows if fold.train in i.splits}
        val = {i.video_id for i in listing.rows if fold.val in i.splits}
        people = [{name.partition("_")[0] for name in ids} for ids in (train, val)]
        assert not people[0] & people[1]
        assert len(train | val) == 90


# --- Kinetics --------------------------------------------------------------------------------

HEADER = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(
    "place",
    [
        "train/massaging person's head/--id_000001_000011.mp4",
        "videos_train/massaging_person's_head/--id_000001_000011.mp4",
        "train/massaging_persons_head/--id_000001_000011.mkv",
        "part_3/--id_000001_000011.mp4",
        "--id_000001_000011.mp4",
        "--id_1_11.webm",
        "any/--id.mp4",
    ],
)
def test_kinetics_naming_styles(tmp_path: Path, place: str) -> None:
    (tmp_path / "train.csv").write_text(
        HEADER + "massaging person's head,--id,1.0,11,train\nabseiling,_id,5,15,train\n"
    )
    touch(tmp_path / place)
    listing = read(dataset("kinetics400"), tmp_path)
    assert by_id(listing) == {
        "--id_000001_000011": (place, (1,), ("train",), "ok"),
        "_id_000005_000015": (None, (0,), ("train",), "missing"),
    }


@pytest.mark.parametrize(
    "place",
    [
        "massaging_persons_head/--id_000001",
        "train/massaging person's head/--id_000001_000011",
        "frames/--id_1",
    ],
)
def test_kinetics_as_extracted_frames(tmp_path: Path, place: str) -> None:
    (tmp_path / "train.csv").write_text(
        HEADER + "massaging person's head,--id,1,11,train\nabseiling,_id,5,15,train\n"
    )
    touch(tmp_path / place / "img_00001.jpg")
    touch(tmp_path / "frames" / "other" / "00001.JPG")
    listing = read(dataset("kinetics400"), tmp_path)
    assert by_id(listing) == {
        "--id_000001_000011": (place, (1,), ("train",), "ok"),
        "_id_000005_000015": (None, (0,), ("train",), "missing"),
    }
    assert listing.unlisted == ("frames/other",)


def test_kinetics_replacements_come_first_and_other_classes_never(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text(
        HEADER + "yoga,a,1,11,val\nzumba,b,1,11,val\n" + "zumba,c,1,11,val\n"
    )
    touch(tmp_path / "val" / "yoga" / "a_000001_000011.mp4")
    better = "replacement_for_corrupted_k400/a_000001_000011.mp4"
    touch(tmp_path / better)
    touch(tmp_path / "val" / "yoga" / "b_000001_000011.mp4")  # under another class
    touch(tmp_path / "val" / "stray.mp4")
    listing = read(dataset("kinetics400"), tmp_path)
    found = by_id(listing)
    assert found["a_000001_000011"][0] == better
    assert found["b_000001_000011"][3] == found["c_000001_000011"][3] == "missing"
    assert splits(listing) == {"validate": 3}
    assert listing.unlisted == ("val/stray.mp4", "val/yoga/b_000001_000011.mp4")


def test_kinetics_header_without_the_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "label,video,time_start,time_end,split\nyoga,a,1,11,train\n"
    )
    touch(tmp_path / "train" / "yoga" / "a_000001_000011.mp4")
    with pytest.raises(DataError, match=r"header without youtube_id(?s:.)*train\.csv, line 1"):
        read(dataset("kinetics400"), tmp_path)


@pytest.mark.parametrize("line", ["%%%%", "yoga", "yoga,a", "yoga,a,1", "yoga,,1,11,train"])
def test_a_kinetics_line_that_is_too_short_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "train.csv").write_text(f"{HEADER}yoga,a,1,11,train\n{line}\n")
    touch(tmp_path / "train" / "yoga" / "a_000001_000011.mp4")
    with pytest.raises(DataError, match=r"are needed(?s:.)*train\.csv, line 3"):
        read(dataset("kinetics400"), tmp_path)


def test_a_kinetics_split_other_than_its_list_is_remarked_on(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"{HEADER}yoga,a,1,11,val\nyoga,b,1,11,train\n# c\n")
    touch(tmp_path / "train" / "yoga" / "a_000001_000011.mp4")
    listing = read(dataset("kinetics400"), tmp_path)
    assert [row.splits for row in listing.rows] == [["validate"], ["train"]]
    kinds = [remark.kind for remark in listing.remarks]
    assert kinds == [
        "split column and list differ: the column counts", "comment lines, left out"
    ]  # fmt: skip


def test_a_kinetics_header_without_labels_is_refused_where_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("labels,youtube_id,time_start,time_end\nyoga,a,1,11\n")
    touch(tmp_path / "train" / "yoga" / "a_000001_000011.mp4")
    with pytest.raises(DataError, match=r"header without label:(?s:.)*train\.csv, line 1"):
        read(dataset("kinetics400"), tmp_path)


def test_kinetics_test_list_without_labels(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(HEADER + "yoga,a,1,11,train\n")
    (tmp_path / "test.csv").write_text(
        "youtube_id,time_start,time_end,split\n-b,1,11,test\nc,1,11,test\n"
    )
    touch(tmp_path / "train" / "yoga" / "a_000001_000011.mp4")
    touch(tmp_path / "test" / "-b_000001_000011.mp4")
    touch(tmp_path / "test" / "yoga" / "c_000001_000011.mp4")
    listing = read(dataset("kinetics400", num_classes=1, decode_splits=None), tmp_path)
    assert listing.classes == ("yoga",)
    assert by_id(listing) == {
        "a_000001_000011": ("train/yoga/a_000001_000011.mp4", (0,), ("train",), "ok"),
        "-b_000001_000011": ("test/-b_000001_000011.mp4", (), ("test",), "ok"),
        "c_000001_000011": ("test/yoga/c_000001_000011.mp4", (), ("test",), "ok"),
    }


def test_kinetics_real_lists(tmp_path: Path) -> None:
    shutil.copy(real("annotations", "kinetics400", "validate.csv"), tmp_path)
    shutil.copy(real("annotations", "kinetics400", "test_head2000.csv"), tmp_path / "test.csv")
    touch(tmp_path / "val" / "javelin_throw" / "--07WQ2iBlw_000001_000011.mp4")
    listing = read(load_dataset(MANIFESTS, "kinetics400"), tmp_path)
    assert splits(listing) == {"validate": 18_375, "test": 1_999}
    official = real("annotations", "kinetics400", "kinetics_i3d_label_map.txt").read_text()
    assert list(listing.classes) == official.splitlines()
    assert by_id(listing)["--07WQ2iBlw_000001_000011"][3] == "ok"


# --- Generic lists ---------------------------------------------------------------------------


def own(lists: dict[str, str], **changes: object) -> ReaderOptions:
    options: dict[str, object] = {"videos": "v", "lists": lists, "columns": ["path", "labels"]}
    return ReaderOptions.model_validate({**options, **changes})


def test_list_of_names_with_spaces(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "my clip.mp4")
    touch(tmp_path / "v" / "sub" / "b.avi")
    (tmp_path / "train.txt").write_text("my clip.mp4 jump\r\n\r\nsub/b 1run\n")
    options = own({"train": "train.txt"}, suffix=".avi")
    listing = read(dataset(options=options), tmp_path)
    assert listing.classes == ("1run", "jump")
    assert by_id(listing) == {
        "my clip.mp4": ("v/my clip.mp4", (1,), ("train",), "ok"),
        "sub/b": ("v/sub/b.avi", (0,), ("train",), "ok"),
    }


def test_list_of_frame_folders_and_numbers(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "clip" / "img_00001.jpg")
    (tmp_path / "train.txt").write_text("clip 1 3\n")
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\n")
    options = own(
        {"train": "train.txt"}, columns=["path", "frames", "labels"], classes="classes.txt"
    )
    listing = read(dataset(options=options, label_order="file"), tmp_path)
    assert by_id(listing) == {"clip": ("v/clip", (3,), ("train",), "ok")}


@pytest.mark.parametrize(
    ("separator", "text"), [(" ", "a.mp4 2 0\nb.mp4 1\n"), (",", "a.mp4,2 0\nb.mp4,1\n")]
)
def test_lists_with_several_labels(tmp_path: Path, separator: str, text: str) -> None:
    touch(tmp_path / "v" / "a.mp4")
    (tmp_path / "train.txt").write_text(text)
    options = own({"train": "train.txt"}, separator=separator)
    many = dataset("fcvid", options=options)
    listing = read(many, tmp_path)
    assert listing.classes == ("0", "1", "2")
    assert by_id(listing)["a.mp4"][1] == (0, 2)


def test_a_line_with_too_few_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "train.txt").write_text("a.mp4 1\nb.mp4\n")
    with pytest.raises(DataError, match=r"(?s)1 columns.*train\.txt, line 2"):
        read(dataset(options=own({"train": "train.txt"})), tmp_path)


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../up.mp4", "a/../../up.mp4", "/etc/passwd", "a\\b.mp4", "C:/x.mp4", "", "a\tb", "x" * 501],
)
def test_hostile_names_are_refused_rows(tmp_path: Path, name: str) -> None:
    assert unsafe(name)
    (tmp_path / "v").mkdir()
    touch(tmp_path.parent / "up.mp4")
    (tmp_path / "train.txt").write_text(f'"{name}",1\nb.mp4,0\n')
    listing = read(dataset(options=own({"train": "train.txt"}, separator=",")), tmp_path)
    (refused,) = [item for item in listing.rows if item.status == "refused"]
    assert refused.relpath is None
    assert refused.reason
    assert all(ord(char) >= 32 for char in refused.video_id)


@given(st.text(max_size=30))
def test_a_safe_name_stays_below_its_folder(name: str) -> None:
    if unsafe(name) == "":
        base = Path("/data/raw/x")
        assert (base / name).resolve().is_relative_to(base)
        name.encode("utf-8")


@pytest.mark.parametrize("name", ["-i.mp4", "--07WQ2iBlw.mp4", "a b.mp4", "é.mp4", "[x]!#&;'.mp4"])
def test_odd_but_harmless_names_are_taken(name: str) -> None:
    assert unsafe(name) == ""


def test_contradictions_in_the_lists(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        touch(tmp_path / "v" / name)
    (tmp_path / "train.txt").write_text("a.mp4 0\na.mp4 1\nb.mp4 1\nb.mp4 1\nc.mp4 7\n")
    (tmp_path / "val.txt").write_text("b.mp4 1\n")
    (tmp_path / "classes.txt").write_text("x\ny\n")
    options = own({"train": "train.txt", "val": "val.txt"}, classes="classes.txt")
    listing = read(dataset(options=options, label_order="file"), tmp_path)
    reasons = {item.video_id: (item.status, item.reason) for item in listing.rows}
    assert reasons == {
        "a.mp4": ("refused", "listed with two different labels"),
        "b.mp4": ("ok", ""),
        "c.mp4": ("refused", "label 7 is not a class"),
    }
    assert by_id(listing)["b.mp4"][2] == ("train", "val")
    assert texts(listing) == ("a.mp4 is listed twice in train", "b.mp4 is listed twice in train")
    assert listing.unlisted == ("v/a.mp4", "v/c.mp4", "v/d.mp4")


def test_wrong_number_of_classes_is_an_error(tmp_path: Path) -> None:
    something_v1(tmp_path, {"10": ("train", LABELS[0], 1)}, LABELS)
    with pytest.raises(DataError, match="name 3 classes, the manifest 174"):
        read(dataset("ssv1", num_classes=174), tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_absent_data(tmp_path: Path, name: str) -> None:
    with pytest.raises(AbsentData) as caught:
        read(load_dataset(MANIFESTS, name), tmp_path)
    assert caught.value.do
    assert str(tmp_path) not in str(caught.value)


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.mp4")
    (tmp_path / "raw" / "v").mkdir(parents=True)
    (tmp_path / "raw" / "v" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw" / "v" / "loop").symlink_to(tmp_path / "raw" / "v")
    (tmp_path / "raw" / "v" / "broken.mp4").symlink_to(tmp_path / "nothing")
    (tmp_path / "raw" / "train.txt").write_text("linked/a.mp4 0\n")
    listing = read(dataset(options=own({"train": "train.txt"})), tmp_path / "raw")
    assert by_id(listing)["linked/a.mp4"][3] == "ok"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), (" 07 ", 7), ("99999", 99_999)],
)
def test_numbers_of_lists_are_short(text: str, value: int) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "text", ["100000", "1" * 5000, "²", "٣", "", "-1", "1_0", "1.0", "0x1", "foo"]
)
def test_what_is_no_number_of_a_list(text: str) -> None:
    assert number(text) is None


def ucf101(root: Path, index: str, line: str) -> None:
    (root / "UCF-101").mkdir()
    touch(root / "classInd.txt", index.encode())
    for turn in (1, 2, 3):
        touch(root / f"testlist0{turn}.txt", b"")
        touch(root / f"trainlist0{turn}.txt", line.encode())


def test_ucf101_index_that_is_no_number_is_a_problem(tmp_path: Path) -> None:
    ucf101(tmp_path, "1 Archery\n", "Archery/v_a.avi foo\n")
    problem = "trainlist01.txt: Archery/v_a is in Archery, its index says otherwise"
    assert read(dataset("ucf101"), tmp_path).remarks[0].text == problem


@pytest.mark.parametrize("index", ["² Archery", f"{10**12} Archery", "1"])
def test_ucf101_class_numbers_that_are_none_are_refused(tmp_path: Path, index: str) -> None:
    ucf101(tmp_path, index + "\n", "")
    with pytest.raises(DataError, match="not '<number> <class>'"):
        read(dataset("ucf101"), tmp_path)


@pytest.mark.parametrize("value", ["foo", None, True, [], 1.5, "²", 10**12])
def test_something_v2_class_without_a_number_is_refused(tmp_path: Path, value: object) -> None:
    something_v2(tmp_path, {}, long_names=True)
    (tmp_path / "20bn-something-something-v2").mkdir()
    (tmp_path / "something-something-v2-labels.json").write_text(json.dumps({"a": value}))
    with pytest.raises(DataError, match=r"a class has no number"):
        read(dataset("ssv2"), tmp_path)


def test_two_classes_of_one_number_are_refused(tmp_path: Path) -> None:
    something_v2(tmp_path / "v2", {}, long_names=True)
    (tmp_path / "v2" / "20bn-something-something-v2").mkdir()
    labels = tmp_path / "v2" / "something-something-v2-labels.json"
    labels.write_text('{"a": "0", "b": "0"}')
    with pytest.raises(DataError, match=r"both have the number 0(?s:.)*labels\.json"):
        read(dataset("ssv2"), tmp_path / "v2")
    (tmp_path / "ucf").mkdir()
    ucf101(tmp_path / "ucf", "1 a\n1 b\n", "")
    with pytest.raises(DataError, match=r"both have the number 1(?s:.)*classInd\.txt"):
        read(dataset("ucf101"), tmp_path / "ucf")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 10_000, '{"\\ud800": "0"}'])
def test_something_v2_json_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    something_v2(tmp_path, {}, long_names=True)
    (tmp_path / "20bn-something-something-v2").mkdir()
    (tmp_path / "something-something-v2-labels.json").write_text(text)
    with pytest.raises(DataError, match="is not"):
        read(dataset("ssv2"), tmp_path)


def test_a_superscript_is_no_number_and_a_huge_label_no_range(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    lists = tmp_path / "train.txt"
    lists.write_text("a.mp4 ²\nb.mp4 1\n")
    with pytest.raises(DataError, match=r"'²' is a name, others are numbers(?s:.)*txt, line 1"):
        read(dataset(options=own({"train": "train.txt"})), tmp_path)
    lists.write_text(f"a.mp4 {10**12}\nb.mp4 1\n")
    with pytest.raises(DataError, match=r"is larger than 99999(?s:.)*train\.txt, line 1"):
        read(dataset(options=own({"train": "train.txt"})), tmp_path)
    (tmp_path / "classes.txt").write_text("x\ny\n")
    listing = read(dataset(options=own({"train": "train.txt"}, classes="classes.txt")), tmp_path)
    assert [i.reason for i in listing.rows] == [
        f"label '{10**12}' is not a class",
        "no file v/b.mp4",
    ]


@pytest.mark.parametrize("text", ["x" * 200_000 + ",1\n", "a,1\n" + "y" * 200_000 + ",1\n"])
def test_lists_that_are_no_csv_are_refused(tmp_path: Path, text: str) -> None:
    touch(tmp_path / "v" / "a.mp4")
    touch(tmp_path / "train.csv", text.encode())
    options = own({"train": "train.csv"}, separator=",")
    for manifest in (dataset(options=options), dataset("kinetics400", options=options)):
        with pytest.raises(DataError, match=r"not csv(?s:.*)train\.csv"):
            read(manifest, tmp_path)


def test_a_separator_that_csv_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    touch(tmp_path / "train.csv")
    with pytest.raises(UsageError, match="separator"):
        read(dataset(options=own({"train": "train.csv"}, separator="::")), tmp_path)


def test_class_names_must_be_utf8(tmp_path: Path) -> None:
    touch(tmp_path / "v" / "a.mp4")
    touch(tmp_path / "train.txt", "a.mp4 café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8: caf\\udce9"):
        read(dataset(options=own({"train": "train.txt"})), tmp_path)


def test_a_name_too_long_for_the_system_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "train.txt").write_text("x" * 300 + " 0\n")
    (item,) = read(dataset(options=own({"train": "train.txt"})), tmp_path).rows
    assert item.status == "missing"


def test_a_person_whose_name_is_not_utf8_can_still_be_stored(tmp_path: Path) -> None:
    folder = dataset("weizmann").options.videos
    touch(tmp_path / folder / "run" / os.fsdecode(b"d\xe9_run.avi"))
    sha256_json(storable(read(dataset("weizmann"), tmp_path)))


FILES = {
    "ssv1": [f"something-something-v1-{name}.csv" for name in ("labels", "train", "validation")],
    "ssv2": [f"{name}.json" for name in ("labels", "train", "validation")] + ["test-answers.csv"],
    "kinetics400": ["train.csv", "val.csv"],
    "ucf101": ["classInd.txt", *(f"{k}list0{n}.txt" for k in ("train", "test") for n in (1, 2, 3))],
    "hmdb51": [f"brush_hair_test_split{turn}.txt" for turn in (1, 2, 3)],
    "own_list": ["train.txt", "classes.txt"],
    "own_csv": ["train.csv"],
    "fcvid": ["train.txt"],
}
PIECES = [
    b"a", b"a.mp4", b"v_a.avi", b"0", b"1", b"1000000000000", b"\xc2\xb2", b"\xff", b"\x00", b"foo",
    b" ", b",", b";", b"\n", b"\n", b"\r", b'"', b"/", b"..", b"[", b"]", b"{", b"}", b":", b"[]",
    b'{"a": "0"}', b'[{"id": 1, "template": "a"}]', b'{"\\ud800": 0}', b"1e999", b"1 a\n", b"-",
]  # fmt: skip
GARBAGE = st.one_of(
    st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
)


@pytest.mark.parametrize("name", sorted(FILES))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_garbage_for_lists_ends_in_rows_or_in_words(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    changes: dict[str, object] = {}
    if name.startswith("own"):
        separator = "," if name == "own_csv" else " "
        classes = data.draw(st.sampled_from([None, "classes.txt"])) if separator == " " else None
        changes["options"] = own({"train": FILES[name][0]}, separator=separator, classes=classes)
    elif name == "fcvid":
        changes["options"] = own({"train": "train.txt"})
    manifest = dataset(name, **changes)
    touch(tmp_path / manifest.options.videos / "a" / "v_a.avi")
    for file in FILES[name]:
        touch(tmp_path / file, data.draw(GARBAGE))
    try:
        listing = read(manifest, tmp_path)
    except TdnError as error:
        str(error).encode("utf-8")
    else:
        sha256_json(storable(listing))


def storable(listing: Listing) -> list[object]:
    """Everything of a listing that ends up in a ledger or a summary."""
    items = [[i.video_id, i.relpath, i.labels, i.splits, i.reason] for i in listing.rows]
    return [listing.classes, items, texts(listing), listing.unlisted, listing.annotations]


# --- the same videos as labs have them -----------------------------------------------------------

FORMS = {
    "ssv2": ("20bn-something-something-v2/7", ".webm"),
    "ucf101": ("UCF-101/Archery/v_Archery_g01_c01", ".avi"),
    "hmdb51": ("hmdb51_org/wave/a_wave_1", ".avi"),
}


def lists_of_one_video(raw: Path, name: str) -> None:
    if name == "ssv2":
        something_v2(raw, {"7": ("validation", "Holding [something]", 2)}, long_names=False)
        (raw / "20bn-something-something-v2" / "7.webm").unlink()
    elif name == "ucf101":
        touch(raw / "classInd.txt", b"1 Archery\n")
        for turn in (1, 2, 3):
            touch(raw / f"trainlist0{turn}.txt", b"")
            touch(raw / f"testlist0{turn}.txt", b"Archery/v_Archery_g01_c01.avi\n")
    else:
        for turn in (1, 2, 3):
            touch(raw / f"splits/wave_test_split{turn}.txt", b"a_wave_1.avi 2\n")


@pytest.mark.parametrize("form", ["as published", ".mp4", ".mkv", "frames"])
@pytest.mark.parametrize("name", FORMS)
def test_videos_are_found_as_files_of_another_kind_and_as_folders_of_frames(
    tmp_path: Path, name: str, form: str
) -> None:
    stem, published = FORMS[name]
    official = load_dataset(MANIFESTS, name)
    given = dataset(name, options=official.options)
    lists_of_one_video(tmp_path, name)
    place = stem + (published if form == "as published" else form)
    if form == "frames":
        place = stem
        touch(tmp_path / stem / "000001.jpg")
    else:
        touch(tmp_path / place)
    listing = read(given, tmp_path)
    assert [(row.relpath, row.status) for row in listing.rows] == [(place, "ok")]
    assert listing.unlisted == () and listing.remarks == ()
