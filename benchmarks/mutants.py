"""Source code → the same with one small thing changed, as a slip of the hand might: what tests should notice.

Left alone is what no test can or should tell: annotations, docstrings, the words of messages, `strict=` of zip (a
check by itself), what stands under TYPE_CHECKING or inside Literal[…].
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip
_OPPOSITE = {
    "min": "max", "max": "min", "any": "all", "all": "any", "maximum": "minimum", "minimum": "maximum",
    "argmin": "argmax", "argmax": "argmin", "floor": "ceil", "ceil": "floor", "ones": "zeros", "zeros": "ones",
    "lower": "upper", "first": "last", "last": "first",
}  # fmt: skip
_DROPPED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Break)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        line: where, in the file as it is.
        change: what, as ``before → after``.
        source: the whole file with it.
    """

    line: int
    change: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Return every single change to a file's code."""
    tree = ast.parse(source)
    found = []
    for parent, name, place, node in _places(tree):
        for new in _changes(node):
            _put(parent, name, place, new)
            found.append(Mutant(node.lineno, f"{_shown(node)} → {_shown(new)}", ast.unparse(tree)))
        _put(parent, name, place, node)
    return sorted(found, key=lambda mutant: mutant.line)


# ---------------------------------------------------------------- where


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.expr | ast.stmt]]:
    """(parent, field, index, node) of all that may be changed."""
    for name, value in ast.iter_fields(node):
        if _is_left_alone(node, name):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_words(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield node, name, place, child
            yield from _places(child)


def _is_left_alone(node: ast.AST, name: str) -> bool:
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Raise():
            return name == "cause"
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.Subscript(value=ast.Name("Literal")):
            return True
        case ast.keyword(arg="strict"):
            return True
    return name in ("annotation", "returns", "decorator_list", "ctx")


def _is_words(node: ast.AST) -> bool:
    """A docstring, or a message on its way to the user."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Call(func=ast.Name(name)):
            return name.endswith("Error")
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in ("warn", "error")
    return False


def _put(parent: ast.AST, name: str, place: int | None, node: ast.AST) -> None:
    if place is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[place] = node


# ---------------------------------------------------------------- what


def _changes(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    return _of_statement(node) if isinstance(node, ast.stmt) else _of_expression(node)


def _of_expression(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=value):
            yield from (ast.Constant(new) for new in _other_values(value))
        case ast.Compare(left=left, ops=ops, comparators=right):
            for i, op in enumerate(ops):
                yield from (ast.Compare(left, [*ops[:i], new(), *ops[i + 1 :]], right) for new in _COMPARE[type(op)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Call(func=ast.Name(name), args=args, keywords=keywords) if name in _OPPOSITE:
            yield ast.Call(ast.Name(_OPPOSITE[name]), args, keywords)
        case ast.Call(func=ast.Attribute(owner, name), args=args, keywords=keywords) if name in _OPPOSITE:
            yield ast.Call(ast.Attribute(owner, _OPPOSITE[name]), args, keywords)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(_negated(test), body, orelse)


def _of_statement(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in _ARITHMETIC:
            yield ast.AugAssign(target, _ARITHMETIC[type(op)](), value)
        case ast.If(test=test, body=body, orelse=orelse):
            yield ast.If(_negated(test), body, orelse)
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
    if isinstance(node, _DROPPED) or _is_kept_elsewhere(node):
        yield ast.Pass()


def _is_kept_elsewhere(node: ast.stmt) -> bool:
    """An assignment to a part of something; without a name's, the next line would fail for sure."""
    if not isinstance(node, ast.Assign):
        return False
    return any(isinstance(part, ast.Attribute | ast.Subscript) for part in ast.walk(node.targets[0]))


def _other_values(value: object) -> list[object]:
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [value * 2 + 1]
        case str():
            return [f"?{value}"]
        case bytes():
            return [b"?" + value]
    return []


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _shown(node: ast.AST) -> str:
    """Its first line, cut where it is long."""
    line = ast.unparse(node).partition("\n")[0]
    return line if len(line) <= 72 else f"{line[:71]}…"
