"""By which names a value came from the line that made it to the line that reads it.

Statements such as `a = b` or `a, b = c` compute nothing, so no operation is recorded for them. But a wrong value may be
chosen there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from verify.divergence.graph import Frame
from verify.divergence.sources import Function, Sources

MOST_MOVES = 8
"""Statements that hand a value on, one after the other, that are followed."""


def handed_on(sources: Sources, reader: Frame, makers: Sequence[Frame]) -> Frame | None:
    """The one statement that only hands on, by name, what lines of a function made to another line of it.

    None where there is none or there are several, or where some of the makers are not handed on there.
    """
    function, read = sources.function(reader.file, reader.line), sources.statement(reader.file, reader.line)
    if function is None or read is None or not makers:
        return None
    lines = [_moves(sources, function, read, reader, maker) for maker in makers]
    shared = set.intersection(*lines)
    line = shared.pop() if len(shared) == 1 else None
    return None if line is None else Frame(reader.file, line, reader.function, True, -1)


def handed_in(sources: Sources, reader: Frame) -> Frame | None:
    """The one statement that hands an argument of the function on, under a plain name, to what a line of it reads."""
    function, read = sources.function(reader.file, reader.line), sources.statement(reader.file, reader.line)
    if function is None or read is None:
        return None
    ways = (_way(function, name.id, read, None) for name in _loads(read))
    lines = {line for way in ways for line in way or ()}
    return Frame(reader.file, lines.pop(), reader.function, True, -1) if len(lines) == 1 else None


def grouped(sources: Sources, frame: Frame) -> Frame | None:
    """The one statement that takes apart or groups, and no more, what names in a line stand for: `a, b = c`, `c = a, b`."""
    function, statement = sources.function(frame.file, frame.line), sources.statement(frame.file, frame.line)
    if function is None or statement is None:
        return None
    loops = [c.iter for c in ast.walk(statement) if isinstance(c, ast.comprehension)]
    if not all(_plain(one) for one in loops):  # what is put in order may be put in another in the line itself
        return None
    givers = (_last(function, name.id, statement) for name in _loads(statement))
    taken = {s.lineno for s in givers if isinstance(s, ast.Assign) and _groups(s)}
    return Frame(frame.file, taken.pop(), frame.function, True, -1) if len(taken) == 1 else None


def named_at(sources: Sources, reader: Frame, maker: Frame) -> Frame:
    """Of a statement of several lines, the line on which it names what another line made; else its line as it is."""
    function, read = sources.function(reader.file, reader.line), sources.statement(reader.file, reader.line)
    made = sources.statement(maker.file, maker.line)
    if function is None or read is None or made is None or maker.file != reader.file:
        return reader
    lines = {n.lineno for n in _loads(read) if _last(function, n.id, read) is made}
    return Frame(reader.file, lines.pop(), reader.function, True, reader.at) if len(lines) == 1 else reader


def called_in_turn(sources: Sources, frame: Frame) -> Frame:
    """The head of the `for` whose own variable a line calls or hands on, for it chooses what is called; else the line."""
    function, statement = sources.function(frame.file, frame.line), sources.statement(frame.file, frame.line)
    if function is None or statement is None:
        return frame
    named = {name.id for name in _loads(statement)}
    loops = [
        loop
        for loop in ast.walk(function)
        if isinstance(loop, ast.For)
        and loop.body[0].lineno <= frame.line <= (loop.body[-1].end_lineno or 0)
        and named & _bound(loop.target)
    ]
    return Frame(frame.file, max(n.iter.lineno for n in loops), frame.function, True, -1) if loops else frame


def _moves(sources: Sources, function: Function, read: ast.stmt, reader: Frame, maker: Frame) -> set[int]:
    """Lines of the statements that hand on what a line made to what reads it."""
    made = sources.statement(maker.file, maker.line)
    if made is None or maker.file != reader.file or sources.function(maker.file, maker.line) is not function:
        return set()
    ways = (_way(function, name.id, read, made) for name in _loads(read))
    return {line for way in ways for line in way or ()}


def _way(
    function: Function, name: str, before: ast.stmt, made: ast.stmt | None, most: int = MOST_MOVES
) -> tuple[int, ...] | None:
    """The statements by which a name got what another made, or without one what it was given as an argument of the
    function; None where it did not."""
    giver = _last(function, name, before)
    if giver is None:
        return () if made is None and name in _arguments(function) else None
    if giver is made:
        return ()
    if not isinstance(giver, ast.Assign) or not _plain(giver.value) or not most:
        return None
    if made is None and not isinstance(giver.value, ast.Name | ast.IfExp):
        return None
    for one in _loads(giver.value):
        way = _way(function, one.id, giver, made, most - 1)
        if way is not None:
            return (giver.value.lineno, *way)
    return None


def _arguments(function: Function) -> set[str]:
    every = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return {a.arg for a in every} - {"self", "cls"}


def _last(function: Function, name: str, before: ast.stmt) -> ast.stmt | None:
    """The last statement before another, by line, that gives a name its value."""
    givers = [s for s in ast.walk(function) if isinstance(s, ast.stmt) and name in _given(s)]
    return max((s for s in givers if s.lineno < before.lineno), key=lambda s: s.lineno, default=None)


def _given(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value."""
    targets: Iterable[ast.expr] = ()
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For):
        targets = (statement.target,)
    return {name for target in targets for name in _bound(target)}


def _bound(target: ast.expr) -> set[str]:
    """The plain names of a target; what is set in one of its parts is not bound anew."""
    if isinstance(target, ast.Tuple | ast.List):
        return {name for one in target.elts for name in _bound(one)}
    inner = target.value if isinstance(target, ast.Starred) else target
    return {inner.id} if isinstance(inner, ast.Name) else set()


def _loads(node: ast.AST) -> Iterator[ast.Name]:
    """The names that are read, but for those that a comprehension binds in it."""
    inner = {n for c in ast.walk(node) if isinstance(c, ast.comprehension) for n in _bound(c.target)}
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and one.id not in inner:
            yield one


def _plain(value: ast.expr) -> bool:
    """Whether an expression computes nothing, but chooses among names."""
    if isinstance(value, ast.Tuple | ast.List):
        return all(_plain(one) for one in value.elts)
    if isinstance(value, ast.IfExp):
        return _plain(value.body) and _plain(value.orelse)
    if isinstance(value, ast.Attribute):
        return _plain(value.value)
    return isinstance(value, ast.Name | ast.Constant)


def _groups(statement: ast.Assign) -> bool:
    return _plain(statement.value) and any(
        isinstance(e, ast.Tuple | ast.List) for e in (*statement.targets, statement.value)
    )
