"""The figures stage on small networks with initial weights and hand-made outcomes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import AbsentData, RecordError
from pipeline.core.files import canonical_json, read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.mini.motion_plan import draw_scene, plan_scenes
from pipeline.mini.render import render
from pipeline.schema.base import load
from pipeline.schema.miniature import Miniature
from pipeline.schema.plan_models import FiguresPlan, PredictPlan
from pipeline.scores import video_scores as scores
from pipeline.scores.video_scores import Outcomes
from pipeline.store.index import read_index
from stages import figures
from stages.figure_data.truth import Truth
from stages.rows.row_network import build_network
from tests.stages.conftest import LABELS, predict_plan

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = ("png", "svg"), ("1.jpg", "2.jpg")
ROWS = {"tsn": "tsn", "tdn": "tdn", "pair": "featdiff", "tam": "tanet", "i3d": "i3d_3x1x1"}
SHOWN = {"protocol": "center_1x1", "show": 2, "measure": 3}
FIGURES: dict[str, dict[str, Any]] = {
    "curves": {"kind": "curves", "rows": {"tsn": "TSN", "gone": "Gone"}},
    "cost": {
        "kind": "cost",
        "printed": {"table": "doc/1", "cost": "flops", "accuracy": "top1"},
        "rows": {"tsn": "TSN", "tdn": "TDN"},
        "protocol": "center_1x1",
    },
    "reversal": {
        "kind": "reversal",
        "rows": {"tsn": "TSN"},
        "protocol": "center_1x1",
        "pairs": [LABELS],
    },
    "gains": {"kind": "gains", "rows": {"tsn": "TSN", "tdn": "TDN"}, "protocol": "center_1x1"},
    "cam": {"kind": "cam", "row": "pair", **SHOWN},
    "center": {
        "kind": "gradcam",
        "rows": {"tsn": "TSN", "tdn": "TDN"},
        "layer": "res2",
        "frames": "center",
        **SHOWN,
    },
    "all": {
        "kind": "gradcam",
        "rows": {"tdn": "TDN", "untrained": "?"},
        "layer": "res5",
        "frames": "all",
        **SHOWN,
    },
    "kernels": {
        "kind": "kernels",
        "tanet": {"tam": "Toys"},
        "i3d": {"i3d": "Toys"},
        "places": {"stage4_6b": {"stage": 4, "block": 6, "reading": "as printed"}},
        "videos": 3,
    },
    "lost": {"kind": "cam", "row": "gone", **SHOWN},
    "order": {"kind": "ordering"},
    "frames": {"kind": "frames", "show": 2},
}


def predicted(row: str, architecture: str = "tsn") -> PredictPlan:
    """A tiny row's plan at a size that every network takes."""
    return predict_plan(row, architecture, crop_px=48, resize_px=56)


def plan(work: Workspace, **chosen: dict[str, Any]) -> FiguresPlan:
    """The plan of the figures stage; `chosen` replaces the figures above."""
    wanted = {k: {"title": k.title(), **f} for k, f in (chosen or FIGURES).items()}
    rows = {row: predicted(row, architecture) for row, architecture in ROWS.items()}
    return FiguresPlan.model_validate(
        {
            "profile": "mini",
            "smoke": True,
            "figures": wanted,
            "rows": {**rows, "untrained": predicted("untrained")},
            "datasets": {"ssv1": {"title": "Toys", "split": "validation", "miniature": None}},
        }
    )


@pytest.fixture
def trained(work: Workspace) -> Workspace:
    """Every row with initial weights, a history, outcomes and metrics."""
    for row, architecture in ROWS.items():
        folder = work.run(row) / "train"
        folder.mkdir(parents=True)
        model = build_network(row, predicted(row, architecture).network, len(LABELS), seed=3)
        torch.save(model.state_dict(), folder / "weights.pt")
        write_json(folder / "outcome.json", {"status": "ok", "reason": ""})
        history = [{"epoch": e, "loss": 2.0 - e, "top1_pct": 50.0 * e} for e in range(2)]
        write_json(folder / "history.json", history)
        right = np.array([True, row == "tdn", True])
        labels = np.array([1, 0, 1], np.int32)
        answers = np.where(right, labels, 1 - labels).astype(np.int32)
        found = Outcomes(
            ("109", "110", "111"), ("109", "110", "111"), labels, answers, right, right
        )
        scores.write(work.run(row) / "scores" / "center_1x1.parquet", found)
        one = {"top1_pct": 60.0, "top1_ci95_pct": [50.0, 70.0]}
        write_json(work.metrics(row), {"reason": "", "protocols": {"center_1x1": one}})
    costs = {row: {"params": 10, "gmacs": 33.0} for row in ROWS}
    write_json(work.reports / "costs.json", costs)
    return no_tables(work)


