"""Small changes of meaning to Python source, each within one expression or statement.

Only the changed span is replaced; the rest of a file stays as it is written. Left alone is what tests of values need
not notice: strings and f-strings (messages), annotations, decorators, assertions, what is raised, protocols,
TYPE_CHECKING blocks, and `strict=` of zip, which guards against bugs of the caller.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from mutant_source import Edit, Mutant, Source

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
BOUNDARIES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NEGATIONS = {
    "<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "==",
    "is": "is not", "is not": "is", "in": "not in", "not in": "in",
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
}  # fmt: skip
_PAIRS = (
    ("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("nanmin", "nanmax"), ("minimum", "maximum"),
    ("all", "any"),
)  # fmt: skip
OPPOSITES = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
AXES = ("axis", "dim")
NOT_SWAPPED = frozenset({"isinstance", "issubclass", "gcd", "isclose", "allclose", "equal", *OPPOSITES})
"""Calls whose arguments commute, or that fail at once when they are swapped."""


Edits = Iterator[Edit]


def mutants_of(text: str, *, file: str) -> list[Mutant]:
    """All mutants of one source file, in the order of the text."""
    source = Source(text)
    edits = {(edit.start, edit.end, edit.text): edit for edit in _edits(source, ast.parse(text))}
    return [_mutant(source, edit, file) for _, edit in sorted(edits.items())]


def _mutant(source: Source, edit: Edit, file: str) -> Mutant:
    first, last = source.lines_around(edit.start, edit.end)
    before = source.text[first:last]
    after = source.text[first : edit.start] + edit.text + source.text[edit.end : last]
    return Mutant(
        file=file,
        line=source.line_of(edit.start),
        edit=edit,
        before=" ".join(before.split()),
        after=" ".join(after.split()),
    )


def _edits(source: Source, node: ast.AST) -> Edits:
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            yield from operator(source, node)
    for child in _children(node):
        yield from _edits(source, child)


def _children(node: ast.AST) -> Iterable[ast.AST]:
    """The parts of a node in which there may be mutants."""
    parts: Iterable[ast.AST] = ()
    match node:
        case ast.Raise() | ast.Assert() | ast.JoinedStr():
            pass
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            if "overload" not in map(_last_name, node.decorator_list):
                parts = [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
        case ast.ClassDef():
            if "Protocol" not in map(_last_name, node.bases):
                parts = node.body
        case ast.AnnAssign():
            parts = filter(None, [node.value])
        case ast.If() if _last_name(node.test) == "TYPE_CHECKING":
            parts = node.orelse
        case ast.Call() if _last_name(node.func) == "zip":
            parts = node.args
        case ast.keyword() if node.arg in AXES:
            parts = [part for part in _parts(node.value) if _whole_number(part) is None]
        case _:
            parts = ast.iter_child_nodes(node)
    return parts


def _last_name(node: ast.AST) -> str:
    """`b` of `a.b`, `a.b[c]` and `a.b(c)`; empty for anything else."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Subscript():
            return _last_name(node.value)
        case ast.Call():
            return _last_name(node.func)
        case _:
            return ""


def _comparisons(source: Source, node: ast.Compare) -> Edits:
    operands = [node.left, *node.comparators]
    for kind, (left, right) in zip(node.ops, pairwise(operands), strict=True):
        token = COMPARISONS[type(kind)]
        start, end = source.token(token, source.end(left), source.start(right))
        if token in BOUNDARIES:
            yield Edit(start=start, end=end, text=BOUNDARIES[token], operator="comparison boundary")
        yield Edit(start=start, end=end, text=NEGATIONS[token], operator="comparison negated")


def _booleans(source: Source, node: ast.BoolOp) -> Edits:
    token, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    values = node.values
    joints = [source.token(token, source.end(left), source.start(right)) for left, right in pairwise(values)]
    start, end = source.start(node), source.end(node)
    text = source.text[start:end]
    for at, behind in reversed(joints):
        text = text[: at - start] + other + text[behind - start :]
    yield Edit(start=start, end=end, text=text, operator="and/or")
    first = joints[0][1]
    first += len(source.text[first:end]) - len(source.text[first:end].lstrip())
    yield Edit(start=start, end=first, text="", operator="clause dropped")
    ends = [*(at for at, _ in joints[1:]), end]
    for (at, _), stop in zip(joints, ends, strict=True):
        kept = source.text[:at].rstrip(" \t")  # not the end of a line: a comment may stand before it
        behind = len(source.text[:stop].rstrip())
        yield Edit(start=len(kept), end=behind, text="", operator="clause dropped")


def _unary(source: Source, node: ast.UnaryOp) -> Edits:
    tokens = {ast.Not: ("not", "not removed"), ast.USub: ("-", "minus dropped")}
    if type(node.op) in tokens:
        token, operator = tokens[type(node.op)]
        start, end = source.token(token, source.start(node), source.start(node.operand))
        end += len(source.text[end:]) - len(source.text[end:].lstrip())
        yield Edit(start=start, end=end, text="", operator=operator)


def _arithmetic(source: Source, node: ast.BinOp) -> Edits:
    if isinstance(node.op, ast.MatMult):
        yield from _swapped_product(source, node)
    elif type(node.op) in ARITHMETIC and not (_is_sequence(node.left) or _is_sequence(node.right)):
        token, other = ARITHMETIC[type(node.op)]
        start, end = source.token(token, source.end(node.left), source.start(node.right))
        yield Edit(start=start, end=end, text=other, operator="arithmetic")


