"""The graph of chains: which stages belong together, and which chains wait for which.

A chain is all stages of one data set, start or row, in order; the costs; or the report with the
tables and figures. Two chains that do not wait for each other can run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace, manifests_of
from pipeline.lineage.resolve_plans import ALL
from pipeline.schema.base import nearest
from pipeline.schema.experiments import load_experiments, starts
from pipeline.schema.profiles import load_profile
from pipeline.schema.table_layouts import load_combinations, load_layouts

COSTS, REPORT = "costs", "report"
"""The chains that exist once per profile, and need no more than a core."""
_DATA_STAGES = ("mini", "check", "decode", "flow")
_ROW_STAGES = ("train", "predict", "score")

StageKey = tuple[str, str]
"""A stage and its key."""


@dataclass(frozen=True)
class Chain:
    """Stages of one key, in order, and the chains that come before."""

    title: str
    group: str
    """Under which its time is counted."""
    stages: tuple[StageKey, ...]
    after: frozenset[str] = frozenset()
    computes: bool = False
    """Whether it uses an accelerator where the profile has one."""

    @property
    def addresses(self) -> frozenset[str]:
        """Its stages as DVC names them within their graph."""
        return frozenset(map(address, self.stages))


def address(stage: StageKey) -> str:
    """A stage and key as DVC names it within its graph."""
    name, key = stage
    return name if key == ALL else f"{name}@{key}"


def every_chain(work: Workspace) -> dict[str, Chain]:
    """All chains of the profile by name, each after those that it waits for."""
    profile = load_profile(work.manifests, work.profile)
    rows = load_experiments(work.manifests, profile)
    found: dict[str, Chain] = {}
    for name in profile.datasets:
        kinds: tuple[str, ...] = _DATA_STAGES if name in profile.flow else _DATA_STAGES[:-1]
        kinds = kinds if profile.generated else kinds[1:]
        stages = tuple((kind, name) for kind in kinds)
        found[_data(name)] = Chain(f"data {name}", "data sets", stages)
    for name in starts(rows):
        stages = (("pretrain", name),)
        found[name] = Chain(f"start {name}", "starts", stages, computes=True)
    for key, row in rows.items():
        stages = tuple((kind, key) for kind in _ROW_STAGES)
        after = frozenset({_data(row.dataset), row.begins})
        found[key] = Chain(f"row {key}", f"rows on {row.dataset}", stages, after, computes=True)
    found[COSTS] = Chain(COSTS, COSTS, (("cost", ALL),))
    last = tuple((kind, ALL) for kind in ("tables", "figures", "report"))
    found[REPORT] = Chain("tables, figures, report", REPORT, last, frozenset(found))
    order = TopologicalSorter({name: chain.after for name, chain in found.items()})
    return {name: found[name] for name in order.static_order()}


def affected(chains: Mapping[str, Chain], changed: Iterable[str]) -> dict[str, Chain]:
    """The chains that hold a stage of `changed` (addresses), and all that wait for one of them."""
    names = set(changed)
    found: dict[str, Chain] = {}
    for name, chain in chains.items():
        if names & chain.addresses or found.keys() & chain.after:
            found[name] = chain
    return found


def behind(chains: Mapping[str, Chain], wanted: Iterable[str]) -> dict[str, Chain]:
    """The chains called `wanted` and all that they wait for."""
    names: set[str] = set()
    todo = list(wanted)
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo += chains[name].after
    return {name: chain for name, chain in chains.items() if name in names}


def resolve_targets(work: Workspace, chains: Mapping[str, Chain], targets: list[str]) -> set[str]:
    """The chains that a user's targets name: rows, starts, data sets, tables.

    A table is "document/table", or "table" where one document only has it; it stands for its rows
    of this profile, those behind combinations too. UsageError, naming the nearest, for anything
    else.
    """
    tables = _tables(work, chains)
    found: set[str] = set()
    for target in targets:
        fitting = [name for name in tables if name.partition("/")[2] == target]
        if target in chains:
            found.add(target)
        elif _data(target) in chains:
            found.add(_data(target))
        elif target in tables or len(fitting) == 1:
            table = target if target in tables else fitting[0]
            if not tables[table]:
                raise UsageError(
                    f"table {table} has no row in profile {work.profile}",
                    do=f"name another profile, or run `tdn repro --profile {work.profile}`",
                )
            found |= tables[table]
        elif fitting:
            raise UsageError(
                f"{len(fitting)} documents have a table '{target}'",
                do=f"name one: {', '.join(fitting)}",
            )
        else:
            names = [name.removeprefix(_data("")) for name in chains]
            known = [*names, *tables, *(name.partition("/")[2] for name in tables)]
            raise UsageError(
                f"profile {work.profile} has no row, data set or table '{target}'",
                do=nearest(target, known),
            )
    return found


def _tables(work: Workspace, chains: Mapping[str, Chain]) -> dict[str, set[str]]:
    """The rows of this profile that each table shows."""
    manifests = manifests_of(work.manifests, work.profile)
    combinations = load_combinations(manifests / "combinations.yaml")
    found: dict[str, set[str]] = {}
    for layout in load_layouts(manifests / "tables"):
        todo = [run for row in layout.rows.values() for run in row.named_runs]
        rows = found[layout.table_id] = set()
        while todo:
            run = todo.pop()
            if run in combinations:
                todo += combinations[run].members
            elif run in chains:
                rows.add(run)
    return found


def _data(name: str) -> str:
    """The chain of a data set: rows may have the same name."""
    return f"data.{name}"
