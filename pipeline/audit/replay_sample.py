"""Which test videos of a row are replayed, and how likely a forgery is to be missed by them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import ceil, comb

from pipeline.audit.context import Context
from pipeline.core.errors import UsageError
from pipeline.lineage.evidence import Run
from pipeline.schema.plan_models import PredictPlan, parse_plan
from pipeline.scores import predictions
from pipeline.store.index import FrameIndex, read_index

FORGED = (1, 5, 20)
"""Sizes of forgeries whose chance to be missed is told."""


@dataclass(frozen=True)
class Sample:
    """How many of a row's test videos are replayed: a count, or a share of them."""

    count: int = 4
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> Sample:
        """'4' or '5%'; UsageError for anything else."""
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if 0 < share <= 1:
                    return cls(share=share)
            elif int(text) > 0:
                return cls(int(text))
        except ValueError:
            pass
        raise UsageError(
            f"'{text}' is no sample", do="give a number of videos (`--sample 8`) or a share (5%)"
        )

    def of(self, total: int) -> int:
        """How many of `total` videos."""
        return min(total, self.count if self.share is None else ceil(self.share * total))


@dataclass(frozen=True)
class Row:
    """A row that can be replayed here: its run, plan and store, and the videos drawn for it."""

    run: Run
    plan: PredictPlan
    index: FrameIndex
    videos: frozenset[str]
    total: int
    missed: tuple[float, ...]
    """How likely a forgery of each size of `FORGED` has none of its videos in the sample."""


def draw(context: Context, run: Run, sample: Sample, seed: int) -> Row:
    """The videos of a row's split that are replayed, without replacement, stratum by stratum."""
    plan = parse_plan("predict", context.params(run), where=run.path)
    assert isinstance(plan, PredictPlan)
    store = context.work.store(plan.data.name, plan.data.input)
    index = read_index(store)
    strata: dict[str, list[str]] = {}
    right = _answers(context, plan)
    for video in index.split(plan.split):
        answer = right.get(video.video_id, "not among the predictions")
        strata.setdefault(answer if video.usable else "failed", []).append(video.video_id)
    total = sum(map(len, strata.values()))
    chance = random.Random(f"{seed} {run.name}")
    drawn: set[str] = set()
    missed = [0.0] * len(FORGED)
    for _, videos in sorted(strata.items()):
        few = min(len(videos), max(1, round(sample.of(total) * len(videos) / total)))
        drawn.update(chance.sample(sorted(videos), few))
        # The forger chooses the stratum: what is told is the largest of their chances.
        missed = [max(m, miss(len(videos), few, k)) for m, k in zip(missed, FORGED, strict=True)]
    return Row(run, plan, index, frozenset(drawn), total, tuple(missed))


def miss(total: int, drawn: int, forged: int) -> float:
    """The chance that `drawn` of `total` videos have none of `forged` among them (hypergeometric);
    0 where there are not that many to forge."""
    return comb(total - forged, drawn) / comb(total, drawn) if forged <= total else 0.0


def _answers(context: Context, plan: PredictPlan) -> dict[str, str]:
    """'right' or 'wrong' for each scored video under the row's first protocol."""
    first = next(iter(plan.protocols))
    found = predictions.read(context.work.run(plan.row) / "predict" / f"{first}.parquet")
    answers = found.logits.argmax(axis=1).tolist()
    ids = zip(found.video_ids, found.labels, answers, strict=True)
    return {video: "right" if answer in labels else "wrong" for video, labels, answer in ids}
