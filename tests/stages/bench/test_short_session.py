"""Many short measurements in little time: what breaks or takes long holds up nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from stages.bench import short_session
from stages.bench.short_session import Step, run_steps, steps


def step(name: str, code: str, limit_s: float = 30) -> Step:
    return Step(name, (sys.executable, "-c", code), limit_s)


def test_a_step_that_fails_or_hangs_is_told_and_the_next_one_runs() -> None:
    todo = [
        step("broken", "raise SystemExit(3)"),
        step("slow", "import time; time.sleep(60)", limit_s=0.5),
        step("good", "pass"),
    ]
    lines: list[str] = []
    found = run_steps(todo, 60, lines.append)
    assert [one.ended for one in found] == ["failed (3)", "stopped", "ok"]
    assert found[1].seconds < 20 and any("slow: stopped" in line for line in lines)


def test_what_a_stopped_step_started_goes_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    run_steps([step("parent", code, limit_s=3)], 60, lambda line: None)
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    assert child.status() == psutil.STATUS_ZOMBIE or not child.is_running()


def test_nothing_is_begun_that_cannot_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_session, "LEAST_S", 100.0)
    found = run_steps([step("late", "raise SystemExit(1)")], 60, lambda line: None)
    assert [one.ended for one in found] == ["not begun"]


def test_measurements_come_first_and_rows_have_all_their_stages() -> None:
    found = steps("cuda", ["tsn_r50_8f_ssv1"], ["--out", "there"])
    names = [one.name for one in found]
    assert names[0] == "bench accelerator"
    assert names.index("pretrain images_resnet50") < names.index("train tsn_r50_8f_ssv1")
    assert {f"{stage} tsn_r50_8f_ssv1" for stage in ("train", "predict", "score")} <= set(names)
    benches = [one for one in found if one.name.startswith("bench")]
    assert all(one.command[-4:] == ("--device", "cuda", "--out", "there") for one in benches)
