"""What a forger does to the meaning of results; everything is sealed again afterwards.

Each function changes one project (`Project.reseal_all` then makes every record fit).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.core.files import read_json, write_json
from pipeline.core.parquet import write_table
from pipeline.scores import predictions
from pipeline.sources.ledger import LEDGER, read_ledger
from pipeline.sources.source import Source
from pipeline.store.index import Video, read_index, write_index, write_rows
from pipeline.store.lmdb_store import ShardFile
from tests.pipeline.audit.project import Project

ROW, OTHER = "tsn_r50_8f_ssv1", "tconv_r50_8f_ssv1"
Found = predictions.Predictions


def index(project: Project, change: Callable[[list[Video]], Iterable[Video]], **about: Any) -> None:
    """Write the store's index again, in agreement with itself."""
    folder = project.work.frames("ssv1")
    before = read_index(folder)
    shards = [ShardFile(**shard) for shard in before.about["shards"]]
    rows = write_rows(folder, sorted(change(list(before.videos)), key=lambda v: v.video_id))
    write_index(folder, rows, shards, {**before.about, **about})


def ledger(project: Project, change: Callable[[list[Source]], Iterable[Source]]) -> None:
    path = project.work.sources("ssv1").with_suffix(".parquet")
    rows = [asdict(row) for row in change(read_ledger(path))]
    write_table(path, pa.Table.from_pylist(rows, schema=LEDGER))


def both(project: Project, change: Callable[[Any], Any]) -> None:
    """The same change of every video in ledger and index."""
    ledger(project, lambda rows: [change(row) for row in rows])
    index(project, lambda videos: [change(video) for video in videos])


def one_in(split: str, **to: Any) -> Callable[[Any], Any]:
    """A change of the first video of a split that comes along."""
    done: dict[type, str] = {}

    def change(video: Any) -> Any:
        if split in video.splits and done.setdefault(type(video), video.video_id) == video.video_id:
            return replace(video, **to)
        return video

    return change


def relabel_the_index(project: Project) -> None:
    index(project, lambda videos: map(one_in("validation", labels=[5]), videos))


def relabel_the_ledger(project: Project) -> None:
    ledger(project, lambda rows: map(one_in("validation", labels=[5]), rows))


def relabel_ledger_and_index(project: Project) -> None:
    both(project, one_in("validation", labels=[5]))


def take_a_video_out_of_the_test(project: Project) -> None:
    both(project, one_in("validation", splits=[]))


def train_on_a_test_video(project: Project) -> None:
    both(project, one_in("validation", splits=["train", "validation"]))


def move_a_test_video_into_training(project: Project) -> None:
    index(project, lambda videos: map(one_in("validation", splits=["train"]), videos))


def drop_a_video(project: Project) -> None:
    ledger(project, lambda rows: rows[1:])
    index(project, lambda videos: videos[1:])


def drop_a_video_of_the_index(project: Project) -> None:
    index(project, lambda videos: videos[1:])


def invent_a_video(project: Project) -> None:
    index(project, lambda videos: [*videos, replace(videos[0], video_id="999999")])


_GONE = {"status": "error", "reason": "cannot be decoded", "n_frames": 0, "frames_sha256": None}


def fail_a_video_in_the_index(project: Project) -> None:
    index(project, lambda videos: map(one_in("validation", **_GONE, shard=-1), videos))


def fail_a_video_in_its_shard_too(project: Project) -> None:
    """Its blob stays where it was."""
    fail_a_video_in_the_index(project)
    videos = read_index(project.work.frames("ssv1")).videos
    failed = next(video for video in videos if video.status == "error")
    for path in project.work.frames("ssv1").glob("shard-*.json"):
        value = read_json(path)
        for video in value["videos"]:
            if video["video_id"] == failed.video_id:
                video.update(_GONE, width_px=failed.width_px, height_px=failed.height_px)
        write_json(path, value)


def call_a_file_missing(project: Project) -> None:
    """A file that is there, said to be missing in the ledger."""
    gone = {"status": "missing", "reason": "no file", "sha256": None, "bytes": 0, "files": 0}
    ledger(project, lambda rows: map(one_in("validation", **gone), rows))


def swap_the_files_of_two_videos(project: Project) -> None:
    def change(rows: list[Any]) -> list[Any]:
        names = [n for n in ("relpath", "sha256", "source", "source_sha256") if hasattr(rows[0], n)]
        one, two = ({n: getattr(row, n) for n in names} for row in rows[:2])
        return [replace(rows[0], **two), replace(rows[1], **one), *rows[2:]]

    ledger(project, change)
    index(project, change)


