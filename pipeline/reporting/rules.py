"""Small expressions over cells: what a sentence of a paper says, in a form that can be checked.

    'table/row/column'          a cell of the sentence's document ('document:table/…' of another)
    near(x, 4.4)                x rounds to the printed 4.4
    around(x, 9)                x is within a fifth of 9 (the texts' "around")
    highest('1a/*/top1', 'f_plus_h')   the highest of a column but for the named rows; also lowest
    rising(a, b, c)             each is above the one before
    + - * / < <= > >= and or not, numbers, abs(x), (a > b) + (c > d) >= 1 to count

The syntax is Python's, read with `ast` and never executed. A value may be a number or an array of
bootstrap draws (B,): then the result is an array of truth values. simpleeval cannot do this: its
`and`, `or` and chained comparisons need one truth value for a whole array, and its functions do not
know with how many digits a number was printed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.core.errors import ManifestError
from pipeline.schema.base import nearest

Lookup = Callable[[str], Any]
"""From a cell's address to its value."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COLUMN_FUNCTIONS = ("highest", "lowest")
_FUNCTIONS = ("near", "around", *_COLUMN_FUNCTIONS, "rising", "abs")
AROUND_PCT = 20.0


@dataclass(frozen=True)
class Rule:
    """A parsed rule of a sentence in `document`; wildcards range over `addresses`."""

    text: str
    tree: ast.expr
    document: str
    addresses: tuple[str, ...]

    def cells(self) -> list[str]:
        """The addresses the rule reads, in order, wildcards resolved."""
        read: list[str] = []

        def record(address: str) -> float:
            read.append(address)
            return 1.0

        _Evaluation(self, record).of(self.tree)
        return list(dict.fromkeys(read))

    def evaluate(self, lookup: Lookup) -> Any:
        """The rule's truth (a bool or an array of them)."""
        return _Evaluation(self, lookup).of(self.tree)

    def spelled(self, text_of: Callable[[str], str]) -> str:
        """The rule with a text in the place of every cell, as `near(55.5 - 51.1, 4.4)`."""
        return ast.unparse(_Spelling(self, text_of).visit(_tree(self.text)))

    def unknown(self) -> list[str]:
        """The cells it names that are not among `addresses`."""
        known = set(self.addresses)
        return [address for address in self.cells() if address not in known]


def parse(text: str, document: str, addresses: Sequence[str], *, where: str) -> Rule:
    """A checked rule; a ManifestError names what it does not understand or know."""
    rule = read_rule(text, document, addresses, where=where)
    for address in rule.unknown():
        raise ManifestError(
            f"the rule names '{address}', which no table has",
            where=where,
            do=nearest(address, list(rule.addresses)) or "write 'table/row/column' of a table",
        )
    return rule


def read_rule(text: str, document: str, addresses: Sequence[str], *, where: str) -> Rule:
    """A rule that may name unknown cells; a ManifestError names what it does not understand."""
    try:
        rule = Rule(text.strip(), _tree(text.strip()), document, tuple(addresses))
        rule.cells()
    except (SyntaxError, _NotARule) as error:
        raise ManifestError(
            f"not a rule: {error}", where=where, do="see pipeline/reporting/rules.py"
        ) from None
    return rule


def _tree(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


class _NotARule(Exception):
    pass


class _Spelling(ast.NodeTransformer):
    """Puts a cell's text in the place of its address; a column's texts in that of its pattern."""

    def __init__(self, rule: Rule, text_of: Callable[[str], str]) -> None:
        self.text_of = text_of
        self.addresses = _Evaluation(rule, text_of)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        return ast.Name(self.text_of(self.addresses.address(node.value)))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in _COLUMN_FUNCTIONS:
            texts = [self.text_of(address) for address in self.addresses.column(node.args)]
            return ast.Call(node.func, [ast.Name(text) for text in texts], [])
        return self.generic_visit(node)


class _Evaluation:
    def __init__(self, rule: Rule, lookup: Lookup) -> None:
        self.rule = rule
        self.lookup = lookup

    def of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            left, right = self.of(node.left), self.of(node.right)
            return _BINARY[type(node.op)](_number(left), _number(right))
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BoolOp):
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            # Not the ufunc's own reduce: a resampled number stands beside one that is not.
            return reduce(combine, [self.of(value) for value in node.values])
        if isinstance(node, ast.Compare):
            return self._compare(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise _NotARule(f"'{ast.unparse(node)}'")

    def _constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, str):
            return self.lookup(self.address(node.value))
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.value
        raise _NotARule(f"{node.value!r}")

    def _unary(self, node: ast.UnaryOp) -> Any:
        value = self.of(node.operand)
        if isinstance(node.op, ast.Not):
            return np.logical_not(value)
        if isinstance(node.op, ast.USub):
            return -value
        raise _NotARule(f"'{ast.unparse(node)}'")

    def _compare(self, node: ast.Compare) -> Any:
        values = [self.of(part) for part in (node.left, *node.comparators)]
        truth: Any = True
        for op, left, right in zip(node.ops, values[:-1], values[1:], strict=True):
            if type(op) not in _COMPARE:
                raise _NotARule(f"'{ast.unparse(node)}'")
            truth = np.logical_and(truth, _COMPARE[type(op)](left, right))
        return truth

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS or node.keywords or not node.args:
            raise _NotARule(f"'{ast.unparse(node)}' (functions: {', '.join(_FUNCTIONS)})")
        if name in _COLUMN_FUNCTIONS:
            values = [self.lookup(address) for address in self.column(node.args)]
            pick = np.maximum if name == "highest" else np.minimum
            return reduce(pick, values)
        values = [self.of(argument) for argument in node.args]
        if name == "abs":
            return np.abs(values[0])
        if name == "rising":
            rises = [later > before for before, later in pairwise(values)]
            return reduce(np.logical_and, rises, np.True_)
        second = node.args[-1]
        if len(values) != 2 or not (
            isinstance(second, ast.Constant) and isinstance(second.value, int | float)
        ):
            raise _NotARule(f"'{ast.unparse(node)}' (the second argument is the printed number)")
        printed = ast.get_source_segment(self.rule.text, second) or ""
        half = 0.5 * 10.0 ** -len(printed.partition(".")[2])
        allowed = half if name == "near" else max(half, AROUND_PCT / 100 * abs(values[1]))
        return np.abs(values[0] - values[1]) <= allowed + 1e-9

    def address(self, text: str) -> str:
        document, colon, rest = text.partition(":")
        return f"{document}/{rest}" if colon else f"{self.rule.document}/{text}"

    def column(self, arguments: Sequence[ast.expr]) -> list[str]:
        texts = [a.value for a in arguments if isinstance(a, ast.Constant)]
        if len(texts) != len(arguments) or not all(isinstance(text, str) for text in texts):
            raise _NotARule("highest and lowest take texts")
        pattern, *but = [str(text) for text in texts]
        head, star, tail = self.address(pattern).partition("*")
        matching = [
            address
            for address in self.rule.addresses
            if star
            and address.startswith(head)
            and address.endswith(tail)
            and "/" not in (row := address[len(head) : len(address) - len(tail)])
            and row not in but
        ]
        if not matching:
            raise _NotARule(f"'{pattern}' names no cells")
        return matching


def _number(value: Any) -> Any:
    """Truth values as 0 and 1, to be added."""
    return value + 0 if isinstance(value, np.ndarray | np.bool_) else value