def _swapped_product(source: Source, node: ast.BinOp) -> Edits:
    start, end = source.start(node), source.end(node)
    at, behind = source.token("@", source.end(node.left), source.start(node.right))
    left, right = source.text[start:at].strip(), source.text[behind:end].strip()
    if left != right:
        left = f"({left})" if isinstance(node.left, ast.BinOp) else left
        yield Edit(start=start, end=end, text=f"{right} @ {left}", operator="@ swapped")


def _in_place(source: Source, node: ast.AugAssign) -> Edits:
    if type(node.op) in ARITHMETIC and not _is_sequence(node.value):
        token, other = ARITHMETIC[type(node.op)]
        start, end = source.token(f"{token}=", source.end(node.target), source.start(node.value))
        yield Edit(start=start, end=end, text=f"{other}=", operator="arithmetic")


def _is_sequence(node: ast.expr) -> bool:
    """Whether a text or list is joined or a path extended here: there the other operator fails at once."""
    if isinstance(node, ast.BinOp):
        return _is_sequence(node.left) or _is_sequence(node.right)
    texts = isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    return texts or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp)


def _constants(source: Source, node: ast.Constant) -> Edits:
    match node.value:
        case bool(value):
            text = str(not value)
        case int(value):
            text = str({0: 1, 1: 0}.get(value, value + 1))
        case float(value):
            text = repr(2 * value if value else 1.0)
        case _:
            return
    yield Edit(start=source.start(node), end=source.end(node), text=text, operator="constant")


def _axis(source: Source, node: ast.keyword) -> Edits:
    if node.arg in AXES:
        for part in _parts(node.value):
            number = _whole_number(part)
            if number is not None:
                other = {0: 1, -1: -2}.get(number, number - 1 if number > 0 else number + 1)
                yield Edit(start=source.start(part), end=source.end(part), text=str(other), operator="axis")


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _whole_number(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case _:
            return None


def _calls(source: Source, node: ast.Call) -> Edits:
    name, end = _last_name(node.func), source.end(node.func)
    if name in OPPOSITES and isinstance(node.func, ast.Name | ast.Attribute):
        yield Edit(start=end - len(name), end=end, text=OPPOSITES[name], operator="min/max, all/any")
    if name == "sorted":
        yield Edit(start=source.end(node), end=source.end(node), text="[::-1]", operator="order reversed")
    if name in NOT_SWAPPED:
        return
    for one, other in pairwise(node.args):
        first, second = source.of(one), source.of(other)
        if _is_simple(one) and _is_simple(other) and first != second:
            between = source.text[source.end(one) : source.start(other)]
            text = f"{second}{between}{first}"
            yield Edit(start=source.start(one), end=source.end(other), text=text, operator="arguments swapped")


def _is_simple(node: ast.expr) -> bool:
    match node:
        case ast.Attribute():
            return _is_simple(node.value)
        case ast.Constant():
            return isinstance(node.value, int | float)
        case _:
            return isinstance(node, ast.Name)


def _statements(source: Source, node: ast.stmt) -> Edits:
    """Statements that are jumps or calls; a jump to where the program goes anyway is found by its block."""
    what = type(node).__name__.lower()
    match node:
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield()):
            what = "call"
        case ast.Return(value=None | ast.Constant(value=None)) | ast.Continue() | ast.Break():
            pass
        case _:
            return
    yield Edit(start=source.start(node), end=source.end(node), text="pass", operator=f"{what} removed")


def _block(source: Source, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.For | ast.While) -> Edits:
    """The jumps of a function or loop that change where the program goes on."""
    jump, inner = (ast.Continue, LOOPS) if isinstance(node, LOOPS) else (ast.Return, ())
    idle = set(map(id, _last_statements(node.body)))
    for statement in _within(node.body, (*FUNCTIONS, *inner)):
        if isinstance(statement, jump) and id(statement) not in idle:
            yield from _statements(source, statement)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


def _within(body: Iterable[ast.AST], inner: tuple[type[ast.AST], ...]) -> Iterator[ast.AST]:
    """All statements of a block but those of inner blocks that have jumps of their own."""
    for node in body:
        yield node
        if not isinstance(node, inner):
            yield from _within((part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.expr)), inner)


def _last_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements behind which a block ends."""
    if not body:
        return
    last = body[-1]
    yield last
    match last:
        case ast.If():
            blocks = [last.body, last.orelse]
        case ast.With() | ast.AsyncWith():
            blocks = [last.body]
        case ast.Try():
            blocks = [last.orelse or last.body, *(handler.body for handler in last.handlers)]
        case ast.Match():
            blocks = [case.body for case in last.cases]
        case _:
            blocks = []
    for block in blocks:
        yield from _last_statements(block)


OPERATORS: tuple[tuple[Any, Callable[[Source, Any], Edits]], ...] = (
    (ast.Compare, _comparisons),
    (ast.BoolOp, _booleans),
    (ast.UnaryOp, _unary),
    (ast.BinOp, _arithmetic),
    (ast.AugAssign, _in_place),
    (ast.Constant, _constants),
    (ast.keyword, _axis),
    (ast.Call, _calls),
    (ast.Expr | ast.Break, _statements),
    ((*FUNCTIONS[:2], *LOOPS), _block),
)