def swap_the_frames_of_two_videos(project: Project) -> None:
    def change(videos: list[Video]) -> list[Video]:
        one, two = (video.frames_sha256 for video in videos[:2])
        first, second = (
            replace(v, frames_sha256=d) for v, d in zip(videos[:2], (two, one), strict=True)
        )
        return [first, second, *videos[2:]]

    index(project, change)


def rename_the_classes(project: Project) -> None:
    about = read_json(project.work.frames("ssv1") / "index.json")
    index(project, list, classes=about["classes"][::-1])


def count_a_failed_video_as_usable(project: Project) -> None:
    path = project.work.frames("ssv1") / "index.json"
    value = read_json(path)
    value["splits"]["validation"]["usable"] -= 1
    write_json(path, value)


def decode_other_sources(project: Project) -> None:
    index(project, list, sources="0" * 64)


def edit_the_official_list(project: Project) -> None:
    """A label changed in the list itself, and `check` run again on it."""
    path = project.one("data/mini/raw/ssv1/*validation.csv")
    lines = path.read_text().splitlines()
    (name, one), (_, two) = (line.split(";") for line in (lines[0], lines[-1]))
    assert one != two
    path.write_text("\n".join([f"{name};{two}", *lines[1:]]) + "\n")
    project.run("check", "ssv1")


def shorten_the_official_list(project: Project) -> None:
    path = project.one("data/mini/raw/ssv1/*validation.csv")
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    project.run("check", "ssv1")


def relabel_without_raw_data(project: Project) -> None:
    shutil.rmtree(project.work.raw("ssv1", generated=True))
    relabel_ledger_and_index(project)


def drop_a_video_without_raw_data(project: Project) -> None:
    shutil.rmtree(project.work.raw("ssv1", generated=True))
    drop_a_video(project)


def edit_the_summary(project: Project) -> None:
    path = project.work.sources("ssv1")
    value = read_json(path)
    value["splits"]["validation"]["listed"] -= 1
    write_json(path, value)


# Predictions


def predict(project: Project, **fields: Any) -> None:
    """Replace fields of the row's predictions, and write them as `predict` does."""
    path = project.work.run(ROW) / "predict" / "center_1x1.parquet"
    found = predictions.read(path)
    predictions.write(path, Found(**{**found.__dict__, **fields}))


def read(project: Project, row: str = ROW) -> Found:
    return predictions.read(project.work.run(row) / "predict" / "center_1x1.parquet")


def chosen(found: Found, order: list[int]) -> dict[str, Any]:
    """The fields of some views, in an order."""
    fields: dict[str, Any] = {
        name: value[order] if isinstance(value, np.ndarray) else tuple(value[i] for i in order)
        for name, value in found.__dict__.items()
        if not isinstance(value, str)
    }
    return fields


def set_labels_to_the_answers(project: Project) -> None:
    found = read(project)
    answers = tuple((int(label),) for label in found.logits.argmax(axis=1))
    assert answers != found.labels
    predict(project, labels=answers)


def drop_hard_videos(project: Project) -> None:
    found = read(project)
    predict(project, **chosen(found, list(range(3, len(found.video_ids)))))


def fail_hard_videos(project: Project) -> None:
    found = read(project)
    predict(project, statuses=("error", *found.statuses[1:]))


def double_easy_videos(project: Project) -> None:
    """The same video again as a second crop."""
    found = read(project)
    fields = chosen(found, [0, *range(len(found.video_ids))])
    fields["crops"] = np.array([0, 1, *fields["crops"][2:]], dtype=np.int32)
    predict(project, **fields)


def double_a_video_under_another_name(project: Project) -> None:
    found = read(project)
    fields = chosen(found, [*range(len(found.video_ids)), 0])
    predict(project, **{**fields, "video_ids": (*found.video_ids, "999999")})


def choose_the_lucky_view(project: Project) -> None:
    predict(project, crops=np.full_like(read(project).crops, 2))


def choose_the_lucky_clip(project: Project) -> None:
    predict(project, clips=np.full_like(read(project).clips, 7))


def score_more_views_than_the_protocol(project: Project) -> None:
    found = read(project)
    fields = chosen(found, [i for i in range(len(found.video_ids)) for _ in range(3)])
    fields["crops"] = np.arange(len(fields["crops"]), dtype=np.int32) % 3
    predict(project, **fields)


def predict_nan(project: Project) -> None:
    predict(project, logits=np.full_like(read(project).logits, np.nan))


def predict_infinity(project: Project) -> None:
    logits = read(project).logits.copy()
    logits[0, 0] = np.inf
    predict(project, logits=logits)


def name_another_row(project: Project) -> None:
    predict(project, row=OTHER)


def name_another_protocol(project: Project) -> None:
    predict(project, protocol="tsn_25x10")


