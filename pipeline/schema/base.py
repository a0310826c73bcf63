"""The only bridge from a YAML file to a checked value: unknown keys and wrong types are refused.

A message names the file, the key and, for a misspelt key, the nearest valid one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from pipeline.core.errors import ManifestError, TdnError, UsageError

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
"""Names of rows, data sets, protocols …: DVC reads a dot as a path and a dash as an option."""


class Strict(BaseModel):
    """A manifest section: immutable, unknown keys forbidden, no silent type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


M = TypeVar("M", bound=BaseModel)

DEEP = 4000
"""Levels that libyaml's stack surely holds: it ends the process where it does not."""
_OTHER_BASE = re.compile(r"[+-]?0[0-9xXbB][0-9a-fA-F_]*")
"""010 is eight in YAML, 0x10 sixteen, 0b10 two."""
_EXPONENT = re.compile(r"([+-]?)([0-9]*)\.?([0-9]*)[eE]([+-]?)([0-9]+)")


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice, which plain YAML resolves silently to the last one."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{key}' is written twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


class _PlainLoader(_Loader):
    """Refuses a value that is not what it looks like, and what YAML's constructors stumble over."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(node, yaml.ScalarNode):
                _refuse_disguise(node.value, value)
            return value
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"a value cannot be read: {error}", node.start_mark
            ) from None


def _refuse_disguise(text: str, value: Any) -> None:
    """Raise ValueError for text that no file can hold, and for a number that does not look it."""
    text.encode("utf-8")  # half a character ("\\ud800") raises a kind of ValueError
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    if isinstance(value, int | float) and (":" in text or _OTHER_BASE.fullmatch(text)):
        raise ValueError(
            f"YAML takes {text} for the number {value}: write {value}, or '{text}' for text"
        )


def read_yaml(path: Path) -> Any:
    """The plain value of a YAML file; a ManifestError when it is missing or not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = nearest(path.stem, [p.stem for p in path.parent.glob("*.yaml")])
        raise ManifestError(
            f"there is no {path.name}", where=_place(path), do=near or "check the name"
        ) from None
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"not UTF-8 text: {error.reason}", where=_place(path), do="save the file as UTF-8"
        ) from None
    try:
        return _parse(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ManifestError(
            f"not readable as YAML: {problem}", where=_place(path) + line, do="mend the line"
        ) from None


def parse_yaml(text: str) -> Any:
    """A value as it stands in a YAML file; text that is none stays text."""
    try:
        return _parse(text)
    except yaml.YAMLError:
        return text


def _parse(text: str) -> Any:
    # libyaml is five times as fast; what it refuses is read again for this loader's own words. It
    # takes a tab after a colon, which this loader refuses.
    with suppress(yaml.YAMLError, ValueError, RecursionError):
        if (fast := _fast_loader()) is not None and "\t" not in text and _deepest(text) < DEEP:
            return yaml.load(text, Loader=fast)
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except (ValueError, RecursionError) as error:  # of the parser itself
        raise yaml.YAMLError(str(error)) from None


def _deepest(text: str) -> int:
    """No fewer levels than a text can have: each takes a bracket, or a character of one line."""
    return sum(map(text.count, "[{")) + max(map(len, text.splitlines()), default=0)


@cache
def _fast_loader() -> Any:
    """_PlainLoader over libyaml's parser; None where PyYAML came without it."""
    if not yaml.__with_libyaml__:
        return None

    own = {"yaml_constructors": _Loader.yaml_constructors}
    return type("Fast", (yaml.CSafeLoader, _PlainLoader), own)


def yaml_text(value: Any) -> str:
    """A plain value as YAML, keys in their order."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def validate(model: type[M], value: Any, *, where: str) -> M:
    """`value` as a checked `model`; `where` is the file (and key) that the message names."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        what, do = _explain(model, error)
        raise ManifestError(what, where=where, do=do) from None


def load(model: type[M], path: Path) -> M:
    """A YAML file as a checked `model`."""
    return validate(model, read_yaml(path), where=_place(path))


def load_named(model: type[M], folder: Path, name: str, what: str, key: str) -> M:
    """The file of `folder` that is called `name`, which its `key` must repeat.

    `what` it is, in words: a UsageError names the nearest one when there is none.
    """
    place = f"{folder.parent.name}/{folder.name}/"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    one_of(name, known, f"unknown {what} '{name}'", where=place)
    value = validate(model, read_yaml(folder / f"{name}.yaml"), where=f"{place}{name}.yaml")
    if getattr(value, key) != name:
        raise ManifestError(
            f"{key}: '{getattr(value, key)}' does not match the file name",
            where=f"{place}{name}.yaml",
            do=f"write {key}: {name}",
        )
    return value


def one_of(
    name: str,
    known: Iterable[str],
    what: str,
    *,
    where: str = "",
    error: type[TdnError] = UsageError,
) -> None:
    """Raise `error`, saying `what` and the nearest known name, when `name` is not `known`."""
    valid = list(known)
    if name not in valid:
        raise error(what, where=where, do=nearest(name, valid))


def build_from(model: type[M], *sources: BaseModel, **values: Any) -> M:
    """A `model` of `values` and of the fields that it shares with `sources`; the first one wins."""
    for source in sources:
        for name in model.model_fields.keys() & type(source).model_fields.keys() - values.keys():
            values[name] = getattr(source, name)
    return model(**values)


def known_name(kind: str, name: str, known: Iterable[str], where: str) -> None:
    """Raise ManifestError naming the nearest one when `name` is not among the `known`."""
    one_of(name, known, f"{kind}: unknown '{name}'", where=where, error=ManifestError)


def nearest(word: str, known: list[str]) -> str:
    """'did you mean …?' for a misspelt word, or the valid ones when nothing is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"valid: {', '.join(sorted(known)[:20])}" if known else ""


def _place(path: Path) -> str:
    """A path as messages show it: from the project's top folder on, never the machine's."""
    parts = path.parts
    for top in ("manifests", "data", "runs", "reports"):
        if top in parts:
            return "/".join(parts[parts.index(top) :])
    return path.name


def _explain(model: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    lines: list[str] = []
    hint = ""
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            siblings = _fields_at(model, item["loc"][:-1])
            guess = nearest(str(item["loc"][-1]), siblings)
            lines.append(f"{key}: unknown key" + (f"; {guess}" if guess else ""))
            hint = hint or guess
        elif item["type"] == "missing":
            lines.append(f"{key}: missing")
        else:
            got = re.sub(r"\s+", " ", repr(item.get("input")))[:60]
            lines.append(f"{key}: {item['msg']} (got {got})")
            hint = hint or _yaml_remedy(item["type"], item.get("input"))
    return "; ".join(lines), hint or "correct the key"


def _yaml_remedy(kind: str, value: Any) -> str:
    """What to write where YAML 1.1 reads another type than was meant; '' when that is not it.

    YAML takes 1e-3 for text, since its numbers have a point and its exponents a sign, and takes
    yes, no, on, off, null, 12:30 and 2024-01-31 for truth values, nothing, numbers and dates.
    """
    if kind in ("float_type", "int_type", "float_parsing", "int_parsing") and isinstance(
        value, str
    ):
        number = _EXPONENT.fullmatch(value.strip().replace("_", ""))
        if number is None:
            return ""
        sign, whole, fraction, exponent_sign, exponent = number.groups()
        return (
            f"write {sign}{whole or '0'}.{fraction or '0'}e{exponent_sign or '+'}{exponent}: "
            "without a point and a sign YAML takes the number for text"
        )
    if kind == "string_type" and isinstance(value, bool | int | float | date | None):
        return (
            f"put it in quotes: without them YAML reads {_yaml_word(value)}, "
            "and words like yes, no, on, off and null are not text either"
        )
    return ""


def _yaml_word(value: Any) -> str:
    """What a value without quotes became, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"a truth value ({str(value).lower()})"
    return f"a date ({value})" if isinstance(value, date) else f"a number ({value})"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The field names of the section at `loc`, as far as the types tell."""
    current: type[BaseModel] = model
    parts = list(loc)
    while parts:
        field = current.model_fields.get(str(parts.pop(0)))
        inner = _inner(field.annotation) if field is not None else None
        if field is None or inner is None:
            return []
        if get_origin(field.annotation) in (dict, list) and parts:
            parts.pop(0)  # the key or index inside the container
        current = inner
    return list(current.model_fields)


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The section type inside dict[str, X], list[X] or X | None."""
    for argument in getattr(annotation, "__args__", ()):
        section = _inner(argument)
        if section is not None:
            return section
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None