def no_tables(work: Workspace) -> Workspace:
    write_json(work.reports / "tables" / "cells.json", {"tables": [], "cells": {}})
    return work


def run(work: Workspace, plan: FiguresPlan) -> dict[str, dict[str, Any]]:
    figures.run(work, "all", plan)
    entries = read_json(work.reports / "figures" / "figures.json")["figures"]
    return {entry["key"]: entry for entry in entries}


def files(work: Workspace) -> dict[str, bytes]:
    folder = work.reports / "figures"
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_every_kind_is_drawn_twice_the_same_and_says_what_is_missing(trained: Workspace) -> None:
    found = run(trained, plan(trained))
    states = {key: entry["state"] for key, entry in found.items()}
    assert states == {
        "curves": "partial",
        "cost": "drawn",
        "reversal": "drawn",
        "gains": "drawn",
        "cam": "drawn",
        "center": "drawn",
        "all": "partial",
        "kernels": "drawn",
        "lost": "not-run",
        "order": "not-run",
        "frames_ssv1": "drawn",
    }
    assert found["curves"]["reason"] == "gone: not a row of this profile"
    assert found["all"]["reason"] == "untrained: the row is not trained"
    assert found["lost"]["reason"] == "gone: not a row of this profile"
    for key, entry in found.items():
        assert set(entry["files"].values()) == (
            {f"{key}.{suffix}" for suffix in SUFFIXES[entry["kind"] == "frames"]}
            if states[key] != "not-run"
            else set()
        )
        assert bool(entry["alt"]) == bool(entry["files"])
    assert "row" in found["gains"]["caption"]
    assert "Toys (smoke), test videos; protocol center_1x1" in found["gains"]["caption"]
    first = files(trained)
    run(trained, plan(trained))
    assert files(trained) == first


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the figures that were drawn since it was last cleared."""
    found: list[str] = []
    real = figures.save

    def save(figure: Any, folder: Path) -> list[Path]:
        if figure.drawing is not None:
            found.append(figure.key)
        return real(figure, folder)

    monkeypatch.setattr(figures, "save", save)
    return found


def test_only_figures_made_from_something_else_are_drawn_again(
    trained: Workspace, drawn: list[str]
) -> None:
    wanted = plan(trained, **{key: one for key, one in FIGURES.items() if key != "all"})
    figures.run(trained, "all", wanted, code="a")
    everything = {"curves", "cost", "reversal", "gains", "cam", "center", "kernels"}
    everything.add("frames_ssv1")
    assert set(drawn) == everything
    first = files(trained)
    drawn.clear()
    figures.run(trained, "all", wanted, code="a")
    assert drawn == [] and files(trained) == first
    history = [{"epoch": e, "loss": 3.0 - e, "top1_pct": 50.0 * e} for e in range(2)]
    write_json(trained.run("tsn") / "train" / "history.json", history)
    (trained.reports / "figures" / "kernels.svg").write_text("damaged")
    figures.run(trained, "all", wanted, code="a")
    assert set(drawn) == {"curves", "cost", "reversal", "gains", "center", "kernels"}
    changed = files(trained)
    shutil.rmtree(trained.reports / "figures")
    figures.run(trained, "all", wanted, code="a")
    assert files(trained) == changed, "as a fresh run makes them"
    drawn.clear()
    figures.run(trained, "all", wanted, code="b")
    assert set(drawn) == everything, "other code"


def test_nothing_is_drawn_by_other_code_than_was_planned(trained: Workspace) -> None:
    parts = {"stages/figures.py": {"run": "0" * 64}}
    write_json(trained.planned_code("c" * 64), parts)
    with pytest.raises(RecordError, match="changed after it was planned"):
        figures.run(trained, "all", plan(trained), code="c" * 64)
    assert not (trained.reports / "figures").exists()


def test_an_order_is_drawn_again_when_its_numbers_change(
    trained: Workspace, drawn: list[str]
) -> None:
    def tables(measured: float) -> None:
        rows = [{"row": r, "label": r.upper(), "settings": {}} for r in "abc"]
        column = {"key": "top1", "label": "Top1", "protocol": "center_1x1"}
        orderings = [
            {"column": c, "tau": 1.0, "tau_low": 0.0, "tau_high": 1.0, "pairs": [],
             "rows": list("abc"), "smoke": True, "in_words": "Kendall's τ."}
            for c in ("top1", "top5")
        ]  # fmt: skip
        table = {
            "document": "doc", "table": "1", "caption": "Rows.", "settings": [],
            "columns": [column, {**column, "key": "top5"}], "rows": rows, "orderings": orderings,
            "means": [],
        }  # fmt: skip
        cells = {
            f"doc/1/{row}/{c}": {"claimed": 40.0 + n, "measured": 50.0 + n, "ci_low": 49.0,
                                 "ci_high": 60.0}
            for n, row in enumerate("abc") for c in ("top1", "top5")
        }  # fmt: skip
        cells["doc/1/a/top5"]["measured"] = measured
        write_json(trained.reports / "tables" / "cells.json", {"tables": [table], "cells": cells})

    wanted = plan(trained, order=FIGURES["order"])
    tables(50.0)
    figures.run(trained, "all", wanted, code="a")
    assert drawn == ["order_doc_1_top1", "order_doc_1_top5"]
    drawn.clear()
    tables(51.5)
    figures.run(trained, "all", wanted, code="a")
    assert drawn == ["order_doc_1_top5"]


def test_an_order_is_that_of_the_means_where_there_are_some(trained: Workspace) -> None:
    order = {"column": "top1", "tau": 1.0, "pairs": [], "in_words": "One training each."}
    ordering = {**order, "rows": list("abc"), "smoke": True}
    rows = [
        {"row": row, "trainings": 5, "mean": 60.0 - n, "sd": 1.0, "ci_low": 50.0, "ci_high": 70.0}
        for n, row in enumerate("abc")
    ]
    means = {**order, "tau": -1.0, "rows": rows, "in_words": "By the means of 5 trainings."}
    table = {
        "document": "doc", "table": "1", "caption": "Rows.", "settings": [],
        "columns": [{"key": "top1", "label": "Top1", "protocol": "center_1x1"}],
        "rows": [{"row": row, "label": row.upper(), "settings": {}} for row in "abc"],
        "orderings": [ordering], "means": [means],
    }  # fmt: skip
    cells = {
        f"doc/1/{row}/top1": {"claimed": 40.0 + n, "measured": 50.0 + n, "ci_low": 49.0,
                              "ci_high": 60.0}
        for n, row in enumerate("abc")
    }  # fmt: skip
    write_json(trained.reports / "tables" / "cells.json", {"tables": [table], "cells": cells})
    figure = run(trained, plan(trained, order=FIGURES["order"]))["order_doc_1_top1"]
    assert figure["found"] == "By the means of 5 trainings." and figure["numbers"]["tau"] == -1.0
    assert figure["numbers"]["ranks"]["a"] == {"printed": 3.0, "measured": 1.0}


def test_numbers_are_those_of_the_rows(trained: Workspace) -> None:
    chosen = {key: FIGURES[key] for key in ("reversal", "gains", "cost")}
    found = run(trained, plan(trained, **chosen))
    assert found["reversal"]["numbers"]["all_pairs"]["tsn"]["reverse_pct"] == pytest.approx(33.33)
    top = found["gains"]["numbers"]["ranked"][0]
    assert (top["class"], top["gain"]) == (LABELS[0], 100)
    assert [p["gmacs"] for p in found["cost"]["numbers"]["measured"]] == [33.0, 33.0]


def test_a_figure_names_the_rows_and_cells_it_rests_on(trained: Workspace) -> None:
    layout = {"document": "doc", "table": "1", "orderings": [], "columns": []}
    row = {"row": "a", "label": "A", "settings": {}, "cells": ["flops", "top1"]}
    cells = {f"doc/1/a/{name}": {"claimed": "45"} for name in ("flops", "top1")}
    found = {"tables": [{**layout, "rows": [row]}], "cells": cells}
    write_json(trained.reports / "tables" / "cells.json", found)
    made = run(trained, plan(trained))
    assert made["cost"]["cells"] == ["doc/1/a/flops", "doc/1/a/top1"]
    assert made["cost"]["rows"] == made["center"]["rows"] == ["tsn", "tdn"]
    assert made["curves"]["rows"] == ["tsn"]
    assert made["kernels"]["rows"] == ["tam", "i3d"]
    assert (made["lost"]["rows"], made["lost"]["found"]) == ([], "")
    for key in ("cam", "center", "all", "kernels"):
        assert made[key]["found"] and made[key]["found"] in made[key]["caption"], key


def test_frames_are_the_middle_ones_of_usable_test_videos_as_stored(work: Workspace) -> None:
    found = run(no_tables(work), plan(work, frames={**FIGURES["frames"], "show": 9}))["frames_ssv1"]
    videos = found["numbers"]["videos"]
    assert [video["video_id"] for video in videos] == ["109", "110", "111"], "112 has no frames"
    store = read_index(work.frames("ssv1")).store()
    for video in videos:
        middle = store.jpegs(video["video_id"])[video["frame"]]
        assert files(work)[video["file"]] == bytes(middle)
        assert video["class"] in LABELS and video["class"] in found["alt"]
    assert (videos[0]["frame"], videos[2]["frame"]) == (9, 10)
    assert "licence" in found["caption"], "of real videos"


def test_a_network_is_drawn_without_any_row(work: Workspace) -> None:
    network = {"title": "TDN", "architecture": "tdn", "backbone": "resnet50", "segments": 3}
    network |= {"side_px": 64, "classes": 5}
    wanted = plan(work, net={"kind": "architecture", "network": network, "part": "res3.0"})
    found = run(no_tables(work), wanted)["net"]
    assert (found["state"], set(found["files"])) == ("drawn", {"png", "svg"})
    assert "after_conv1.long_term reads conv1" in found["alt"]
    assert "3 segments of 64 × 64 pixels" in found["caption"]


def test_training_curves_are_tables_of_the_trained_rows(trained: Workspace) -> None:
    run(trained, plan(trained, curves=FIGURES["curves"]))
    folder = trained.reports / "figures" / "curves"
    assert {path.stem for path in folder.iterdir()} == set(ROWS)
    text = (folder / "tsn.csv").read_text("utf-8")
    assert text == "epoch,loss,top1_pct\n0,2.0,0.0\n1,1.0,50.0\n"


def test_figures_no_longer_wanted_are_removed(trained: Workspace) -> None:
    curves = FIGURES["curves"]
    run(trained, plan(trained, one=curves, two=curves))
    run(trained, plan(trained, one=curves))
    assert set(files(trained)) == {"one.png", "one.svg", "figures.json"}


def test_nothing_run_is_a_page_of_reasons(tmp_path: Path) -> None:
    work = no_tables(Workspace(tmp_path))
    found = run(work, plan(work))
    assert {entry["state"] for entry in found.values()} == {"not-run"}
    assert "not decoded" in found["gains"]["reason"]


def test_without_tables_it_says_what_to_run(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    with pytest.raises(AbsentData, match="no tables") as caught:
        figures.run(work, "all", plan(work))
    assert "tdn tables" in caught.value.do


def test_a_protocol_that_a_row_lacks_is_said(trained: Workspace) -> None:
    cam = {**FIGURES["cam"], "protocol": "elsewhere"}
    found = run(trained, plan(trained, cam=cam))
    assert "'elsewhere'" in found["cam"]["reason"]


def test_named_videos_are_shown(trained: Workspace) -> None:
    center = {**FIGURES["center"], "show_ids": {"mini": ["111", "gone"]}}
    found = run(trained, plan(trained, center=center))
    assert found["center"]["numbers"]["shown"] == ["111"]


def test_the_true_object_is_where_it_was_drawn_forwards_and_backwards() -> None:
    miniature = load(Miniature, ROOT / "manifests" / "miniatures" / "ssv1.yaml")
    # As the generator sees it: from a plan, whose keys are sorted.
    ordered = Miniature.model_validate_json(canonical_json(miniature.model_dump(mode="json")))
    truth = Truth("ssv1", ordered)
    plan = next(t for t in plan_scenes("ssv1", ordered) if len(t.clips) == 2)
    frames = render(draw_scene(ordered, plan), miniature.width_px, miniature.height_px).astype(
        float
    )
    forwards, backwards = (truth.masks(clip.clip_id) for clip in plan.clips)
    assert forwards is not None
    assert backwards is not None
    assert np.array_equal(backwards, forwards[::-1])
    star, disc = draw_scene(ordered, plan).action.actors
    actor, other = (star, disc) if np.ptp(star.x_px) > np.ptp(disc.x_px) else (disc, star)
    assert not forwards[0, round(other.y_px[0]), round(other.x_px[0])], "one at rest is no truth"
    for t in (0, len(frames) - 1):
        ys, xs = np.nonzero(forwards[t])
        assert abs(xs.mean() - actor.x_px[t]) < 4
        assert abs(ys.mean() - actor.y_px[t]) < 4
        assert 0.02 < forwards[t].mean() < 0.5


def test_a_video_the_generator_did_not_make_has_no_truth() -> None:
    miniature = load(Miniature, ROOT / "manifests" / "miniatures" / "ssv1.yaml")
    assert Truth("ssv1", miniature).masks("holiday") is None


def test_the_store_of_the_tests_is_what_these_figures_expect(work: Workspace) -> None:
    index = read_index(work.frames("ssv1"))
    assert [v.video_id for v in index.split("validation") if v.usable] == ["109", "110", "111"]
