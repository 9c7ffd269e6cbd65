"""Which small changes of the candidate's source to try, and in which order: those nearest to what is suspected first."""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import near
from verify.divergence.course import Course
from verify.divergence.graph import PARTS, VIEWS, Frame, Graph
from verify.divergence.slips import (
    HEAVY,
    LIGHT,
    Words,
    more,
    negated,
    other_literal,
    own_step,
    scope,
    step_alike,
    words_of,
)
from verify.divergence.sources import Sources
from verify.divergence.wording import Wording
from verify.edits import Edit, Function, Tree

MOST_MENDS = 3000
MOST_SECONDS = 15.0
"""What all tries of one variant may take, as `seconds` reckons: by the clock, the answer would depend on what else the
machine does."""
PER_TRY, PER_OPERATION, PER_ELEMENT = 3e-3, 5e-5, 3e-9
"""Seconds for each change, each operation that its pass dispatches, and each element that one makes, on two cores."""
UNUSUAL = 3
"""What each piece of source that nobody writes elsewhere weighs; see `wording`."""
IDLE = 4
"""What it weighs less to read something that is there and that nothing reads."""
PER_MODEL = 3
"""Passes that a model made anew takes the time of."""
MOST_FUNCTIONS = 20
HEAVY_WITHIN = 2
"""How near a line must be for changes that take away or add a step."""
NOTHING = Course()
INNOCENT = 4
"""What a change of a line that made nothing wrong weighs more."""
TOUCHY = frozenset({"open", "os", "shutil", "subprocess", "pathlib", "Path", "socket", "sys", "exec", "eval"})
"""A function that speaks of one of these is left as it is: what it does besides computing is not to be tried out."""
TOUCHING = (
    "save",
    "dump",
    "write",
    "tofile",
    "to_csv",
    "unlink",
    "remove",
    "rmtree",
    "rename",
    "mkdir",
    "post",
    "put",
    "send",
)
"""So is one that calls a method or function whose name begins so."""
NAME = re.compile(r"[^\W\d]\w*")
MOST_FOUND = 20_000
"""Changes that are made out at all. A class of thousands of attributes has millions."""


@dataclass(frozen=True)
class Suspected:
    """A line that may be at fault. nearness: 0 for the line that is blamed, larger for those further away; making:
    whether it runs while a model is made."""

    frame: Frame
    nearness: int
    making: bool = False


@dataclass(frozen=True)
class Mend:
    """One change to try. frame: its line; first, name: its function; weight: the lower the likelier. light: whether it
    only puts one thing for another; see `slips`; sign: whether it is but a minus more;
    alike: whether it is a call more where the reference has it too, or of a module that nothing called; adds: whether it adds a step. away: lines between it and the nearest that is suspected of its function."""

    frame: Frame
    edit: Edit
    old: str
    first: int
    name: str
    making: bool
    weight: int
    light: bool
    away: int = 0
    sign: bool = False
    alike: bool = False
    adds: bool = False

    def told(self, source: bytes) -> tuple[str, str]:
        """The changed lines as they are and as they would be, without their indentation."""
        start = source.rfind(b"\n", 0, self.edit.start) + 1
        end = source.find(b"\n", self.edit.end)
        end = len(source) if end < 0 else end
        before = source[start:end].decode("utf-8", "replace")
        after = f"{source[start : self.edit.start].decode()}{self.edit.new}{source[self.edit.end : end].decode()}"
        return _joined(before), _joined(after)


def mends(
    suspected: Sequence[Suspected],
    candidate: Sources,
    reference: Sources,
    theirs: Iterable[Frame],
    ran: Course = NOTHING,
) -> list[Mend]:
    """Changes of the functions that suspected lines are in, the likeliest first.

    theirs: lines of the reference whose functions say what might be meant. ran: what the candidate's pass says of its lines;
    changes of what ran too late are left out.
    """
    places = _places(suspected, candidate)
    trees, spoken = list({id(p.tree): p.tree for p in places}.values()), _spoken(theirs, reference)
    words = words_of(spoken, trees, ran.uncalled)
    said = {id(tree): tree for tree in (*trees, *(tree for tree, _ in spoken))}
    wording = Wording(tree.source.decode("utf-8", "replace") for tree in said.values())
    found: dict[tuple[str, int, int, str], Mend] = {}
    made = (mend for place in places for mend in _of_place(place, words, wording, ran))
    for mend in itertools.islice(made, MOST_FOUND):
        key = (mend.frame.file, mend.edit.start, mend.edit.end, mend.edit.new)
        if key not in found or mend.weight < found[key].weight:
            found[key] = mend
    return sorted(found.values(), key=lambda m: (m.weight, m.away))[:MOST_MENDS]


