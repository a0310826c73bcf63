"""Stage `score`: one row's logits per view become its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.core.errors import AbsentData
from pipeline.core.files import read_json, sha256_file, write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.mini.clip_ids import scenes_by_id
from pipeline.schema.plan_models import ImportedScorePlan, ScorePlan
from pipeline.schema.protocols import Aggregate
from pipeline.scores import predictions
from pipeline.scores import video_scores as scores
from pipeline.scores.scoring import incomplete, score_videos, summarise


def run(work: Workspace, key: str, plan: ScorePlan) -> None:
    """Write `reports/P/metrics/ROW.json` and `runs/P/ROW/scores/<protocol>.parquet`.

    A row that was not predicted gets status 'not-run' and its reason. Raises AbsentData when
    predict never ran, RecordError on damaged files.
    """
    folder = work.run(key) / "predict"
    if not (folder / "outcome.json").is_file():
        raise AbsentData(
            f"row {key} has no predictions",
            where=work.relative(folder),
            do=f"run `tdn predict {key}`",
        )
    outcome = read_json(folder / "outcome.json")
    target = work.run(key) / "scores"
    target.mkdir(parents=True, exist_ok=True)
    protocols: dict[str, Any] = {}
    if outcome["status"] == "ok":
        for name, aggregate in plan.protocols.items():
            protocols[name] = _protocol(work, key, name, aggregate, plan)
    for stale in set(target.glob("*.parquet")) - {target / f"{name}.parquet" for name in protocols}:
        stale.unlink()
    status, reason = _verdict(outcome, protocols)
    metrics = {
        "row": key,
        "profile": plan.profile,
        "dataset": plan.dataset,
        "fold": plan.fold,
        "smoke": plan.smoke,
        "metric": plan.metric,
        "seed": plan.seed,
        "identity": plan.identity,
        "status": status,
        "reason": reason,
        "protocols": protocols,
    }
    if plan.official is not None or plan.subset:
        metrics["official"] = {"videos": plan.official, "subset": plan.subset}
    if isinstance(plan, ImportedScorePlan) and (remark := _near_chance(plan, protocols)):
        print(f"{key}: {remark}")
        metrics["remark"] = remark
    write_json(work.metrics(key), metrics)


def _near_chance(plan: ImportedScorePlan, protocols: dict[str, Any]) -> str:
    """What accuracy by chance means for weights that were published as good; '' for any other.

    By chance: at most twice the share of one class of many, on ten videos or more.
    """
    for name, found in protocols.items():
        top1_pct, classes, scored = found["top1_pct"], found["classes"], found["n_scored"]
        if top1_pct is not None and classes >= 5 and scored >= 10 and top1_pct <= 200 / classes:
            return (
                f"{top1_pct:.2f} % under {name} is what chance gives with {classes} classes: "
                f"{plan.checkpoint} has them probably in another order than the data set; give the "
                "row's start `class_names: FILE`, one class a line in the checkpoint's order"
            )
    return ""


def _protocol(
    work: Workspace, key: str, name: str, aggregate: Aggregate, plan: ScorePlan
) -> dict[str, Any]:
    paths = [
        work.run(key) / "predict" / f"{name}{seed_suffix(number)}.parquet"
        for number in range(plan.seeds)
    ]
    found = [predictions.read(path, row=key, protocol=name, verify=True) for path in paths]
    trainings = [score_videos(one, aggregate) for one in found]
    clusters = _clusters(plan, trainings[0].video_ids)
    outcomes = scores.outcomes(trainings, clusters)
    scores.write(work.run(key) / "scores" / f"{name}.parquet", outcomes)
    summary = summarise(trainings, plan.metric, clusters)
    return {
        **summary,
        "trainings": [_headline(summarise([one], plan.metric), plan) for one in trainings],
        "aggregate": aggregate,
        "views": found[0].views_per_video,
        "classes": found[0].n_classes,
        "predictions_sha256": [sha256_file(path) for path in paths],
        "predictions_content": [predictions.content_digest(one) for one in found],
    }


def _headline(summary: dict[str, Any], plan: ScorePlan) -> float | None:
    """The number that the row is about, in percent."""
    value: float | None = summary["map_pct" if plan.metric == "map" else "top1_pct"]
    return value


def _clusters(plan: ScorePlan, video_ids: Sequence[str]) -> dict[str, str]:
    """Videos that came about together: clips of one generated scene, or as the manifest says."""
    if plan.miniature is not None:
        scenes = scenes_by_id(plan.dataset, plan.miniature)
        return {v: scenes[v][0].pool_key for v in video_ids if v in scenes}
    return {v: plan.clusters.of(v) for v in video_ids} if plan.clusters else {}


def _verdict(outcome: dict[str, Any], protocols: dict[str, Any]) -> tuple[str, str]:
    if outcome["status"] != "ok":
        return "not-run", str(outcome.get("reason") or "the row was not predicted")
    for name, found in protocols.items():
        if found["n_scored"] == 0:
            return "not-run", f"{name}: none of {found['n_expected']} videos could be scored"
    for name, found in protocols.items():
        if why := incomplete(found):
            return "partial" if found["n_failed"] else "ok", f"{name}: {why}"
    return "ok", ""
