"""Numbers made from several runs: ensembles, stream fusion, splits averaged, folds pooled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import DataError, ManifestError
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.reporting.results import Results, RunResult, contents, headline
from pipeline.reporting.training_order import Trainings
from pipeline.schema.table_layouts import Combination
from pipeline.scores import predictions, scoring
from pipeline.scores import video_scores as scores
from pipeline.scores.reference import bounds, read_results, reference_path
from pipeline.scores.scoring import VideoScores
from pipeline.scores.statistics import Interval, Spread, cluster_codes, share_interval
from pipeline.scores.video_scores import Outcomes


def add_combinations(
    work: Workspace, results: Results, combinations: Mapping[str, Combination]
) -> dict[str, Any]:
    """Score every combination whose members are rows here, add it to `results`; their metrics.

    A member without a result makes the combination 'not-run' and is named. Combinations may be
    averaged over splits once they are made, so they stand before their mean in the manifest.
    """
    combined: dict[str, Any] = {}
    for key, rule in combinations.items():
        if key in results.runs:
            raise ManifestError(
                f"'{key}' is also a trained row",
                where=f"manifests/combinations.yaml, combinations.{key}",
                do="give the combination another name",
            )
        if any(member not in results.runs for member in rule.members):
            continue
        nested = [member for member in rule.members if member in combinations]
        if nested and rule.rule != "mean_of_folds":
            raise ManifestError(
                f"{rule.rule} needs trained rows, '{nested[0]}' is a combination",
                where=f"manifests/combinations.yaml, combinations.{key}",
                do="name rows; only mean_of_folds may average combinations",
            )
        missing = _missing_member(results, rule)
        if missing:
            results.runs[key] = RunResult(None, (), tuple(rule.members), rule.rule, missing)
            continue
        combined[key] = _combine(work, results, key, rule)
        sources = tuple(s for member in rule.members for s in results.runs[member].sources)
        results.runs[key] = RunResult(combined[key], sources, tuple(rule.members), rule.rule)
    _add_trainings(results, combined, reference_path(work.root, work.profile))
    return combined


def _add_trainings(results: Results, combined: Mapping[str, Any], reference: Path) -> None:
    """Add what is known of means over folds: those of their members' trainings from one seed, of
    this run and, on one machine, of the reference."""
    known: dict[tuple[str, str, str], dict[tuple[int, str, str], tuple[str, float]]] = {}
    for one in read_results(reference):
        of_kind = known.setdefault(one.kind, {})
        of_kind[one.seed, one.cpu, one.torch] = one.predictions, one.value_pct
    together, own = {}, {}
    for key, metrics in combined.items():
        if metrics["rule"] != "mean_of_folds":
            continue
        folds = [results.runs[member].metrics or {} for member in metrics["members"]]
        name = headline(metrics)
        for protocol, scored in metrics["protocols"].items():
            trainings = []
            for fold in folds:
                of_fold = fold["protocols"][protocol]
                theirs = known.get((str(fold.get("identity")), protocol, name), {})
                here = zip(contents(of_fold), of_fold.get("trainings", []), strict=False)
                ours = {(n, "", ""): pair for n, pair in enumerate(here)}
                trainings.append({**theirs, **ours})
            of_all = set.intersection(*(set(one) for one in trainings))
            means = {
                tuple(one[at][0] for one in trainings): float(
                    np.mean([one[at][1] for one in trainings])
                )
                for at in of_all
            }  # by the digests of the predictions: a training of the reference may be this run's
            place = (key, protocol, name)
            together[place] = ([*means.values()], int(scored["n_scored"]))
            own[place] = sum(at[1:] == ("", "") for at in of_all)
    for place, found in bounds(together).items():
        key, protocol, name = place
        scored = combined[key]["protocols"][protocol]
        if own[place]:
            results.spreads[place] = Spread(found.spread_pct / own[place] ** 0.5, found.df)
        if interval := scored.get(name.removesuffix("_pct") + "_ci95_pct"):
            results.trainings[place] = Trainings(found, float(scored[name]), Interval(*interval))


def _missing_member(results: Results, rule: Combination) -> str:
    for member in rule.members:
        metrics = results.runs[member].metrics
        if metrics is None:
            return f"{member}: {results.runs[member].missing}"
        for protocol in rule.protocols:
            if protocol not in metrics["protocols"]:
                why = metrics["reason"] or f"not evaluated under protocol {protocol}"
                return f"{member}: {why}"
            if metrics["protocols"][protocol]["n_scored"] == 0:
                return f"{member}: no video was scored under protocol {protocol}"
    return ""


def _combine(work: Workspace, results: Results, key: str, rule: Combination) -> dict[str, Any]:
    members = [results.runs[member].metrics or {} for member in rule.members]
    datasets = sorted({str(member["dataset"]) for member in members})
    if len(datasets) > 1:
        raise ManifestError(
            f"it combines rows of several data sets: {', '.join(datasets)}",
            where=f"manifests/combinations.yaml, combinations.{key}",
            do="combine rows of one data set only",
        )
    protocols: dict[str, Any] = {}
    for protocol in rule.protocols:
        scored = [member["protocols"][protocol] for member in members]
        if rule.rule == "mean_of_folds":
            protocols[protocol] = _mean(results, key, rule, protocol, scored)
            continue
        try:
            trainings = [_videos(work, rule, protocol, scored, n) for n in range(_count(scored))]
        except DataError as error:
            where = f"manifests/combinations.yaml, combinations.{key}"
            raise DataError(error.what, where=error.where or where, do=error.do) from None
        clusters = _clusters(results, rule, protocol)
        results.outcomes[key, protocol] = scores.outcomes(trainings, clusters)
        summary = scoring.summarise(trainings, members[0]["metric"], clusters)
        protocols[protocol] = {**summary, "views": sum(f["views"] for f in scored)}
        if rule.rule == "pool_folds":
            protocols[protocol]["views"] = max(f["views"] for f in scored)
    failed = any(scored["n_failed"] for scored in protocols.values())
    reasons = [f"{name}: {why}" for name, f in protocols.items() if (why := scoring.incomplete(f))]
    return {
        "row": key,
        "label": rule.label,
        "rule": rule.rule,
        "members": list(rule.members),
        "profile": work.profile,
        "dataset": members[0]["dataset"],
        "fold": "",
        "smoke": any(member["smoke"] for member in members),
        "metric": members[0]["metric"],
        "status": "partial" if failed else "ok",
        "reason": "; ".join(reasons),
        "protocols": protocols,
        **_official(rule, members),
    }


def _official(rule: Combination, members: list[Mapping[str, Any]]) -> dict[str, Any]:
    """How many videos the members' test splits have officially, where any of them says."""
    said = [member["official"] for member in members if "official" in member]
    if not said:
        return {}
    counts = [about["videos"] for about in said if about["videos"] is not None]
    folds = rule.rule in ("mean_of_folds", "pool_folds")
    videos = (sum(counts) if folds else max(counts)) if counts else None
    subset = next((about["subset"] for about in said if about["subset"]), "")
    return {"official": {"videos": videos, "subset": subset}}