@dataclass
class Budget:
    """What is left of MOST_SECONDS."""

    left: float = MOST_SECONDS

    def affordable(self, tries: Sequence[Mend], prices: Prices) -> list[Mend]:
        """As many of the first as there is time for."""
        spent = itertools.accumulate(prices.of(mend) for mend in tries)
        return [mend for mend, so_far in zip(tries, spent, strict=True) if so_far <= self.left]

    def spend(self, tried: Iterable[Mend], prices: Prices) -> None:
        self.left -= sum(map(prices.of, tried))


@dataclass(frozen=True)
class Prices:
    """Seconds that a change is reckoned to take: one that is tried on the model that is there, which ends at the gate
    unless the gate's module gives what it should, and one that takes a model made anew."""

    until_gate: float
    model: float

    def of(self, mend: Mend) -> float:
        return self.model if mend.making else self.until_gate


def prices(candidate: Graph, until: int | None) -> Prices:
    """until: how many operations run before a pass ends that mends nothing; None: all."""
    return Prices(seconds(candidate, until), PER_MODEL * seconds(candidate))


def seconds(candidate: Graph, until: int | None = None) -> float:
    """What a pass with a change is reckoned to take. until: how many operations of it run; None: all."""
    ran = candidate.operations[:until]
    made = (number for one in ran if one.short not in VIEWS | PARTS for number in one.outputs)
    elements = sum(candidate.values[number].count for number in made)
    return PER_TRY + len(ran) * PER_OPERATION + elements * PER_ELEMENT


def wanted(reference: Graph, paths: Iterable[str], allowed: float) -> dict[str, Any] | None:
    """Of outputs that differ the first that the reference has, with its print and how far another may be from it."""
    path = next((path for path in paths if path in reference.outputs), None)
    if path is None:
        return None
    number = reference.outputs[path]
    vector = reference.vectors[number]
    if not bool(np.isfinite(vector).all()):
        return None
    return {"path": path, "print": vector.tolist(), "allowed": allowed * max(reference.values[number].count, 1) ** 0.5}


Given = Mapping[str, tuple[tuple[int, ...], NDArray[np.float64]]]
"""Of what a pass gave, by path: the shape and the print."""


def given_by(reference: Graph) -> Given:
    return {path: (reference.values[n].shape, reference.vectors[n]) for path, n in reference.outputs.items()}


def given_in(one: Mapping[str, Any], rows: Any) -> Given:
    """The same of one of the tries of `observer/mended.py`, with its array. Raises ValueError, KeyError or TypeError."""
    shapes = (tuple(map(int, shape)) for shape in one["shapes"])
    given = zip(shapes, np.asarray(rows, dtype=np.float64), strict=True)
    return dict(zip(map(str, one["outputs"]), given, strict=True))


def agrees(wanted: Given, given: Given, allowed: float) -> bool:
    """Whether what a changed candidate gave is what the reference gave: every output, and some."""
    return bool(wanted) and all(
        path in given
        and given[path][0] == shape
        and bool(near(given[path][1], vector, math.prod(shape), allowed).all())
        for path, (shape, vector) in wanted.items()
    )


@dataclass
class _Place:
    """A function that has suspected lines, with how near each is. making: whether it runs while a model is made."""

    tree: Tree
    function: Function
    file: str
    name: str
    lines: dict[int, int]
    making: bool


def _places(suspected: Sequence[Suspected], sources: Sources) -> list[_Place]:
    found: dict[tuple[str, int], _Place] = {}
    for one in sorted(suspected, key=lambda s: s.nearness):
        frame, tree = one.frame, sources.editable(one.frame.file)
        function = _outermost(tree, frame.line) if tree is not None else None
        if tree is None or function is None or _touchy(function):
            continue
        key = (frame.file, function.lineno)
        if key not in found and len(found) < MOST_FUNCTIONS:
            found[key] = _Place(tree, function, frame.file, frame.function, {}, one.making)
        if key in found:
            found[key].lines.setdefault(frame.line, one.nearness)
            found[key].making |= one.making
    return list(found.values())


