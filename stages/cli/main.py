"""The `tdn` command line: parse, call one function, print errors as sentences."""

from __future__ import annotations

import io
import os
import pwd
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from pipeline.core.errors import TdnError, UsageError, disk_full, is_disk_full
from pipeline.core.workspace import find_root
from stages.cli import (
    bench_commands,
    check_commands,
    compare_command,
    data_commands,
    isolated,
    result_commands,
    row_commands,
    verdict_commands,
    watch_command,
)
from stages.cli.options import with_profile

CRASH_EXIT = 70
"""The exit code of a mistake of ours (EX_SOFTWARE of sysexits.h)."""


class Grouped(TyperGroup):
    """A command line whose help lists commands under the headings that they are added with."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        width = formatter.width - 6 - max(map(len, self.commands))
        for name, command in self.commands.items():
            heading = str(command.rich_help_panel)  # type: ignore[attr-defined]  # typer's commands have it
            panels.setdefault(heading, []).append((name, command.get_short_help_str(width)))
        for heading, lines in panels.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


app = typer.Typer(
    cls=Grouped,
    name="tdn",
    help="A reproducible benchmark of Temporal Difference Networks for video action recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)
for module in (
    result_commands,
    data_commands,
    row_commands,
    verdict_commands,
    watch_command,
    check_commands,
    compare_command,
    bench_commands,
):
    module.register(app)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; not a KeyboardInterrupt, which the parser would swallow."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


def main() -> None:
    """Run the command line. A TdnError becomes a message and its exit code; a mistake of ours
    becomes a message that names a file with the traceback, and CRASH_EXIT."""
    if sys.argv[1:2] == ["audit"]:
        isolated.restart()
    for stream in (sys.stdout, sys.stderr):
        # An ASCII terminal, or a name that is not UTF-8, must not stop a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    give_home()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except TdnError as error:
        _fail(error)
    except Stopped:
        _stopped()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        _fail(_of_the_system(error))
    except MemoryError:
        _fail(TdnError("this machine has too little memory", do="use fewer processes (--workers)"))
    except Exception as error:
        # Compiled code of Ray wraps what the handler raises in SystemErrors.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, Stopped):
            cause = cause.__cause__
        if cause is not None:
            _stopped()
        _crash()


def give_home() -> None:
    """Give libraries a home folder and a user's name where there are none: HOME is empty, relative
    or no folder, and this user (of a container, say) has no entry in passwd. The home is in the
    checkout's `.tdn`, or, outside, among the temporary files."""
    home = os.environ.get("HOME", "")
    if not (os.path.isabs(home) and os.path.isdir(home)):
        os.environ.pop("HOME", None)
    try:
        pwd.getpwuid(os.getuid())
        return
    except KeyError:
        os.environ.setdefault("LOGNAME", os.environ.get("USER") or str(os.getuid()))
    if "HOME" not in os.environ:
        with suppress(UsageError, OSError):
            own = find_root(Path.cwd()) / ".tdn" / "home"
            own.mkdir(parents=True, exist_ok=True)
            os.environ["HOME"] = str(own)
        os.environ.setdefault("HOME", tempfile.gettempdir())


def _stopped() -> None:
    print("stopped; run the same command again to go on", file=sys.stderr)
    raise SystemExit(130) from None


def _fail(error: TdnError) -> None:
    print(with_profile(f"{type(error).__name__}: {error}"), file=sys.stderr)
    # 1 is what an audit says of broken results.
    code = UsageError.exit_code if sys.argv[1:2] == ["audit"] else error.exit_code
    raise SystemExit(code) from None


def _of_the_system(error: OSError) -> TdnError:
    """What the system refused, as a sentence with a remedy."""
    where = Path(os.fsdecode(error.filename or "")).name
    if is_disk_full(error):
        return disk_full(where)
    do = "look at that file and the rights of its folder, then run the same command again"
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        do = f"if you did not remove or move it, report this with {_keep_traceback()}"
    return TdnError(error.strerror or str(error), where=where, do=do)


def _crash() -> None:
    """Say that a mistake of ours stopped the command, and where its traceback is."""
    kind, value, _ = sys.exc_info()
    text = (str(value).strip().splitlines() or [""])[0]
    print(
        f"tdn stopped at a mistake of its own, {kind.__name__ if kind else ''}: {text:.200}\n"
        f"  where: {_keep_traceback()}\n"
        "  do:    report it with that file; the same command goes on where this one stopped",
        file=sys.stderr,
    )
    raise SystemExit(CRASH_EXIT) from None


def _keep_traceback() -> str:
    """Write the traceback of the exception at hand to a file; the file's name for a message."""
    text = f"tdn {' '.join(sys.argv[1:])}\n\n{traceback.format_exc()}"
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder = find_root(Path.cwd()) / ".tdn"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8", "backslashreplace")
        return f".tdn/{name}"
    except (OSError, UsageError):
        pass
    try:
        path = Path(tempfile.gettempdir(), f"tdn-{name}")
        path.write_text(text, "utf-8", "backslashreplace")
        return str(path)
    except OSError:  # no folder can be written: the last lines are all that can be kept
        return " / ".join(line.strip() for line in text.strip().splitlines()[-3:])


if __name__ == "__main__":
    main()