def _clusters(results: Results, rule: Combination, protocol: str) -> dict[str, str]:
    """The cluster of each video that a member's outcomes name."""
    return {
        video_id: cluster
        for member in rule.members
        if (outcome := results.outcomes.get((member, protocol))) is not None
        for video_id, cluster in zip(outcome.video_ids, outcome.clusters, strict=True)
    }


def _count(scored: list[dict[str, Any]]) -> int:
    """Trainings that all members have; those of one number are combined."""
    return min(len(metrics["predictions_content"]) for metrics in scored)


def _videos(
    work: Workspace,
    rule: Combination,
    protocol: str,
    metrics_of: list[dict[str, Any]],
    number: int,
) -> VideoScores:
    """The predictions of the members' trainings `number` as one set of video scores."""
    name = f"{protocol}{seed_suffix(number)}.parquet"
    members = [
        predictions.read(work.run(member) / "predict" / name, row=member, protocol=protocol)
        for member in rule.members
    ]
    if rule.rule == "clipped_logit_sum":
        return scoring.ensemble_clipped_logit_sum(members)
    if rule.rule == "softmax_mean":
        return scoring.ensemble_softmax_mean(members)
    if rule.rule == "stream_fusion":
        return scoring.fuse_streams(members, rule.weights or [])
    scored = [
        scoring.score_videos(member, metrics["aggregate"])
        for member, metrics in zip(members, metrics_of, strict=True)
    ]
    return scoring.pool(scored)


