"""Choose rows of a table by an expression: ``p_lens > 0.5 and castles_name is null``.

The grammar is a part of Python's: columns, numbers, texts, ``+ - * /``, comparisons, ``in`` with a
list, ``is null``, ``and``, ``or``, ``not``. Python only parses it; Arrow computes it. A comparison
with a null is neither true nor false, and the row is not chosen.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lensweep.catalogs.formats import TableError

_NULLS = ("null", "None")
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    # Whole numbers too: Arrow's own quotient of such is a whole number.
    ast.Div: lambda over, under: over.cast(pa.float64()) / under.cast(pa.float64()),
}  # fmt: skip


class SelectionError(TableError):
    """An expression that chooses no rows of this table."""


def select_rows(table: pa.Table, expression: str) -> pa.Table:
    """The rows of which an expression is true, in their order.

    Parameters
    ----------
    table : pyarrow.Table
    expression : str
        In the grammar of this module.

    Raises
    ------
    SelectionError
        If it is not in that grammar, names no column of the table, or compares what cannot be.
    """
    try:
        parsed = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SelectionError(
            f"where {expression!r}: not understood ({getattr(error, 'msg', error)}); such as: "
            "p_lens > 0.5 and castles_name is null"
        ) from error
    try:
        return table.filter(_Reader(expression, table.column_names).condition(parsed))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError,
            OverflowError) as error:  # fmt: skip
        raise SelectionError(f"where {expression!r}: cannot be computed ({error})") from error


class _Reader:
    """From a parsed expression to Arrow's."""

    def __init__(self, expression: str, columns: list[str]) -> None:
        self._expression, self._columns = expression, columns

    def condition(self, node: ast.expr) -> Any:
        """What is true or false of a row."""
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            first, *others = (self.condition(value) for value in node.values)
            for other in others:
                first = join(first, other)
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Name):
            return self._value(node)
        raise self._refused(node, "is no comparison")

    def _compared(self, node: ast.Compare) -> Any:
        values = [node.left, *node.comparators]
        found: Any = None
        for left, kind, right in zip(values, node.ops, node.comparators, strict=False):
            one = self._comparison(left, kind, right)
            found = one if found is None else found & one
        return found

    def _comparison(self, left: ast.expr, kind: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(kind, ast.Is | ast.IsNot):
            if not _is_null(right):
                raise self._refused(right, "follows `is`, after which only null is understood")
            missing = self._value(left).is_null(nan_is_null=True)
            return missing if isinstance(kind, ast.Is) else ~missing
        if isinstance(kind, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple):
                raise self._refused(right, "follows `in`, after which a list is needed")
            value = self._value(left)
            inside = value.isin([self._constant(one) for one in right.elts])
            return inside if isinstance(kind, ast.In) else ~inside & value.is_valid()
        if _is_null(left) or _is_null(right):
            raise self._refused(right, "is compared; write `is null` or `is not null`")
        return _COMPARISONS[type(kind)](self._value(left), self._value(right))

    def _value(self, node: ast.expr) -> Any:
        """A number or text of a row, or of all."""
        if isinstance(node, ast.Name):
            if node.id not in self._columns:
                raise SelectionError(
                    f"where {self._expression!r}: no column {node.id!r}; there are "
                    f"{', '.join(self._columns)}"
                )
            return pc.field(node.id)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](self._value(node.left), self._value(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return pc.scalar(0) - self._value(node.operand)
        return pc.scalar(self._constant(node))

    def _constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._constant(node.operand)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bool | int | float):
            return node.value
        raise self._refused(node, "is neither a column nor a number or text")

    def _refused(self, node: ast.expr, why: str) -> SelectionError:
        part = ast.get_source_segment(self._expression.strip(), node)
        return SelectionError(f"where {self._expression!r}: {part} {why}")


def _is_null(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id in _NULLS) or (
        isinstance(node, ast.Constant) and node.value is None
    )
