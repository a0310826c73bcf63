"""The networks: tensors in, tensors out; no files, nothing printed.

`build` makes a network by name; `import_official` and `export_official` read and write the state
dicts of the authors' published checkpoints. Those two are imported on first use, so that no
network's code digest contains them. `tdn_model.build` is the function: import other names of that
module with `from tdn_model.build import MODELS`.
"""

from __future__ import annotations

import importlib
from typing import Any

from tdn_model.build import build

__all__ = ["build", "export_official", "import_official"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.published"), name)
