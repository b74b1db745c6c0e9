"""Queries over the episode table, such as "quality == 'expert' and length > 100".

A query may hold column names, numbers, strings, True, False, the comparisons == != < <= > >= in and not in,
"is None" and "is not None", the arithmetic + - * /, and, or, not and brackets. Nothing else is admitted and
nothing is ever executed as Python.

Missing values follow SQL: a comparison with a missing value is neither true nor false, "not" leaves it so,
and an episode is chosen only where the whole query is true. "quality is None" finds the missing ones.
"""

import ast
import keyword
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demonstrably.data.wording import nearest

LONGEST = 2000
# Words that Python keeps for itself, such as "return", may be columns; they are read under another name.
KEPT = frozenset(keyword.kwlist) - {"and", "or", "not", "in", "is", "None", "True", "False"}
ALIAS = "_column_"
TOKEN = re.compile(r"""'[^']*'|"[^"]*"|\w+""")

# Names of Arrow's compute functions.
COMPARISONS: dict[type, str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
ARITHMETIC: dict[type, str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}


def matching(table: pa.Table, query: str, masks: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """Which rows of the table a query chooses, (rows,) bool.

    A name stands for a column of the table, or else for a mask. Raises ValueError for a query that cannot
    be read, with the nearest name where a name is unknown.
    """
    names = {name: pa.array(mask) for name, mask in (masks or {}).items()}
    names.update({name: _plain(table.column(name)) for name in table.column_names})
    if len(query) > LONGEST:
        raise ValueError(f"the query has {len(query)} characters; at most {LONGEST} are read")
    try:
        tree = ast.parse(TOKEN.sub(_aliased, query.strip()), mode="eval")
        result = _Query(query, names).value(tree.body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"cannot read the query {query!r} ({_first_line(error)}); "
            "write it like \"quality == 'expert' and length > 100\""
        ) from error
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(
            f"query {query!r}: {_first_line(error)}; compare columns with values of their own type"
        ) from error
    chosen = _truth(query, "the query", result)
    if isinstance(chosen, pa.Scalar):
        chosen = pa.repeat(chosen, table.num_rows)
    return np.asarray(pc.fill_null(chosen, False).to_numpy(zero_copy_only=False), dtype=bool)


class _Query:
    """Evaluation of one parsed query over named columns."""

    def __init__(self, text: str, names: Mapping[str, Any]) -> None:
        self.text = text
        self.names = names

    def value(self, node: ast.expr) -> Any:
        """The Arrow array or scalar that a node stands for."""
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
            return pa.scalar(node.value)
        if isinstance(node, ast.Name):
            return self._column(node.id)
        if isinstance(node, ast.Compare):
            return self._chain(node)
        if isinstance(node, ast.BoolOp):
            join = "and_kleene" if isinstance(node.op, ast.And) else "or_kleene"
            result = self._condition(node.values[0])
            for other in node.values[1:]:
                result = _call(join, result, self._condition(other))
            return result
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _call("invert", self._condition(node.operand))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return _call("negate", self.value(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            return self._arithmetic(node)
        raise self._refused(node)

    def _column(self, name: str) -> Any:
        name = name.removeprefix(ALIAS)
        if name not in self.names:
            raise ValueError(f"query {self.text!r}: no column or mask {name!r}{nearest(name, self.names)}")
        return self.names[name]

    def _arithmetic(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Div):  # whole numbers divide as in Python
            left, right = pc.cast(left, pa.float64()), pc.cast(right, pa.float64())
        return _call(ARITHMETIC[type(node.op)], left, right)

    def _condition(self, node: ast.expr) -> Any:
        return _truth(self.text, _written(node), self.value(node))

    def _chain(self, node: ast.Compare) -> Any:
        """a < b < c is a < b and b < c."""
        result, left = None, node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            one = self._comparison(left, operator, right)
            result = one if result is None else _call("and_kleene", result, one)
            left = right
        return result

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operator, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise ValueError(f"query {self.text!r}: 'is' is only for None; compare values with ==")
            missing = _call("is_null", self.value(left))
            return missing if isinstance(operator, ast.Is) else _call("invert", missing)
        if isinstance(operator, ast.In | ast.NotIn):
            inside = self._membership(left, right)
            return inside if isinstance(operator, ast.In) else _call("invert", inside)
        return _call(COMPARISONS[type(operator)], self.value(left), self.value(right))

    def _membership(self, left: ast.expr, right: ast.expr) -> Any:
        if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
            raise ValueError(f"query {self.text!r}: 'in' wants a list of values, such as quality in ['good', 'expert']")
        column = self.value(left)
        result = _call("equal", column, self.value(right.elts[0]))
        for element in right.elts[1:]:
            result = _call("or_kleene", result, _call("equal", column, self.value(element)))
        return result

    def _refused(self, node: ast.expr) -> ValueError:
        if isinstance(node, ast.Constant) and node.value is None:
            return ValueError(f'query {self.text!r}: nothing equals None; write "... is None"')
        return ValueError(
            f"query {self.text!r}: {_written(node)!r} is not allowed; use columns, numbers, strings, "
            "comparisons, + - * /, in, and, or, not"
        )


def _aliased(token: re.Match[str]) -> str:
    return f"{ALIAS}{token.group()}" if token.group() in KEPT else token.group()


def _written(node: ast.expr) -> str:
    return ast.unparse(node).replace(ALIAS, "")


def _call(function: str, *arguments: Any) -> Any:
    return pc.call_function(function, list(arguments))


def _truth(query: str, what: str, value: Any) -> Any:
    if not pa.types.is_boolean(value.type):
        raise ValueError(
            f"query {query!r}: {what} is a value ({value.type}), not a condition; compare it with something"
        )
    return value


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
