"""Every forgery of meaning is found at its level, although every record was made to fit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pipeline.audit import (
    level1_hashes,
    level1_sources,
    level1_stores,
    level2_absent,
    level2_figures,
    level2_predictions,
    level2_recompute,
)
from pipeline.audit.context import Context, Plans, open_context
from pipeline.audit.links import Level, Link, Status
from pipeline.audit.stage_runner import StageRunner
from pipeline.core.digest_cache import DigestCache, stamp
from pipeline.core.files import sha256_file
from stages.commands import audit_results
from tests.pipeline.audit import forgeries as forge
from tests.pipeline.audit.project import Project
from tests.pipeline.audit.test_matrix import flip

pytestmark = pytest.mark.slow
Forgery = Callable[[Project], None]
Checked = Callable[[Context], Iterator[Link]]

LEDGER, SUMMARY = "data/mini/sources/ssv1.parquet", "data/mini/sources/ssv1.json"
INDEX = "data/mini/frames/ssv1/index.parquet"
LIST = "data/mini/raw/ssv1/something-something-v1-validation.csv"
PREDICTIONS = f"runs/mini/{forge.ROW}/predict/center_1x1.parquet"
FOLDER = f"runs/mini/{forge.ROW}/predict"
COSTS, FIGURES = "reports/mini/costs.json", "reports/mini/figures/figures.json"
DATA = {
    forge.relabel_the_index: (INDEX, "has labels [5]"),
    forge.relabel_the_ledger: (LEDGER, "has labels [5]"),
    forge.relabel_ledger_and_index: (LEDGER, "has labels [5]"),
    forge.take_a_video_out_of_the_test: (LEDGER, "has splits []"),
    forge.train_on_a_test_video: (LEDGER, "has splits ['train', 'validation']"),
    forge.move_a_test_video_into_training: (INDEX, "has splits ['train']"),
    forge.drop_a_video: (LEDGER, "is not in it"),
    forge.drop_a_video_of_the_index: (INDEX, "is not in it"),
    forge.invent_a_video: (INDEX, "999999 is in no list"),
    forge.fail_a_video_in_the_index: (INDEX, "its shard's record"),
    forge.fail_a_video_in_its_shard_too: (INDEX, "the index does not place it here"),
    forge.call_a_file_missing: (LEDGER, "has status 'missing'"),
    forge.swap_the_files_of_two_videos: (LEDGER, "has relpath"),
    forge.swap_the_frames_of_two_videos: (INDEX, "has frames_sha256"),
    forge.rename_the_classes: (INDEX, "its classes are others"),
    forge.count_a_failed_video_as_usable: (INDEX, "index.json says splits"),
    forge.decode_other_sources: (INDEX, "it was made from sources 000"),
    forge.edit_the_official_list: (LIST, "not the list that its manifest gives"),
    forge.shorten_the_official_list: (LIST, "not the list that its manifest gives"),
    forge.relabel_without_raw_data: (LEDGER, "has labels [5]"),
    forge.drop_a_video_without_raw_data: (LEDGER, "is not in it"),
    forge.edit_the_summary: (SUMMARY, "splits is another"),
}
TESTED = {
    forge.set_labels_to_the_answers: (PREDICTIONS, "in the store"),
    forge.drop_hard_videos: (PREDICTIONS, "is not in it"),
    forge.fail_hard_videos: (PREDICTIONS, "is 'error', and 'ok' in the store"),
    forge.double_easy_videos: (PREDICTIONS, "views"),
    forge.double_a_video_under_another_name: (PREDICTIONS, "999999 is no test video"),
    forge.choose_the_lucky_view: (PREDICTIONS, "views (0, 2), its protocol 1"),
    forge.choose_the_lucky_clip: (PREDICTIONS, "views (7, 0), its protocol 1"),
    forge.score_more_views_than_the_protocol: (PREDICTIONS, "its protocol 1"),
    forge.predict_nan: (PREDICTIONS, "not finite"),
    forge.predict_infinity: (PREDICTIONS, "not finite"),
    forge.name_another_row: (PREDICTIONS, f"of row {forge.OTHER}"),
    forge.name_another_protocol: (PREDICTIONS, "of protocol tsn_25x10"),
    forge.take_another_rows_logits: (FOLDER, "the same logits"),
    forge.take_another_rows_logits_and_blur_them: (FOLDER, "the same logits"),
    forge.take_another_rows_weights: (FOLDER, "the same weights"),
    forge.save_another_rows_weights_again: (FOLDER, "the same weights"),
    forge.predict_fewer_classes: (PREDICTIONS, "logits per view"),
    forge.call_a_whole_video_partial: (PREDICTIONS, "is 'partial', and 'ok' in the store"),
    forge.add_a_protocol: (FOLDER, "full_1x1.parquet is of no protocol"),
    forge.name_no_protocol: (FOLDER, "does not name the row's protocols"),
    forge.call_a_row_not_run: (FOLDER, "not run, and it names protocols"),
}
COUNTED = {
    forge.lower_a_cost: (COSTS, "tconv_8f.gmacs"),
    forge.lower_a_rows_parameters: (COSTS, f"{forge.ROW}.params"),
    forge.claim_anothers_cost: (COSTS, "claims"),
}
HISTORY = f"runs/mini/{forge.ROW}/train/history.json"
METRICS = f"reports/mini/metrics/{forge.ROW}.json"
ABSENT = {
    forge.invent_a_percentage_without_runs: (METRICS, "99.0 is no share of 28 videos"),
    forge.keep_the_interval_of_a_forged_metric: (METRICS, "is outside its interval"),
    forge.leave_out_failed_videos_without_runs: (METRICS, "are not all"),
    forge.forge_a_cell_without_runs: ("reports/mini/tables/cells.json", "top1 has value 99.0"),
}
DEEP = b'{"x":' * 100_000 + b"1" + b"}" * 100_000
LOOSE = {
    "metrics that say two accuracies": (METRICS, rb'("top1_pct": )[0-9.]+', rb"\g<0>, \g<1>99.0"),
    "costs that say two": (COSTS, rb'("gmacs": )[0-9.]+', rb"\g<1>1.0, \g<0>"),
    "figures with two captions": (FIGURES, rb'("caption": )"', rb'\g<1>"no", \g<0>'),
    "a summary of two digests": (SUMMARY, rb'("digest": )"', rb'\g<1>"0", \g<0>'),
    "a store of two counts": (INDEX[:-7] + "json", rb'("frames": )', rb"\g<1>1, \g<0>"),
    "an outcome of two": (f"{FOLDER}/outcome.json", rb'("status": )', rb'\g<1>"not-run", \g<0>'),
    "a history with NaN": (HISTORY, rb'("loss": )[0-9.]+', rb"\g<1>NaN"),
    "metrics without end": (METRICS, rb"(?s).*\Z", DEEP),
}
DRAWN = {
    forge.forge_a_figures_number: (FIGURES, "numbers.final_loss"),
    forge.forge_a_caption: (FIGURES, "caption"),
    forge.forge_an_alternative_text: (FIGURES, "alt"),
    forge.swap_two_pictures: (FIGURES, "is another picture"),
    forge.forge_a_training_curve: ("reports/mini/figures/curves", "differ from the histories"),
}


def check_data(context: Context) -> Iterator[Link]:
    yield from level1_sources.check(context)
    yield from level1_stores.check(context)


def check_again(context: Context) -> Iterator[Link]:
    context.cached = True  # networks that this code has counted are not counted once more
    yield from level2_recompute.check(context)


def check_absent(context: Context) -> Iterator[Link]:
    for run in context.runs():
        yield from level2_absent.check(context, run)


def check_figures(context: Context) -> Iterator[Link]:
    assert context.tools.again is not None
    with StageRunner(context.tools.again) as runner:
        yield from level2_figures.Figures(context, Level.RECOMPUTE, runner).compared()


def cases() -> list[object]:
    tables: list[tuple[Checked, dict[Forgery, tuple[str, str]]]] = [
        (check_data, DATA),
        (level2_predictions.check, TESTED),
        (check_again, COUNTED),
        (check_absent, ABSENT),
        (check_figures, DRAWN),
    ]
    return [
        pytest.param(check, forgery, *found, id=forgery.__name__)
        for check, table in tables
        for forgery, found in table.items()
    ]


@pytest.mark.parametrize("name", LOOSE)
def test_json_that_says_two_things_is_found_however_it_was_sealed(
    project: Project, plans: Plans, name: str
) -> None:
    place, before, after = LOOSE[name]
    path = project.root / place
    text, count = re.subn(before, after, path.read_bytes(), count=1)
    assert count == 1
    path.write_bytes(text)
    project.reseal_all()
    found = [link for link in level1_hashes.check(context_of(project, plans)) if link.broken]
    told = [(link.path, str(link.status), link.detail) for link in found]
    assert any(link.path == place and link.status is Status.UNREADABLE for link in found), told


def context_of(project: Project, plans: Plans) -> Context:
    tools = audit_results.tools(project.work)
    context = open_context(project.work, replace(tools, plans=lambda _: plans))
    return context


@pytest.mark.parametrize(("check", "forgery", "path", "detail"), cases())
def test_a_forgery_is_found_and_restoring_is_clean(
    project: Project,
    pristine: Project,
    plans: Plans,
    check: Checked,
    forgery: Forgery,
    path: str,
    detail: str,
) -> None:
    forgery(project)
    project.reseal_all()
    found = [link for link in check(context_of(project, plans)) if link.broken]
    told = [(link.path, link.detail) for link in found]
    assert any(link.path == path and detail in link.detail and link.source for link in found), told
    project.restore(pristine)
    again = check(context_of(project, plans))
    assert [(link.path, link.detail) for link in again if link.broken] == []


def test_without_raw_data_the_lists_of_a_miniature_are_known(
    project: Project, plans: Plans
) -> None:
    """Nothing is broken, and what was not there is said."""
    shutil.rmtree(project.work.raw("ssv1", generated=True))
    links = list(level1_sources.check(context_of(project, plans)))
    assert {link.status for link in links} == {Status.OK, Status.UNAVAILABLE}


def test_a_forged_digest_in_the_cache_deceives_only_what_believes_it(
    project: Project, plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.core.digest_cache.FRESH_NS", -(1 << 62))
    shard = project.one("data/mini/frames/ssv1/*.lmdb")
    path = project.work.relative(shard)
    context = context_of(project, plans)
    honest = sha256_file(shard)
    flip(shard, None)

    def status(*, cached: bool) -> Status:
        context.cached = cached
        found = [link for link in level1_hashes.check(context) if link.path == path]
        return found[0].status if found else Status.OK  # files that fit are told by their folder

    assert status(cached=True) is Status.HASH_MISMATCH, "a file that changed is read again"
    cache = DigestCache(context.cache("results"))
    cache.note(str(shard), stamp([("", shard.stat())]), honest)
    cache.save()
    assert status(cached=True) is Status.OK
    assert status(cached=False) is Status.HASH_MISMATCH
