"""YAML that the audit reads: a lock of thousands of lines, two versions of a manifest."""

from __future__ import annotations

from typing import Any

import yaml

_NESTING = (b"[[", b"{{", b"[\n", b"{\n", b"- - -")
_LONGEST_LINE = 4096


class _QuickLoader(yaml.CSafeLoader):
    """libyaml: ten times as quick; dies of endless nesting. Refuses a key that is there twice."""


def _mapping(loader: _QuickLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    pairs = loader.construct_pairs(node, deep=True)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise yaml.constructor.ConstructorError(None, None, "a key is written twice")
    return found


_QuickLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse_lock(text: bytes) -> Any:
    """The value of a dvc.lock, thousands of lines; ValueError for what DVC would not write."""
    if any(mark in text for mark in _NESTING) or max(map(len, text.split(b"\n"))) > _LONGEST_LINE:
        raise ValueError("DVC does not write such lines")
    try:
        return yaml.load(text, _QuickLoader)
    except yaml.YAMLError as error:
        raise ValueError((str(error).splitlines() or [repr(error)])[0]) from None


def same_yaml(first: bytes, second: bytes) -> bool:
    """Whether two texts say the same: comments, order of keys and layout do not count."""
    try:
        return bool(yaml.safe_load(first) == yaml.safe_load(second))
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