def take_another_rows_logits(project: Project) -> None:
    predict(project, logits=read(project, OTHER).logits)


def take_another_rows_logits_and_blur_them(project: Project) -> None:
    logits = read(project, OTHER).logits
    noise = np.random.default_rng(0).uniform(-1, 1, logits.shape) * 0.001 * np.abs(logits).max()
    predict(project, logits=(logits + noise).astype(np.float32))


def take_another_rows_weights(project: Project) -> None:
    weights = [project.work.run(row) / "train" / "weights.pt" for row in (OTHER, ROW)]
    shutil.copyfile(*weights)


def save_another_rows_weights_again(project: Project) -> None:
    """The other row's tensors in another order and file: no digest of a file is the same."""
    theirs, ours = (project.work.run(row) / "train" / "weights.pt" for row in (OTHER, ROW))
    held = torch.load(theirs, weights_only=True)
    first = next(name for name, value in held.items() if value.numel() > 1000)
    held[first] = held[first] + 1e-3
    torch.save(dict(reversed(held.items())), ours)


def predict_fewer_classes(project: Project) -> None:
    found = read(project)
    predict(project, logits=np.ascontiguousarray(found.logits[:, :-1]))


def call_a_whole_video_partial(project: Project) -> None:
    predict(project, statuses=("partial", *read(project).statuses[1:]))


def add_a_protocol(project: Project) -> None:
    folder = project.work.run(ROW) / "predict"
    shutil.copyfile(folder / "center_1x1.parquet", folder / "full_1x1.parquet")


def name_no_protocol(project: Project) -> None:
    path = project.work.run(ROW) / "predict" / "outcome.json"
    write_json(path, {**read_json(path), "protocols": []})


def call_a_row_not_run(project: Project) -> None:
    path = project.work.run(ROW) / "predict" / "outcome.json"
    write_json(path, {**read_json(path), "status": "not-run", "reason": "no data"})


# Costs and figures


def lower_a_cost(project: Project) -> None:
    path = project.work.reports / "costs.json"
    value = read_json(path)
    value["tconv_8f"]["gmacs"] -= 1.0
    write_json(path, value)


def lower_a_rows_parameters(project: Project) -> None:
    path = project.work.reports / "costs.json"
    value = read_json(path)
    value[ROW]["params"] -= 1
    write_json(path, value)


def claim_anothers_cost(project: Project) -> None:
    path = project.work.reports / "costs.json"
    value = read_json(path)
    value["tconv_8f"]["claims"], value["tsm_8f"]["claims"] = (
        value["tsm_8f"]["claims"],
        value["tconv_8f"]["claims"],
    )
    write_json(path, value)


def _figure(project: Project, change: Callable[[dict[str, Any]], None]) -> None:
    path = project.work.reports / "figures" / "figures.json"
    value = read_json(path)
    change(next(entry for entry in value["figures"] if entry["files"]))
    write_json(path, value)


def forge_a_figures_number(project: Project) -> None:
    _figure(project, lambda entry: entry["numbers"]["final_loss"].update({ROW: 0.001}))


def forge_a_caption(project: Project) -> None:
    _figure(project, lambda entry: entry.update(caption=entry["caption"] + " Ours is best."))


def forge_an_alternative_text(project: Project) -> None:
    _figure(project, lambda entry: entry.update(alt="Ours is best."))


def swap_two_pictures(project: Project) -> None:
    figures = project.work.reports / "figures"
    one, two = (figures / f"{name}.png" for name in ("training_modules", "cost_ssv1"))
    shutil.copyfile(one, two)


def forge_a_training_curve(project: Project) -> None:
    path = project.work.reports / "figures" / "curves" / f"{ROW}.csv"
    path.write_text(path.read_text().replace(",", ",0", 1))


# Results that are absent, and forged where they are not


def _without_runs(project: Project, **forged: Any) -> None:
    shutil.rmtree(project.root / "runs")
    path = project.work.metrics(ROW)
    value = read_json(path)
    value["protocols"]["center_1x1"].update(forged)
    write_json(path, value)


def invent_a_percentage_without_runs(project: Project) -> None:
    _without_runs(project, top1_pct=99.0, top1_ci95_pct=[98.0, 100.0])


def keep_the_interval_of_a_forged_metric(project: Project) -> None:
    _without_runs(project, top1_pct=100.0)


def leave_out_failed_videos_without_runs(project: Project) -> None:
    _without_runs(project, n_expected=40)


def forge_a_cell_without_runs(project: Project) -> None:
    _without_runs(project)
    path = project.work.reports / "tables" / "cells.json"
    value = read_json(path)
    value["cells"]["tdn-iclr2021/1d/tsn/top1"]["measured"] = 99.0
    write_json(path, value)
