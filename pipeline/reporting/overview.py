"""The report's first screen: the headline comparison, and what the data decide."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.reporting.anchors import anchor
from pipeline.reporting.report_view import axis
from pipeline.schema.status import FAILED, USABLE

SHOWN = 5
"""Sentences listed of each kind; the others stand further down."""
DECIDED = {
    "agrees": "as in the paper",
    "contradicts": "the reverse of the paper",
    "supported": "a difference that the data decide",
}


def headline(
    tables: Iterable[Mapping[str, Any]], cells: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The rows that a table's layout names as `headline`, in the first column that is ordered.

    Their means over trainings where those are known (`of_trainings` says of how many), else this
    run's numbers. None where no table names any or fewer than two of them are measured here.
    `answer` compares the last row with the first; it is '' where the two were not tested on the
    same videos.
    """
    for table in tables:
        table_id = f"{table['document']}/{table['table']}"
        names = {row["row"]: _short(row["label"]) for row in table["rows"]}
        for ordering in table["orderings"]:
            places = {key: f"{table_id}/{key}/{ordering['column']}" for key in table["headline"]}
            keys = [key for key, place in places.items() if _measured(cells.get(place))]
            if len(keys) > 1:
                return _compared(table, ordering, keys, names, cells)
    return None


def _measured(cell: Mapping[str, Any] | None) -> bool:
    return cell is not None and cell["measured"] is not None and cell["status"] != "partial"


def _compared(
    table: Mapping[str, Any],
    ordering: Mapping[str, Any],
    keys: Sequence[str],
    names: Mapping[str, str],
    cells: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    table_id, column = f"{table['document']}/{table['table']}", ordering["column"]
    found = {key: cells[f"{table_id}/{key}/{column}"] for key in keys}
    first, last = table["headline"][0], table["headline"][-1]
    pairs, means, of_trainings = ordering["pairs"], means_of(table, column), ""
    known = {} if means is None else {row["row"]: row for row in means["rows"]}
    if means is not None and known.keys() >= found.keys():
        of_trainings = means["of_trainings"]
        found = {key: {**cell, **_mean(known[key])} for key, cell in found.items()}
        both = f"videos and {of_trainings} trainings of each"
        pairs = [{**pair, "over": both} for pair in means["pairs"]]
    over = {cell["interval_over"] for cell in found.values()}
    return {
        "table_id": table_id,
        "link": anchor(table["document"], table["table"]),
        "caption": table["caption"].rstrip("."),
        "column": next(about for about in table["columns"] if about["key"] == column),
        "rows": [{"label": names[key], "cell": cell} for key, cell in found.items()],
        "scale": axis(cell[end] for cell in found.values() for end in ("ci_low", "ci_high")),
        "answer": _answer(pairs, first, last, names),
        "trainings": over == {"videos and trainings"},
        "of_trainings": of_trainings,
    }


def means_of(table: Mapping[str, Any], column: str) -> Mapping[str, Any] | None:
    """A column's order by means over trainings; None where too few are known."""
    return next((means for means in table["means"] if means["column"] == column), None)


def _mean(known: Mapping[str, Any]) -> dict[str, Any]:
    over = {"interval_over": "videos and trainings"}
    return {
        "measured": known["mean"],
        "ci_low": known["ci_low"],
        "ci_high": known["ci_high"],
        **over,
    }


def _short(label: str) -> str:
    """A row's printed label without its reference: `TSN (Wang et al., 2016)` is `TSN`."""
    return re.sub(r" \([^)]*\)$", "", label)


def _answer(
    pairs: Sequence[Mapping[str, Any]], first: str, last: str, names: Mapping[str, str]
) -> str:
    """How far `last` is from `first`, how sure that is, and what it says of the printed order."""
    for pair in pairs:
        if {pair["first"], pair["second"]} == {first, last}:
            sign = 1 if pair["first"] == last else -1
            ends = sorted(sign * pair[end] for end in ("ci_low", "ci_high"))
            difference = sign * pair["measured_difference"]
            far = f"{abs(difference):.1f} points {'above' if difference > 0 else 'below'}"
            sure = DECIDED.get(pair["verdict"], "not decided by these videos")
            low, high = (f"{end:+.1f}".replace("-", "−") for end in ends)
            return (
                f"{names[last]} is {far} {names[first]} (95 % interval {low} to {high}, "
                f"over {pair['over']}): {sure}."
            )
    return ""


def orders(tables: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each ordered column with tested pairs: how many are as printed, reversed and undecided, by
    means over trainings where those are known.

    Of the same rows under two documents the first is kept; shares are in percent of the pairs.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for table in tables:
        labels = {column["key"]: column["label"] for column in table["columns"]}
        for ordering in table["orderings"]:
            means = means_of(table, ordering["column"]) or ordering
            pairs = [pair for pair in means["pairs"] if pair["verdict"] != "supported"]
            counts = {
                verdict: sum(pair["verdict"] == verdict for pair in pairs)
                for verdict in ("agrees", "contradicts", "undecided")
            }
            if pairs:
                same = (ordering["column"], *ordering["rows"], *map(str, counts.values()))
                line = {
                    "name": f"{table['document']} {table['table']}",
                    "caption": table["caption"].rstrip("."),
                    "column": labels[ordering["column"]],
                    "link": anchor(table["document"], table["table"]),
                    "tau": means["tau"],
                    "tau_ends": (means.get("tau_low"), means.get("tau_high")),
                    "of_trainings": means.get("of_trainings", ""),
                    "alone": all(pair.get("over") == "videos" for pair in pairs),
                    "rows": len(ordering["rows"]),
                    "counts": counts,
                    "shares": {v: round(100 * n / len(pairs), 2) for v, n in counts.items()},
                }
                found.setdefault(same, line)
    return list(found.values())


def sentences(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The sentences that our own numbers confirm, contradict and leave open, a few of each."""
    kinds = {"holds": "What holds", "fails": "What does not", "undecided": "What nothing decides"}
    found = {}
    for ours, title in kinds.items():
        own = [v for v in verdicts if v["ours"] == ours and v["ours_rule"]]
        # One sentence of each document in turn: none fills the list alone.
        ranks: dict[str, int] = {}
        ranked = []
        for verdict in own:
            ranks[verdict["document"]] = ranks.get(verdict["document"], 0) + 1
            ranked.append((ranks[verdict["document"]], verdict))
        chosen = [verdict for _, verdict in sorted(ranked, key=lambda item: item[0])]
        found[ours] = {"title": title, "count": len(own), "shown": chosen[:SHOWN]}
    return found


def data_counts(datasets: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Videos of all data sets, each once however many splits it is in: wanted, decoded (those in
    part included), failed, partial."""
    counts: Counter[str] = Counter()
    for dataset in datasets:
        counts.update(dataset["counts"]["by_status"])
    usable, failed = (sum(counts[name] for name in names) for names in (USABLE, FAILED))
    return {
        "wanted": usable + failed,
        "usable": usable,
        "failed": failed,
        "partial": counts["partial"],
    }