def _spoken(frames: Iterable[Frame], sources: Sources) -> list[tuple[Tree, Function]]:
    found: dict[tuple[str, int], tuple[Tree, Function]] = {}
    for frame in dict.fromkeys(frames):
        tree = sources.editable(frame.file)
        function = _outermost(tree, frame.line) if tree is not None else None
        if tree is not None and function is not None:
            found.setdefault((frame.file, function.lineno), (tree, function))
    return list(found.values())[:MOST_FUNCTIONS]


def _outermost(tree: Tree, line: int) -> Function | None:
    """The outermost function that a line is in: what is nested in it goes with it."""
    found = [f for f in tree.functions if f.lineno <= line <= (f.end_lineno or 0)]
    return min(found, key=lambda f: f.lineno, default=None)


def _of_place(place: _Place, words: Words, wording: Wording, ran: Course) -> Iterable[Mend]:
    tree, function = place.tree, place.function
    if ran.late(place.file, _lines(function)):
        return
    inside = scope(tree, function, words)
    beyond = min(place.lines.values(), default=0) + 1
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    for statement in (n for n in ast.walk(function) if isinstance(n, ast.stmt)):
        lines = [line for line in _lines(statement) if _on(statement, line)]
        if ran.late(place.file, lines):
            continue
        far = min([beyond, *(n for line, n in place.lines.items() if _on(statement, line))])
        doubt = INNOCENT if ran.innocent(place.file, lines) else 0
        slips = [(w, True, slip) for w, slip in LIGHT]
        slips += [(w, False, slip) for w, slip in HEAVY if far <= HEAVY_WITHIN or slip is own_step]
        for node, (weight, light, slip) in itertools.product(_own(statement), slips):
            for edit in slip(inside, node):
                old = tree.source[edit.start : edit.end].decode("utf-8", "replace")
                frame = Frame(place.file, edit.line, place.name, True, -1)
                away = min((abs(edit.line - line) for line in place.lines), default=0)
                sign, alike = slip is negated, slip in (own_step, step_alike)
                weighs = 2 * far + weight + (0 if alike else doubt)  # a step that is lost leaves the rest right
                what = (frame, edit, old, first, function.name, place.making, weighs)
                mend = Mend(*what, light=light, away=away, sign=sign, alike=alike, adds=alike or slip is more)
                # A sign reads as well with as without; what takes something away leaves less that could be unusual.
                if light and not sign:
                    unusual = wording.strangeness(*mend.told(tree.source))
                    if slip is other_literal:  # a number that nobody writes elsewhere is no sign of a slip
                        unusual = min(unusual, 0)
                    reads = IDLE if _names(edit.new) & inside.idle - _names(old) else 0
                    mend = replace(mend, weight=mend.weight + UNUSUAL * unusual - reads)
                yield mend


def _names(text: str) -> set[str]:
    return set(NAME.findall(text))


def _touchy(function: Function) -> bool:
    nodes = list(ast.walk(function))
    named = any(isinstance(n, ast.Name) and n.id in TOUCHY for n in nodes)
    called = (n.func for n in nodes if isinstance(n, ast.Call))
    names = (f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in called)
    return named or any(name.lstrip("_").startswith(TOUCHING) for name in names)


def _own(statement: ast.stmt) -> Iterable[ast.AST]:
    """A statement and what is in it, but for statements inside it, annotations and documentation."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        yield node
        skipped = {getattr(node, name, None) for name in ("annotation", "returns")}
        todo += [n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.stmt) and n not in skipped]


def _on(statement: ast.stmt, line: int) -> bool:
    """Whether a line is of a statement itself, and not of those inside it."""
    if isinstance(statement, ast.FunctionDef | ast.If | ast.For | ast.While | ast.With | ast.Try):
        return statement.lineno == line
    return statement.lineno <= line <= (statement.end_lineno or statement.lineno)


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines())
