"""What the source around a line says of how it came to run: the choice or loop that led to it, the constant it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from verify.divergence.graph import Frame
from verify.divergence.sources import Function, Sources

Block = Sequence[ast.stmt]


def constructing(sources: Sources, stack: Sequence[Frame]) -> Frame | None:
    """The line that made a module: the innermost frame of what made it that is not its own constructor calling another.

    stack: own frames, innermost first.
    """
    for frame in stack:
        statement = sources.statement(frame.file, frame.line)
        calls = [n.func for n in ast.walk(statement) if isinstance(n, ast.Call)] if statement is not None else []
        if not any(isinstance(f, ast.Attribute) and f.attr == "__init__" for f in calls):
            return frame
    return None


def choosing(sources: Sources, frame: Frame) -> Frame:
    """The test of the innermost `if` that led to a line where its other way calls something else; else the line."""
    function, statement = sources.function(frame.file, frame.line), sources.statement(frame.file, frame.line)
    if function is None or statement is None:
        return frame
    taken = _called([statement])
    tests = [test for test, other in _choices(function, frame.line) if _called(other) - taken]
    return Frame(frame.file, max(tests), frame.function, True, -1) if tests else frame


def looping(sources: Sources, frame: Frame) -> Frame:
    """The head of the innermost `for` in whose body a line is; else the line."""
    function = sources.function(frame.file, frame.line)
    loops = [n for n in ast.walk(function) if isinstance(n, ast.For)] if function is not None else []
    heads = [n.lineno for n in loops if n.body[0].lineno <= frame.line <= (n.body[-1].end_lineno or 0)]
    return Frame(frame.file, max(heads), frame.function, True, -1) if heads else frame


def made_empty(sources: Sources, frame: Frame) -> bool:
    """Whether a line makes a tensor that holds nothing yet."""
    statement = sources.statement(frame.file, frame.line)
    return statement is not None and any(name.endswith((".empty", ".empty_like")) for name in _called([statement]))


def constant(sources: Sources, frame: Frame, number: float) -> Frame | None:
    """Where a file names, at its top, a number that a line reads by that name or as an argument's default.

    None where the line writes the number too.
    """
    tree, function = sources.tree(frame.file), sources.function(frame.file, frame.line)
    statement = sources.statement(frame.file, frame.line)
    if tree is None or function is None or statement is None:
        return None
    if any(isinstance(n, ast.expr) and _is(n, number) for n in ast.walk(statement)):
        return None
    defaults = _defaults(function)
    found = set()
    for name in {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}:
        value = defaults.get(name)
        name = value.id if isinstance(value, ast.Name) else name
        found |= {line for line, one in _named(tree, name) if _is(one, number)}
    return Frame(frame.file, found.pop(), "<module>", True, -1) if len(found) == 1 else None


def _choices(function: Function, line: int) -> Iterator[tuple[int, Block]]:
    """Line of the test, and what runs if it comes out otherwise, of each `if` that decides whether a line runs."""
    for block in _blocks(function):
        for place, statement in enumerate(block):
            if not isinstance(statement, ast.If) or isinstance(statement.body[-1], ast.Raise):
                continue
            rest, leaves = block[place + 1 :], _leaves(statement.body)
            if _within(statement.body, line):
                yield statement.test.lineno, statement.orelse or (rest if leaves else ())
            elif _within(statement.orelse, line) or (leaves and _within(rest, line)):
                yield statement.test.lineno, statement.body


def _leaves(block: Block) -> bool:
    """Whether a block always returns, or raises, at its end."""
    last = block[-1] if block else None
    both = isinstance(last, ast.If) and _leaves(last.body) and _leaves(last.orelse)
    return both or isinstance(last, ast.Return | ast.Raise)


def _blocks(function: Function) -> Iterator[Block]:
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def _within(block: Block, line: int) -> bool:
    return any(s.lineno <= line <= (s.end_lineno or s.lineno) for s in block)


def _called(block: Block) -> set[str]:
    """What statements call, as it is written."""
    return {ast.unparse(n.func) for s in block for n in ast.walk(s) if isinstance(n, ast.Call)}


def _defaults(function: Function) -> dict[str, ast.expr]:
    """Arguments that have a default, with it."""
    plain = [*function.args.posonlyargs, *function.args.args]
    pairs = [*zip(reversed(plain), reversed(function.args.defaults), strict=False)]
    keyword = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {a.arg: d for a, d in (*pairs, *keyword) if d is not None}


def _named(tree: ast.Module, name: str) -> Iterator[tuple[int, ast.expr]]:
    """Line and value of what a module assigns to a name at its top."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if value is not None and any(isinstance(t, ast.Name) and t.id == name for t in targets):
            yield value.lineno, value


def _is(expression: ast.expr, number: float) -> bool:
    return isinstance(expression, ast.Constant) and expression.value == number
