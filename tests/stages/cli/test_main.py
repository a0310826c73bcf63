"""What a user sees who mistypes: one message, exit 2, nothing written."""

from __future__ import annotations

import errno
import getpass
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.schema.experiments import load_experiments
from pipeline.schema.profiles import load_profile
from stages.cli.main import CRASH_EXIT, Stopped, app, give_home, main
from tests.checkout import ROOT, Checkout, copy_to


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return copy_to(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize("home", [None, "", "relative", "/dev/null", "/proc/nothing"])
@pytest.mark.parametrize("named", [True, False])
def test_a_home_and_a_name_are_given_where_libraries_find_none(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, home: str | None, named: bool
) -> None:
    """DVC stops for a user of a container, who has no entry in passwd."""
    monkeypatch.chdir(checkout.root)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "x")  # put back after the test
        monkeypatch.delenv(name)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    if not named:
        monkeypatch.setattr("pwd.getpwuid", lambda _: {}["no such user"])
    give_home()
    assert Path.home().is_dir() and getpass.getuser()
    if not named:
        assert Path.home() == checkout.root / ".tdn/home"
        assert getpass.getuser() == str(os.getuid())
    assert sorted(path.name for path in checkout.root.glob("rel*")) == []


def test_a_home_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    give_home()
    assert Path.home() == tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tdn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command below a folder in this process: exit code, output, errors."""

    def run(folder: Path, *words: str) -> tuple[int, str, str]:
        monkeypatch.delenv("TDN_PROFILE", raising=False)
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", ["tdn", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


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
def test_a_mistake_is_one_message(
    checkout: Checkout, tdn: Run, words: tuple[str, ...], hint: str
) -> None:
    code, _, errors = tdn(checkout.root, *words)
    assert code == 2, errors
    assert hint in errors
    assert "Traceback" not in errors
    assert str(checkout.root) not in errors
    made = [place for place in checkout.files() if place.startswith(("runs/", "reports/"))]
    assert made == []


def test_a_broken_manifest_stops_before_anything_is_written(tmp_path: Path, tdn: Run) -> None:
    checkout = copy_to(tmp_path)
    checkout.edit("manifests/experiments.yaml", "segments: 8", "segments: eight")
    before = checkout.files()
    code, _, errors = tdn(checkout.root, "train", "tsn_r50_8f_ssv1")
    assert code == 2
    assert "experiments.tdn_r50_8f_ssv1.segments" in errors
    assert "manifests/experiments.yaml" in errors
    assert checkout.files() == before


def test_outside_a_checkout_says_so(tmp_path: Path, tdn: Run) -> None:
    (tmp_path / "manifests").mkdir()
    code, _, errors = tdn(tmp_path, "plan")
    assert code == 2
    assert "not inside a tdn-bench checkout" in errors


def test_a_checkpoint_that_would_run_code_is_refused(checkout: Checkout, tdn: Run) -> None:
    import pickle

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("this ran",))

    file = checkout.root / "hostile.pth.tar"
    file.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    code, output, errors = tdn(
        checkout.root,
        *("import-checkpoint", str(file), "--architecture", "tdn", "--out", "weights.pt"),
    )
    assert code == 2, errors
    assert "this ran" not in output + errors
    assert "Traceback" not in errors
    assert not (checkout.root / "weights.pt").exists()


def test_training_from_scratch_needs_no_step_before_it_and_advice_names_the_profile(
    tmp_path: Path, tdn: Run
) -> None:
    checkout = copy_to(tmp_path)
    manifests = checkout.root / "manifests"
    rows = load_experiments(manifests, load_profile(manifests, "local"))
    row = next(key for key, row in rows.items() if row.start == "scratch")
    code, _, errors = tdn(checkout.root, "train", row, "--profile", "local")
    assert code == 2
    assert "pretrain scratch" not in errors
    commands = re.findall(r"`(tdn [^`]+)`", errors)
    assert commands and all(command.endswith("--profile local") for command in commands)


def crash(monkeypatch: pytest.MonkeyPatch, error: Exception) -> int:
    """The exit code of a command that raises `error`."""

    def fail(profile: str) -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["tdn", "profile", "use", "mini"])
    monkeypatch.setattr("stages.cli.result_commands.workspace", fail)
    with pytest.raises(SystemExit) as caught:
        main()
    return int(str(caught.value.code))


def test_a_mistake_of_ours_names_a_file_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert crash(monkeypatch, KeyError("segments")) == CRASH_EXIT
    message = capsys.readouterr().err
    (report,) = (tmp_path / ".tdn").glob("crash-*.txt")
    assert f".tdn/{report.name}" in message and "report it" in message
    assert "KeyError: 'segments'" in message and "Traceback" not in message
    text = report.read_text("utf-8")
    assert text.startswith("tdn profile use mini\n") and "Traceback" in text


def test_outside_a_checkout_the_traceback_goes_to_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert crash(monkeypatch, ValueError("odd")) == CRASH_EXIT
    (report,) = (tmp_path / "temporary").glob("tdn-crash-*.txt")
    assert str(report) in capsys.readouterr().err


def test_without_a_folder_for_the_traceback_its_last_lines_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nothing"))
    assert crash(monkeypatch, ValueError("odd")) == CRASH_EXIT
    message = capsys.readouterr().err
    assert "ValueError: odd\n" in message and "raise error" in message
    assert "Traceback" not in message


def test_a_stop_that_compiled_code_wraps_is_still_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = SystemError("<cyfunction CoreWorker.wait> returned a result with an exception set")
    wrapped.__cause__ = SystemError("<class Stopped> returned a result with an exception set")
    wrapped.__cause__.__cause__ = Stopped()
    assert crash(monkeypatch, wrapped) == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/weights.pt"), "free some space"),
        (OSError(errno.EFBIG, "File too large", "/a/weights.pt"), "ulimit -f"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/weights.pt"), "rights"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "/a/weights.pt"),
            "report this with .tdn/",
        ),
        (MemoryError(), "too little memory"),
    ],
)
def test_what_the_system_refuses_comes_with_a_remedy(
    error: Exception,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert crash(monkeypatch, error) == 1
    message = capsys.readouterr().err
    assert words in message and "do:" in message and "Traceback" not in message
    assert "/a/" not in message
    assert isinstance(error, MemoryError) or "weights.pt" in message


def test_help_groups_the_commands_and_names_the_profiles_that_there_are() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    headings = [line for line in text.splitlines() if re.fullmatch(r"\w[\w ]*:", line)]
    assert headings[1:] == ["Results:", "Data sets:", "Rows and networks:", "Checks:"]
    train = CliRunner().invoke(app, ["train", "--help"]).output
    for path in (ROOT / "manifests" / "profiles").glob("*.yaml"):
        assert path.stem in train


def test_a_row_is_shown_with_where_its_values_come_from(checkout: Checkout) -> None:
    done = checkout.run("rows", "tdn_r50_8f_ssv1_printed", "--profile", "mini")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["options.variant", "printed", "own", "line"] in lines
    assert ["segments", "8", "base", "_ssv1"] in lines
