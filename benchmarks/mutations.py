"""Find all places in a Python module for small faults that a test should detect, and insert them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
UNSEEN_FIELDS = {"annotation", "returns", "decorator_list"}
LOGS = {"log", "logging", "warnings"}
# strict= only states what holds anyway; the others differ only where there is a second device
KEPT_KEYWORDS = {"strict", "device", "non_blocking", None}

ORDER = {ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt)}
EQUAL = {ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,)}
COMPARISONS = ORDER | EQUAL | {ast.NotIn: (ast.In,)}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div}
ARITHMETIC |= {ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "amin": "amax", "amax": "amin"}
METHODS = {"abs", "clamp", "detach", "double", "exp", "float", "log", "round", "sqrt", "square"}  # x.abs() becomes x
MODULES = {"F", "math", "np", "torch"}  # whose functions are no methods


@dataclass(frozen=True)
class Mutation:
    """One fault at one place.

    Attributes:
        line: where it starts, from 1.
        kind: what was changed, in a word or two.
        source: the whole module with the fault.
        lines: of the statement that it is in, without the statements inside that one.
        at_import: whether the place runs when the module is imported, not when a function is called.
    """

    line: int
    kind: str
    source: str
    lines: range
    at_import: bool


def mutations(source: str) -> list[Mutation]:
    """List every fault that can be put into a module, in the order of its lines.

    Texts are left alone, and so is what only words a message, an annotation, a decorator or a line of the log.
    """
    data = source.encode()  # ast counts bytes
    starts = [0, *accumulate(len(line) for line in data.splitlines(keepends=True))]
    found = {}
    for node, statement, in_function in _walk(ast.parse(source), None, False):
        for kind, place, text in _faults(node):
            first = starts[place.lineno - 1] + place.col_offset
            last = starts[place.end_lineno - 1] + place.end_col_offset
            mutated = (data[:first] + text.encode() + data[last:]).decode()
            if mutated not in found:
                found[mutated] = Mutation(place.lineno, kind, mutated, _own_lines(statement), not in_function)
    return sorted(found.values(), key=lambda mutation: (mutation.line, mutation.kind, mutation.source))


def _walk(node: ast.AST, statement: ast.stmt | None, in_function: bool) -> Iterator[tuple[ast.AST, ast.stmt, bool]]:
    if statement is not None:
        yield node, statement, in_function
    for field, value in ast.iter_fields(node):
        if field in UNSEEN_FIELDS:
            continue
        inside = in_function or (isinstance(node, FUNCTIONS) and field == "body")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _only_words(child):
                yield from _walk(child, child if isinstance(child, ast.stmt) else statement, inside)


def _only_words(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        node = node.value
    if isinstance(node, ast.Call):
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        return _name(node.func).endswith("Error") or (isinstance(owner, ast.Name) and owner.id in LOGS)
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__repr__", "__str__")
    return isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert | ast.Import | ast.ImportFrom)


def _own_lines(statement: ast.stmt) -> range:
    body = getattr(statement, "body", None)
    return range(statement.lineno, max(statement.lineno + 1, body[0].lineno) if body else statement.end_lineno + 1)


def _faults(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    """Yield the kind of a fault, the node that it replaces, and the text it puts there."""
    for kind, place, new in [*_expressions(node), *_calls(node)]:
        yield kind, place, f"({ast.unparse(new)})"
    if isinstance(node, ast.If | ast.IfExp):
        yield from (("condition", node.test, answer) for answer in ("True", "False"))
    if isinstance(node, ast.While):
        yield "condition", node.test, "False"
    if isinstance(node, ast.comprehension):
        yield from (("condition", test, answer) for test in node.ifs for answer in ("True", "False"))
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield "statement removed", node, "pass"
    if isinstance(node, ast.Return) and not (node.value is None or _is(node.value, None)):
        yield "return", node, "return None"


def _expressions(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    match node:
        case ast.Compare(left, ops, right):
            for i, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield "comparison", node, ast.Compare(left, [*ops[:i], other(), *ops[i + 1 :]], right)
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield "arithmetic", node, ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op, values):
            yield "and/or", node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield "not" if isinstance(node.op, ast.Not) else "sign", node, operand
        case ast.If(test) | ast.IfExp(test) | ast.While(test) if not isinstance(test, ast.Compare | ast.UnaryOp):
            yield "not", test, ast.UnaryOp(ast.Not(), test)
        case ast.Constant(bool() as value):
            yield "true/false", node, ast.Constant(not value)
        case ast.Constant(int() as value):
            yield "number", node, ast.Constant(value + 1)
        case ast.Constant(float() as value):
            yield "number", node, ast.Constant(value * 2 or 1.0)


def _calls(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    if not isinstance(node, ast.Call):
        return
    name = _name(node.func)
    if name in NAMES:
        other = ast.Name(NAMES[name])
        yield name, node.func, ast.Attribute(node.func.value, other.id) if _is_method(node.func) else other
    if name in METHODS and _is_method(node.func) and not _is_module(node.func.value):
        yield f".{name}() removed", node, node.func.value
    for keyword in node.keywords:
        if keyword.arg not in KEPT_KEYWORDS:
            rest = [other for other in node.keywords if other is not keyword]
            yield f"{keyword.arg}= removed", node, ast.Call(node.func, node.args, rest)


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _is_method(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute)


def _is_module(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Name) and owner.id in MODULES


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
