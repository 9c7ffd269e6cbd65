"""A source file as those see it that change it: its tree, what is worth changing in it, and where each node's text lies."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import CodeType

Function = ast.FunctionDef | ast.AsyncFunctionDef
SILENT = {"logger", "logging", "log", "warnings", "print"}
"""Calls of these tell people something; no output depends on them."""

DESCRIBING = {"extra_repr", "__repr__", "__str__"}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One replacement in a file: the bytes from `start` to `end` become `new`. line, last: the lines they are on."""

    start: int
    end: int
    new: str
    line: int
    last: int

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]


class Tree:
    """A parsed source. SyntaxError where it is none. Positions are bytes, as the parser counts."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.root = ast.parse(source)
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self.parents = {child: node for node in ast.walk(self.root) for child in ast.iter_child_nodes(node)}

    def span(self, node: ast.AST) -> tuple[int, int]:
        """First byte of a node's text and the one after its last."""
        lines = self._starts
        start: int = lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end: int = lines[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return start, end

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def edit(self, node: ast.AST, new: str) -> Edit:
        """The node's text becomes `new`."""
        start, end = self.span(node)
        return Edit(start=start, end=end, new=new, line=node.lineno, last=node.end_lineno)  # type: ignore[attr-defined]

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Edit | None:
        """The one `old` in the text between two nodes becomes `new`; None where there is another number of them."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.source[start:end]
        if gap.count(old.encode()) != 1:
            return None
        at = start + gap.index(old.encode())
        last: int = right.lineno  # type: ignore[attr-defined]
        line: int = left.end_lineno  # type: ignore[attr-defined]
        return Edit(start=at, end=at + len(old.encode()), new=new, line=line, last=last)

    def swapped(self, left: ast.AST, right: ast.AST) -> Edit:
        """Two pieces of text change places; what is between them stays."""
        return self.edited((left, self.text(right)), (right, self.text(left)))

    def edited(self, first: tuple[ast.AST, str], second: tuple[ast.AST, str]) -> Edit:
        """Two pieces of text, in their order, become others; what is between them stays."""
        (left, before), (right, after) = first, second
        start, end = self.span(left)[0], self.span(right)[1]
        new = f"{before}{self.source[self.span(left)[1] : self.span(right)[0]].decode()}{after}"
        return Edit(start=start, end=end, new=new, line=left.lineno, last=right.end_lineno)  # type: ignore[attr-defined]

    @cached_property
    def functions(self) -> list[Function]:
        """Every function, whatever it is in."""
        return [n for n in ast.walk(self.root) if isinstance(n, Function)]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """What can change what the model does, in the order of the text: no annotations, documentation, messages or
        refusals of bad input."""
        return list(self._walk(self.root))

    def _walk(self, node: ast.AST) -> Iterator[ast.AST]:
        if _mute(node):
            return
        yield node
        skipped = set(_annotations(node))
        for child in ast.iter_child_nodes(node):
            if child not in skipped:
                yield from self._walk(child)

    def function(self, node: ast.AST) -> Function | None:
        """The function around a node."""
        found = self.parents.get(node)
        while found is not None and not isinstance(found, Function):
            found = self.parents.get(found)
        return found

    def owner(self, node: ast.AST) -> ast.ClassDef | None:
        """The class around a node."""
        found = self.parents.get(node)
        while found is not None and not isinstance(found, ast.ClassDef):
            found = self.parents.get(found)
        return found


def _mute(node: ast.AST) -> bool:
    """Whether nothing that the model computes depends on a node."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Global):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or (
            isinstance(node.value, ast.Call) and _first_name(node.value.func) in SILENT
        )
    if isinstance(node, ast.If):
        return not node.orelse and all(isinstance(s, ast.Raise) for s in node.body)
    if isinstance(node, Function):
        return node.name in DESCRIBING or _only_refuses(node)
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id in ("__all__", "__version__", "logger") for t in node.targets)
    return False


def _only_refuses(function: Function) -> bool:
    inside = list(ast.walk(function))
    gives = any(isinstance(n, ast.Return) and n.value is not None for n in inside)
    keeps = any(isinstance(n, ast.Attribute | ast.Subscript) and isinstance(n.ctx, ast.Store) for n in inside)
    return any(isinstance(n, ast.Raise) for n in inside) and not (gives or keeps)


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.AnnAssign):
        yield node.annotation
    if isinstance(node, ast.arg) and node.annotation:
        yield node.annotation
    if isinstance(node, Function) and node.returns:
        yield node.returns


def _first_name(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def same_program(before: bytes, after: bytes) -> bool:
    """Whether both compile to the same instructions: then they cannot behave apart, but for line numbers."""
    return _plain(compile(before, "model", "exec")) == _plain(compile(after, "model", "exec"))


def _plain(code: CodeType) -> tuple[object, ...]:
    """All of a code object but where it is."""
    constants = tuple(_plain(c) if isinstance(c, CodeType) else (type(c).__name__, repr(c)) for c in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags)
    return (code.co_name, code.co_code, constants, names, counts)
