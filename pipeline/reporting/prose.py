"""Claims made in sentences: which hold in the paper's own numbers, and which in ours.

A sentence's `rule` is evaluated on the printed numbers and its `ours` on measured ones. Measured
accuracies carry noise, so an ordering of ours counts as holding (failing) when it does in at least
97.5 % (at most 2.5 %) of draws: bootstrap draws over clusters of videos and draws of the training.
Between, the data leave it undecided; and so they do where it is not known how far trainings of the
rows lie apart, whatever the videos say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import ManifestError
from pipeline.reporting.results import Results
from pipeline.reporting.rules import Rule, parse, read_rule
from pipeline.schema.claims import Claim, ProseClaim
from pipeline.schema.table_layouts import check_placement, load_all
from pipeline.scores.statistics import N_RESAMPLES, SEED, Floats, resampled_means
from pipeline.scores.video_scores import compare

Cells = Mapping[str, Mapping[str, Any]]
"""The cells of cells.json by address, in the order of the tables."""
Share = Callable[[ProseClaim, Rule], tuple[float | None, str]]
"""The share of draws (percent) in which a sentence's rule holds, and what was drawn; None where not
all that was sampled can be drawn again."""
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
SURE_PCT = 97.5
BOTH = "videos and trainings"
"""What must be drawn again for a verdict."""
TIMED = "ms"
COUNTED = ("gflops", "params", "views")
"""Units of numbers that are the same on every draw of videos."""
GAP = "…"
"""Stands for a number that was not measured."""


@dataclass(frozen=True)
class Verdict:
    """What became of one sentence; `paper` and `ours` are holds, fails or undecided.

    `cells` are the addresses that `rule` reads, `ours_cells` those of `ours_rule`; `paper_numbers`
    and `ours_numbers` are the rules with those cells' numbers in their place ('…' for one that was
    not measured). `draws_pct` is the share of bootstrap draws in which ours is true, None where
    nothing was drawn.
    """

    prose_id: str
    document: str
    place: str
    kind: str
    sentence: str
    rule: str
    paper: str
    paper_reason: str
    paper_numbers: str
    cells: tuple[str, ...]
    note: str
    ours_rule: str
    ours: str = UNDECIDED
    ours_reason: str = "no measurement of this project decides it"
    ours_numbers: str = ""
    ours_cells: tuple[str, ...] = ()
    draws_pct: float | None = None
    draws_over: str = ""
    """'videos', or 'videos and trainings' where the spread of all rows is known."""
    smoke: bool = False

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        lists = {"cells": list(self.cells), "ours_cells": list(self.ours_cells)}
        return {**asdict(self), **lists}


def judge_prose(prose: Mapping[str, ProseClaim], cells: Cells, share: Share) -> list[Verdict]:
    """A verdict for every sentence, none where no printed table is shown.

    Raises ManifestError for a rule that names no cell.
    """
    addresses = printed_cells(cells)
    return [judge(claim, addresses, cells, share) for claim in prose.values() if addresses]


def printed_cells(cells: Cells) -> tuple[str, ...]:
    """Addresses of the cells with a printed number, which rules may name, in the given order."""
    return tuple(address for address, cell in cells.items() if cell["claim_id"])


def check_rules(
    prose: Mapping[str, ProseClaim], claims: Mapping[str, Claim], cells: Sequence[str]
) -> None:
    """Raise ManifestError for the first rule that does not parse or names an unknown cell.

    `rule` may name what is printed (`claims`), `ours` every one of the tables' `cells`.
    """
    for claim in prose.values():
        for text, known in ((claim.rule, tuple(claims)), (claim.ours, tuple(cells))):
            if text:
                parse(text, claim.document, known, where=_place(claim))


def check_manifests(folder: Path) -> int:
    """How many claims are placed; a ManifestError listing those placed nowhere or twice.

    Also refuses a rule of prose_claims.csv that names no cell.
    """
    manifests = load_all(folder)
    every = [
        f"{layout.table_id}/{row}/{column}"
        for layout in manifests.layouts
        for row in layout.rows
        for column in layout.columns
    ]
    check_rules(manifests.prose, manifests.claims, every)
    problems = check_placement(manifests.layouts, manifests.claims)
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ManifestError(
            f"{len(problems)} claims or layouts do not fit:\n  {shown}{more}",
            where=f"{folder.name}/claims.csv, {folder.name}/tables/",
            do="give every claim exactly one row and column of one layout",
        )
    return len(manifests.claims)


def _place(claim: ProseClaim) -> str:
    return f"manifests/prose_claims.csv, {claim.prose_id}"


def judge(claim: ProseClaim, addresses: tuple[str, ...], cells: Cells, share: Share) -> Verdict:
    """The verdict on one sentence; ManifestError for a rule that names no cell.

    `addresses` are the cells with a printed number, which the sentence's own rule may name. What
    `ours` names may be in a table that this profile does not show.
    """
    paper, paper_reason, paper_numbers = UNDECIDED, "no printed number decides it", ""
    printed: tuple[str, ...] = ()
    if claim.rule:
        rule = parse(claim.rule, claim.document, addresses, where=_place(claim))
        printed = tuple(rule.cells())
        truth = bool(rule.evaluate(lambda address: float(cells[address]["claimed"])))
        paper, paper_reason = (HOLDS if truth else FAILS), _shown(printed, cells)
        paper_numbers = rule.spelled(lambda address: str(cells[address]["claimed"]))
    ours: dict[str, Any] = {}
    if claim.ours:
        rule = read_rule(claim.ours, claim.document, tuple(cells), where=_place(claim))
        if rule.unknown():  # `check_rules` refuses what no table of any profile has
            ours = {"ours_reason": "this profile has no such rows"}
        else:
            ours = _ours(claim, rule, cells, share)
    return Verdict(
        **claim.model_dump(exclude={"ours"}),
        paper=paper,
        paper_reason=paper_reason,
        paper_numbers=paper_numbers,
        cells=printed,
        ours_rule=claim.ours,
        **ours,
    )


def _shown(addresses: Sequence[str], cells: Cells) -> str:
    """The printed numbers a rule read, shortened when there are many."""
    texts = [f"{a.partition('/')[2]} {cells[a]['claimed']}" for a in addresses]
    more = f" and {len(texts) - 4} more" if len(texts) > 4 else ""
    return ", ".join(texts[:4]) + more


def decide(point: bool, draws_pct: float | None) -> str:
    """What our own numbers say: `point` is the rule's truth in them, unless they were drawn again.

    `draws_pct` is the share of draws in which it is true, in percent.
    """
    if draws_pct is None:
        return HOLDS if point else FAILS
    if draws_pct >= SURE_PCT:
        return HOLDS
    return FAILS if draws_pct <= 100 - SURE_PCT else UNDECIDED


def _ours(claim: ProseClaim, rule: Rule, cells: Cells, share: Share) -> dict[str, Any]:
    """The fields of a verdict that rest on what was measured."""
    named = tuple(rule.cells())
    measured = {address: cells[address]["measured"] for address in named}
    numbers = rule.spelled(lambda a: GAP if measured[a] is None else f"{measured[a]:g}")
    read = {"ours_numbers": numbers, "ours_cells": named}
    missing = [a for a in named if measured[a] is None]
    if missing:
        return {**read, "ours_reason": f"not measured: {missing[0].partition('/')[2]}"}
    if part := [address for address in named if cells[address]["status"] == "partial"]:
        return {**read, "ours_reason": f"a part of the videos: {part[0].partition('/')[2]}"}
    counted = all(cells[address]["unit"] in COUNTED for address in named)
    if any(cells[address]["unit"] == TIMED for address in named):
        return {**read, "ours_reason": "times of another machine than the printed ones"}
    draws_pct, over = (None, "") if counted else share(claim, rule)
    if counted:
        reason = "counted, not sampled"
    elif draws_pct is not None:
        reason = f"true in {draws_pct:.0f} % of draws over {over}"
    else:
        return {**read, "ours_reason": "a point estimate alone: not all of it can be drawn again"}
    ours = decide(bool(rule.evaluate(measured.__getitem__)), draws_pct)
    if not counted and over != BOTH:
        ours, reason = UNDECIDED, f"{reason}; how far trainings lie apart is not known"
    elif "near(" in claim.rule and "near(" not in claim.ours:
        reason += "; the direction alone, not the printed number"
    return {
        **read,
        "ours": ours,
        "ours_reason": reason,
        "draws_pct": draws_pct,
        "draws_over": over,
        "smoke": any(cells[address]["smoke"] for address in named),
    }


def share_of_draws(cells: Cells, results: Results) -> Share:
    """How often a rule holds when the videos behind its cells are drawn again."""

    def share(claim: ProseClaim, rule: Rule) -> tuple[float | None, str]:
        sampled = [cells[a] for a in rule.cells() if cells[a]["unit"] not in COUNTED]
        draws = _draws(sampled, results)
        if any(cell["cell_id"] not in draws for cell in sampled):
            return None, ""
        known = all(results.spread(cell["lineage"]) is not None for cell in sampled)
        truths = rule.evaluate(lambda a: draws.get(a, cells[a]["measured"]))
        over = BOTH if known else "videos"
        return round(100 * float(np.mean(truths)), 4), over

    return share


def _draws(used: Sequence[Mapping[str, Any]], results: Results) -> dict[str, Any]:
    """Resampled accuracies in percent by address; rows of one data set share every draw, and each
    data set has its own stream of the seed."""
    draws: dict[str, Any] = {}
    trained = {cell["cell_id"]: _of_training(cell, results) for cell in used}
    datasets = sorted({cell["lineage"]["dataset"] or "" for cell in used})
    for stream, dataset in enumerate(datasets):
        scored = {}
        for cell in used:
            about = cell["lineage"]
            outcome = results.outcomes.get((about["run"] or "", about["protocol"] or ""))
            if outcome is not None and (about["dataset"] or "") == dataset:
                scored[cell["cell_id"]] = outcome, about["metric"]
        right, clusters = compare(scored)
        if right:
            videos = np.stack(list(right.values()), axis=1).astype(float)
            means = 100.0 * resampled_means(videos, clusters, stream=stream)
            means += np.stack([trained[address] for address in right], axis=1)
            draws |= dict(zip(right, means.T, strict=True))
    return draws


def _of_training(cell: Mapping[str, Any], results: Results) -> Floats:
    """(B,) by how many points further trainings of the row behind a cell would differ.

    Cells of one run under one protocol share their draws, whatever the sentence."""
    about = cell["lineage"]
    spread = results.spread(about)
    if spread is None:
        return np.zeros(N_RESAMPLES)
    stream = [SEED, *f"{about['run']} {about['protocol']} {about['metric']}".encode()]
    return spread.sd_pct * np.random.default_rng(stream).standard_t(spread.df, N_RESAMPLES)
