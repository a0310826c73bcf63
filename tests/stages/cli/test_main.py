"""What a user sees who mistypes: one message, exit 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkout import Checkout, copy_to


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return copy_to(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("train", "tsn_r50_8f_ssv3"), "did you mean 'tsn_r50_8f_ssv"),
        (("decode", "ssv3"), "did you mean 'ssv"),
        (("train", "../../etc"), "valid:"),
        (("train", "tsn_r50_8f_ssv1"), "`tdn mini ssv1`"),
        (("train", "tsn_r50_8f_ssv1", "--profile", "paper"), "in data/raw/ssv1/: unpack"),
        (("decode", "ssv1"), "`tdn check ssv1"),
        (("store", "get", "ssv3", "1"), "did you mean 'ssv"),
        (("store", "stat", "ssv1", "--profile", "../.."), "valid:"),
        (("train", "tsn_r50_8f_ssv1", "--profile", "papr"), "did you mean 'paper'?"),
        (("views", "--protocol", "center_1x", "--frames", "40"), "did you mean 'center_1x"),
        (("store", "stat", "ssv1"), "tdn check ssv1"),
    ],
)
def test_a_mistake_is_one_message(checkout: Checkout, words: tuple[str, ...], hint: str) -> None:
    done = checkout.run(*words)
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert str(checkout.root) not in done.stderr
    made = [place for place in checkout.files() if place.startswith(("runs/", "reports/"))]
    assert made == []


def test_a_broken_manifest_stops_before_anything_is_written(tmp_path: Path) -> None:
    checkout = copy_to(tmp_path)
    checkout.edit("manifests/experiments.yaml", "segments: 8", "segments: eight")
    before = checkout.files()
    done = checkout.run("train", "tsn_r50_8f_ssv1")
    assert done.returncode == 2
    assert "experiments.tdn_r50_8f_ssv1.segments" in done.stderr
    assert "manifests/experiments.yaml" in done.stderr
    assert checkout.files() == before


def test_outside_a_checkout_says_so(tmp_path: Path) -> None:
    checkout = copy_to(tmp_path)
    (checkout.root / "dvc.yaml").unlink()
    done = checkout.run("plan")
    assert done.returncode == 2
    assert "not inside a tdn-bench checkout" in done.stderr


def test_a_checkpoint_that_would_run_code_is_refused(checkout: Checkout) -> None:
    import pickle

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("this ran",))

    file = checkout.root / "hostile.pth.tar"
    file.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    done = checkout.run(
        "import-checkpoint", str(file), "--architecture", "tdn", "--out", "weights.pt"
    )
    assert done.returncode == 2, done.stderr
    assert "this ran" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout.root / "weights.pt").exists()
