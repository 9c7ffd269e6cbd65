"""How two functions differ in their source, whatever they call their variables."""

from __future__ import annotations

import ast
import copy
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator

from verify.divergence.sources import Function

MOST_LINES = 12
LONGEST, LONGEST_FUNCTION = 160, 120
ALIKE, NEARLY = 0.5, 0.8
"""How alike what differs must be, or else all, for the difference to help."""
OWN = ("self", "cls")


def difference(reference: Function, candidate: Function) -> list[str]:
    """The lines that only the reference has, as "- line", and those that only the candidate has, as "+ line", in order; []
    where there are none or the functions are too unlike for that to help. The reference's names are replaced by those that
    the candidate has in their places."""
    named = _Renamed(_names(reference, candidate)).visit(copy.deepcopy(reference))
    left, right = _lines(named), _lines(candidate)
    if max(len(left), len(right)) > LONGEST_FUNCTION:
        return []
    told, theirs, mine = [], [], []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal":
            theirs += left[i1:i2]
            mine += right[j1:j2]
            told += [f"- {line[:LONGEST]}" for line in left[i1:i2]] + [f"+ {line[:LONGEST]}" for line in right[j1:j2]]
    if _ratio(theirs, mine) < ALIKE and _ratio(left, right) < NEARLY:
        return []
    return told if len(told) <= MOST_LINES else [*told[:MOST_LINES], "…"]


def _ratio(left: list[str], right: list[str]) -> float:
    return difflib.SequenceMatcher(None, "\n".join(left), "\n".join(right), autojunk=False).ratio()


def _lines(function: Function) -> list[str]:
    """The body as Python writes it, without what documents it."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return [line for statement in body for line in ast.unparse(statement).splitlines()]


def _names(reference: Function, candidate: Function) -> dict[str, str]:
    """By the reference's names those of the candidate that stand in their places most often. A name that both use is the
    same to both: one that stands in another's place is what differs."""
    ours, theirs = Counter(_own_names(candidate)), Counter(_own_names(reference))
    votes: Counter[tuple[str, str]] = Counter()
    left, right = list(_parts(reference)), list(_parts(candidate))
    shapes = [_shape(part) for part in left], [_shape(part) for part in right]
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, shapes[0], shapes[1], autojunk=False).get_opcodes():
        if tag == "equal" or i2 - i1 == j2 - j1:
            for a, b in zip(left[i1:i2], right[j1:j2], strict=True):
                pair = list(_own_names(a)), list(_own_names(b))
                if len(pair[0]) == len(pair[1]):
                    votes.update(dict.fromkeys(zip(*pair, strict=True), 2 if tag == "equal" else 1))
    names: dict[str, str] = {}
    for (old, new), _ in votes.most_common():
        if old not in ours and new not in theirs and old not in names and new not in names.values():
            names[old] = new
    return names


def _parts(function: Function) -> Iterator[ast.AST]:
    """The arguments, then the statements in order, of one that holds others its head alone."""
    yield function.args
    todo: list[ast.stmt] = list(reversed(function.body))
    while todo:
        statement = todo.pop()
        inner = [s for name in ("body", "orelse", "finalbody") for s in getattr(statement, name, [])]
        if inner:
            yield from (part for part in ast.iter_child_nodes(statement) if isinstance(part, ast.expr | ast.withitem))
            todo += reversed(inner)
        else:
            yield statement


def _shape(part: ast.AST) -> str:
    """A part of the source whatever its own names and numbers are."""
    blank = _Renamed(None).visit(copy.deepcopy(part))
    return ast.dump(blank)


def _own_names(part: ast.AST) -> Iterable[str]:
    """Variables, and attributes of `self` with a dot before them, in order."""
    for node in ast.walk(part):
        if isinstance(node, ast.arg) and node.arg not in OWN:
            yield node.arg
        elif isinstance(node, ast.Name) and node.id not in OWN:
            yield node.id
        elif _of_self(node):
            yield f".{node.attr}"  # type: ignore[attr-defined]


def _of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in OWN


class _Renamed(ast.NodeTransformer):
    """Gives names others; with None for `names` all names and numbers become one."""

    def __init__(self, names: dict[str, str] | None) -> None:
        self.names = names

    def _of(self, name: str) -> str:
        return "_" if self.names is None else self.names.get(name, name)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        if node.arg not in OWN:
            node.arg = self._of(node.arg)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in OWN:
            node.id = self._of(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if _of_self(node):
            node.attr = self._of(f".{node.attr}").removeprefix(".")
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(None) if self.names is None else node