def _mean(
    results: Results, key: str, rule: Combination, protocol: str, scored: list[dict[str, Any]]
) -> dict[str, Any]:
    """The plain mean over folds, whose videos may overlap between folds.

    Outcomes and interval are over the union's clusters, so that a video in several folds counts
    once; there are none where per-video outcomes are absent (mAP).
    """
    outcomes = [
        outcome
        for member in rule.members
        if (outcome := results.outcomes.get((member, protocol))) is not None
    ]
    summary: dict[str, Any] = {
        name: sum(f.get(name, 0) for f in scored)
        for name in ("n_expected", "n_scored", "n_failed", "n_partial")
    }
    summary["views"] = max(f["views"] for f in scored)
    summary["n_clusters"] = len({name for outcome in outcomes for name in outcome.clusters})
    complete = len(outcomes) == len(scored)
    for name in ("top1", "top5", "map"):
        metrics = [f.get(f"{name}_pct") for f in scored]
        values = [float(value) for value in metrics if value is not None]
        if len(values) != len(scored):
            continue
        summary[f"{name}_pct"] = round(float(np.mean(values)), 4)
        summary[f"{name}_ci95_pct"] = _bounds(outcomes, f"{name}_pct") if complete else None
    if complete:
        results.outcomes[key, protocol] = _union(outcomes)
    return summary


def _union(folds: list[Outcomes]) -> Outcomes:
    """The outcomes of several folds on all their videos: of each, the share of its folds that have
    it right. The mean over videos is that over folds where no video is in two folds of unequal
    size; elsewhere nearly."""
    ids = sorted({video_id for fold in folds for video_id in fold.video_ids})
    place = {video_id: index for index, video_id in enumerate(ids)}
    labels, predicted = (np.full(len(ids), scores.UNLABELLED, np.int32) for _ in range(2))
    clusters, correct, times = list(ids), np.zeros((2, len(ids))), np.zeros(len(ids))
    for fold in folds:
        at = [place[video_id] for video_id in fold.video_ids]
        labels[at], predicted[at] = fold.labels, fold.predicted
        correct[:, at] += np.stack([fold.correct1, fold.correct5])
        times[at] += 1
        for index, name in zip(at, fold.clusters, strict=True):
            clusters[index] = name
    return Outcomes(tuple(ids), tuple(clusters), labels, predicted, *(correct / times))


def _bounds(folds: list[Outcomes], metric: str) -> list[float] | None:
    """The interval of a mean over folds: each video has its share of the result, scaled so that the
    mean over the union is the result."""
    union = _union(folds)
    place = {video_id: index for index, video_id in enumerate(union.video_ids)}
    share = np.zeros(len(place))
    for fold in folds:
        if (right := fold.correct(metric)) is None:
            return None
        at = [place[video_id] for video_id in fold.video_ids]
        share[at] += len(place) / (len(at) * len(folds)) * right
    interval = share_interval(share, cluster_codes(union.clusters))
    if np.isnan(interval.low):
        return None
    return [round(100 * bound, 4) for bound in (interval.low, interval.high)]
