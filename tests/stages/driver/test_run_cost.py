"""What a run at the papers' schedules costs, and that nobody starts hours of work unasked."""

from __future__ import annotations

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from stages.driver import repro, step_memory
from stages.driver.run_cost import ASSUMED_TFLOPS, run_cost
from tests.checkout import copy_to

TRAINED, IMPORTED = "tsn_r50_8f_ssv1", "tdn_r50_8f_ssv1_checkpoint"
KINETICS = "tdn_r50_8f_kinetics400"
ROWS = (TRAINED, IMPORTED, KINETICS)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = Workspace(copy_to(tmp_path_factory.mktemp("cost")).root, "paper")
    write_json(work.reports / "costs.json", {row: {"gmacs": 33.0} for row in ROWS})
    return work


def test_rows_whose_data_or_weights_are_not_here_cost_nothing_and_say_so(work: Workspace) -> None:
    cost = run_cost(work, ROWS, None)
    assert cost is not None and cost.total_h == 0 and not cost.to_be_asked
    assert cost.not_here == {
        "data/raw/ssv1": [TRAINED, IMPORTED],
        "data/raw/kinetics400": [KINETICS],
    }


def test_hours_follow_from_clips_operations_and_the_rate(work: Workspace) -> None:
    work.raw("ssv1", generated=False).mkdir(parents=True)
    cost = run_cost(work, ROWS, 50.0)
    assert cost is not None
    # 50 epochs of 86,016 clips, three forward passes each; 11,522 videos tested once.
    macs = 33e9 * (3 * 50 * 86_016 + 11_522)
    assert cost.hours == {"ssv1": [pytest.approx(2 * macs / 50e12 / 3600)]}
    assert cost.not_here["their file in data/weights"] == [IMPORTED]
    assumed = run_cost(work, ROWS, None)
    assert assumed is not None and assumed.total_h == pytest.approx(
        cost.total_h * 50 / ASSUMED_TFLOPS
    )
    shown = "\n".join(cost.lines())
    assert "1 rows would compute" in shown and "at 50 TFLOP/s (as given)" in shown
    assert "1 rows, data/raw/kinetics400 is not here" in shown


def test_the_device_memory_of_a_step_is_told_before_it_is_needed(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.raw("ssv1", generated=False).mkdir(parents=True, exist_ok=True)
    cost = run_cost(work, (TRAINED,), 50.0)
    assert cost is not None
    # 16 clips of 8 frames: TSN's maps are 0.64 GiB a clip; 24 million weights, three times.
    assert cost.step_gib == {TRAINED: (pytest.approx(16 * 0.64 + 0.26, rel=0.02), 16)}
    assert f"up to 11 GiB a step ({TRAINED}, 16 clips at once)" in "\n".join(cost.lines())
    monkeypatch.setattr(step_memory, "training_memory", None)
    again = run_cost(work, (TRAINED, TRAINED), 50.0)
    assert again is not None and again.step_gib == cost.step_gib, "counted once on a machine"
    cost.device_gib = 8.0
    assert "8 are here\n  1 rows need more than is here" in "\n".join(cost.lines())


def test_a_checkpoint_costs_its_test_and_unchecked_videos_are_unknown(work: Workspace) -> None:
    for name in ("ssv1", "kinetics400"):
        work.raw(name, generated=False).mkdir(parents=True, exist_ok=True)
    file = work.root / "data/weights/tdn_r50_8f_ssv1.pth.tar"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    cost = run_cost(work, (IMPORTED, KINETICS), 50.0)
    assert cost is not None
    assert cost.hours == {"ssv1": [pytest.approx(2 * 33e9 * 11_522 / 50e12 / 3600)]}
    assert cost.unknown == [KINETICS] and cost.to_be_asked
    splits = {name: {"listed": 900, "usable": 800} for name in ("train", "validate")}
    write_json(work.sources("kinetics400"), {"splits": splits})
    checked = run_cost(work, (KINETICS,), 50.0)
    assert checked is not None and checked.unknown == [] and checked.total_h > 0


def test_a_profile_with_schedules_of_its_own_is_not_asked_about(work: Workspace) -> None:
    assert run_cost(Workspace(work.root, "mini"), ROWS, None) is None


def test_hours_of_work_begin_with_a_yes_alone(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work.raw("ssv1", generated=False).mkdir(parents=True, exist_ok=True)
    done = {"cost"}
    monkeypatch.setattr(repro, "up_to_date", lambda work, name, key: name in done)
    asked: list[str] = []

    def agrees(question: str) -> bool:
        asked.append(question)
        return len(asked) > 1

    chosen = repro.Choice(1, False, [TRAINED], False, 1.0, agrees)
    todo = {TRAINED: repro.Chain("row", "rows", (("train", TRAINED), ("score", TRAINED)))}
    with pytest.raises(UsageError, match="not begun without a yes") as caught:
        repro._ask(work, todo, chosen)
    assert f"tdn repro {TRAINED} --yes" in caught.value.do
    repro._ask(work, todo, chosen)
    assert asked == [asked[0]] * 2 and "hours?" in asked[0]
    assert "at 1 TFLOP/s" in capsys.readouterr().err
    done.add("train")  # what is left to score costs no hours
    repro._ask(work, todo, chosen)
    assert len(asked) == 2


def test_a_subset_without_training_videos_trains_nothing(work: Workspace) -> None:
    work.raw("ssv1", generated=False).mkdir(parents=True, exist_ok=True)
    splits = {"train": {"usable": 0}, "validation": {"usable": 12}}
    write_json(work.sources("ssv1"), {"splits": splits})
    cost = run_cost(work, [TRAINED], 50.0)
    work.sources("ssv1").unlink()
    assert cost is not None and cost.hours == {}
    assert cost.not_here == {"a training video of ssv1": [TRAINED]}


def test_every_training_of_a_row_is_counted(work: Workspace) -> None:
    work.raw("ssv1", generated=False).mkdir(parents=True, exist_ok=True)
    path = work.manifests / "profiles" / "paper.yaml"
    one, text = run_cost(work, [TRAINED], 50.0), path.read_text("utf-8")
    path.write_text(text.replace("seeds: 1", "seeds: 3"), "utf-8")
    three = run_cost(work, [TRAINED], 50.0)
    path.write_text(text, "utf-8")
    assert one is not None and three is not None
    assert three.total_h == pytest.approx(3 * one.total_h)
