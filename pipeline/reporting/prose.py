"""Claims made in sentences: which hold in the paper's own numbers, and which in ours.

A sentence's `rule` is evaluated on the printed numbers and its `ours` on measured ones. Measured
accuracies carry noise, so an ordering of ours counts as holding (failing) when it does in at least
97.5 % (at most 2.5 %) of bootstrap draws over videos; between, the data leave it undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.manifest_claims import Claim, ProseClaim
from pipeline.reporting.cells import Cell
from pipeline.reporting.results import Results
from pipeline.reporting.rules import Rule, parse
from pipeline.statistics import resampled_means

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
SURE = 0.975


@dataclass(frozen=True)
class Verdict:
    """What became of one sentence; `paper` and `ours` are holds, fails or undecided."""

    prose_id: str
    document: str
    place: str
    kind: str
    sentence: str
    rule: str
    paper: str
    paper_reason: str
    ours_rule: str
    ours: str
    ours_reason: str
    smoke: bool
    cells: tuple[str, ...]
    note: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_prose(
    prose: Mapping[str, ProseClaim],
    claims: Mapping[str, Claim],
    cells: Mapping[str, Cell],
    results: Results,
) -> tuple[Verdict, ...]:
    """A verdict for every sentence, none where no printed table is shown.

    Raises ManifestError for a rule that names no cell.
    """
    if not any(cell.claim_id for cell in cells.values()):
        return ()
    addresses = tuple(claims)
    return tuple(_judge(claim, addresses, claims, cells, results) for claim in prose.values())


def check_rules(prose: Mapping[str, ProseClaim], claims: Mapping[str, Claim]) -> None:
    """Raise ManifestError for the first rule that does not parse or names an unknown cell."""
    for claim in prose.values():
        for text in (claim.rule, claim.ours):
            if text:
                _parse(claim, text, tuple(claims))


def _parse(claim: ProseClaim, text: str, addresses: tuple[str, ...]) -> Rule:
    where = f"manifests/prose_claims.csv, {claim.prose_id}"
    return parse(text, claim.document, addresses, where=where)


def _judge(
    claim: ProseClaim,
    addresses: tuple[str, ...],
    claims: Mapping[str, Claim],
    cells: Mapping[str, Cell],
    results: Results,
) -> Verdict:
    paper, paper_reason = UNDECIDED, "no printed number decides it"
    named: tuple[str, ...] = ()
    if claim.rule:
        rule = _parse(claim, claim.rule, addresses)
        named = tuple(rule.cells())
        truth = bool(rule.evaluate(lambda address: claims[address].number))
        paper, paper_reason = (HOLDS if truth else FAILS), _shown(named, claims)
    ours, ours_reason, smoke = UNDECIDED, "no measurement of this project decides it", False
    if claim.ours:
        ours, ours_reason, smoke = _ours(_parse(claim, claim.ours, addresses), cells, results)
    return Verdict(
        prose_id=claim.prose_id,
        document=claim.document,
        place=claim.place,
        kind=claim.kind,
        sentence=claim.sentence,
        rule=claim.rule,
        paper=paper,
        paper_reason=paper_reason,
        ours_rule=claim.ours,
        ours=ours,
        ours_reason=ours_reason,
        smoke=smoke,
        cells=named,
        note=claim.note,
    )


def _shown(addresses: Sequence[str], claims: Mapping[str, Claim]) -> str:
    """The printed numbers a rule read, shortened when there are many."""
    texts = [f"{a.partition('/')[2]} {claims[a].value}" for a in addresses]
    more = f" and {len(texts) - 4} more" if len(texts) > 4 else ""
    return ", ".join(texts[:4]) + more


def _ours(rule: Rule, cells: Mapping[str, Cell], results: Results) -> tuple[str, str, bool]:
    named = rule.cells()
    missing = [a for a in named if a not in cells or cells[a].measured is None]
    if missing:
        return UNDECIDED, f"not measured: {missing[0].partition('/')[2]}", False
    used = [cells[address] for address in named]
    point = bool(rule.evaluate(lambda address: cells[address].measured))
    draws = _draws(used, results)
    smoke = any(cell.smoke for cell in used)

    def draw(address: str) -> Any:
        return draws.get(address, cells[address].measured)

    truths = np.atleast_1d(np.asarray(rule.evaluate(draw), dtype=np.float64))
    share = float(truths.mean())
    if len(truths) == 1:
        return (HOLDS if point else FAILS), "counted, not sampled", smoke
    reason = f"true in {100 * share:.0f} % of draws"
    if share >= SURE:
        return HOLDS, reason, smoke
    return (FAILS if share <= 1 - SURE else UNDECIDED), reason, smoke


def _draws(used: Sequence[Cell], results: Results) -> dict[str, Any]:
    """Resampled accuracies in percent by address; rows of one data set share every draw."""
    found: dict[str, Any] = {}
    datasets = sorted({cell.lineage.dataset or "" for cell in used})
    for number, dataset in enumerate(datasets):
        group = {}
        for cell in used:
            outcome = results.outcomes.get((cell.lineage.run or "", cell.lineage.protocol or ""))
            if outcome is None or (cell.lineage.dataset or "") != dataset:
                continue
            correct = {"top1_pct": outcome.correct1, "top5_pct": outcome.correct5}
            if cell.lineage.metric in correct:
                right = correct[cell.lineage.metric]
                group[cell.cell_id] = dict(zip(outcome.video_ids, right.tolist(), strict=True))
        if not group:
            continue
        common = sorted(set.intersection(*(set(right) for right in group.values())))
        if not common:
            continue
        matrix = np.array([[right[v] for right in group.values()] for v in common], dtype=float)
        means = 100.0 * resampled_means(matrix, seed=number)
        found |= {address: means[:, i] for i, address in enumerate(group)}
    return found
