"""`tdn audit` in an interpreter of its own, so that what is audited cannot change the auditor.

This file is run as a program, in isolated mode and without `site`: no variable of the environment,
no current folder, no `sitecustomize` or `.pth` file adds code, and no byte code of ours is read or
written. Our modules come from the sources beside this file; everybody else's from the packages of
the interpreter in use, which are taken as they are.

    python -I -S -B stages/cli/isolated.py PACKAGES audit --level 2
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("pipeline", "stages", "tdn_model")


class _FromSource(SourceFileLoader):
    """Compiles a module each time: byte code that lies about may be another source's."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _Ours(MetaPathFinder):
    """Finds our packages below `_ROOT`, whatever else the path holds under their names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _OURS:
            return None
        for folder in path or [str(_ROOT)]:
            spec = FileFinder(folder, (_FromSource, [".py"])).find_spec(fullname)
            if spec is not None:
                return spec
        return None


def restart() -> None:
    """Go on with this command line in an isolated interpreter, unless this is one."""
    if sys.flags.isolated and sys.flags.no_site:
        return
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    words = ["-I", "-S", "-B", __file__, os.pathsep.join(packages), *sys.argv[1:]]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words])


if __name__ in ("__main__", "__mp_main__"):  # the second: a process that this one starts
    sys.meta_path.insert(0, _Ours())

if __name__ == "__main__":
    sys.path += sys.argv.pop(1).split(os.pathsep)
    sys.path[:] = [path for path in sys.path if path]
    from stages.cli.main import main

    main()
