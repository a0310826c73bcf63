from __future__ import annotations

from stages.bench import training_speed


def test_a_step_is_measured_in_every_way() -> None:
    setting = training_speed.Setting(threads=1, batch=(2,), rounds=1, side=36, width=4)
    report = training_speed.run(setting, lambda line: None)
    assert [row["way"] for row in report.rows] == [
        "tsn, float32",
        training_speed.WHOLE,
        "tdn, two micro-batches",
        "tdn, recompute",
        "tdn, bfloat16",
    ]
    assert all(row["clips per s"] > 0 for row in report.rows)
