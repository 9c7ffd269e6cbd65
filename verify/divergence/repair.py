"""Which one small change of what the candidate computes would give what the reference has.

Where several operations together have no counterpart, values alone do not say which of them is at fault. So changes that
people make by mistake are tried on the recorded operations: another value read, two exchanged, another operator, a sign,
a factor or summand lost, another order of parts. Where all that would mend the value lie on one line, that line is named.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from verify.divergence.graph import PARTS, VIEWS, Graph, Operation
from verify.divergence.replay import SAME_ORDER, Opaque, Replay
from verify.divergence.suspects import Suspects

Array = NDArray[Any]
Close = Callable[[Array, Array], bool]
FEWEST = 4
"""Least different numbers of a value that a change is believed to mend."""
MOST_OPERATIONS = 24
MOST_AT_HAND = 60
MOST_ATOMS = 24
MOST_ELEMENTS = 600_000_000
"""Elements that may be made anew in one search, which bounds its time: some seconds."""
TURNS = frozenset({"transpose", "permute", "t", "expand", "slice", "select", "unbind", "split", "split_with_sizes"})
ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
Way = Literal["operand", "exchanged", "operator", "lost"]


@dataclass(frozen=True)
class Repair:
    """A change that mends a value. operation: where; way: what kind. read: the value that was read, and wanted: what
    should have been, of the candidate or (`foreign`) of the reference."""

    operation: Operation
    way: Way
    read: int | None = None
    wanted: int | None = None
    foreign: bool = False


@dataclass(frozen=True)
class _Edit:
    """Values that change at an operation, and from which operation on; the way it would be explained."""

    repair: Repair
    changed: Mapping[int, Array]
    start: int


class Workshop:
    """Tries changes of the operations behind one value. close: whether two arrays agree."""

    def __init__(
        self, graph: Graph, found: Suspects, region: list[Operation], mine: Mapping[int, Array], close: Close
    ) -> None:
        self._graph, self._mine, self._close = graph, mine, close
        self._region = region
        self._replay = Replay(self._region, mine, close)
        inner = {n for o in self._region for n in o.outputs}
        read = dict.fromkeys(n for o in self._region for n in o.inputs if n not in inner)
        near = dict.fromkeys([*read, *at_hand(graph, self._region)])
        usable = [n for n in near if n in mine and n not in found.values and n not in inner]
        self._atoms = [n for n in usable if mine[n].dtype.kind == "f" and mine[n].size > 1 and not graph.root(n)]
        self._atoms = self._atoms[:MOST_ATOMS]

    def repairs(self, target: int, expected: Array, theirs: Mapping[int, Array]) -> list[Repair]:
        """Changes after which the value `target` would be as expected; the simplest kind that there is of any.

        None where some operation cannot be done anew, for the fault may be there, nor where what is expected is nothing or
        one number, which many a change would give.
        theirs: values of the reference that may be what should have been read.
        """
        if len(self._region) > MOST_OPERATIONS or not self._replay.complete or len(np.unique(expected)) < FEWEST:
            return []
        for kind in (self._exchanges, self._operands, self._operators, self._losses):
            found = [e.repair for e in kind() if self._mends(e, target, expected)]
            if found:
                return found
        found = self.foreign(target, expected, theirs)
        return found or [e.repair for e in self._products() if self._mends(e, target, expected)]

    def foreign(self, target: int, expected: Array, theirs: Mapping[int, Array]) -> list[Repair]:
        """Those that read a value of the reference's in another's place. Arguments as for `repairs`."""
        if not self._replay.complete or len(np.unique(expected)) < FEWEST:
            return []
        return [e.repair for e in self._foreign(theirs) if self._mends(e, target, expected)]

    def _mends(self, edit: _Edit, target: int, expected: Array) -> bool:
        if self._replay.elements > MOST_ELEMENTS:
            return False
        try:
            made = self._replay.after(edit.changed, target, edit.start)
        except Opaque:
            return False
        whole = made.size == expected.size and not np.isnan(made).any()
        return whole and self._close(made, expected.reshape(made.shape))

    def _exchanges(self) -> Iterator[_Edit]:
        """Two values that are read from outside, each in the other's place."""
        for a, b in itertools.combinations(self._atoms, 2):
            if self._mine[a].shape == self._mine[b].shape:
                first = next((o for o in self._region if a in o.inputs or b in o.inputs), None)
                if first is None:
                    continue
                repair = Repair(first, "exchanged", a, b)
                yield _Edit(repair, {a: self._mine[b], b: self._mine[a]}, -1)

    def _operands(self) -> Iterator[_Edit]:
        """One operation reads another value that is at hand."""
        for operation in self._region:
            for place, number in enumerate(operation.inputs):
                for other in self._at_hand(operation):
                    if other != number and self._mine[other].shape == self._mine[number].shape:
                        yield from self._given(operation, place, self._mine[other], Repair(operation, "operand", number, other))  # fmt: skip

    def _foreign(self, theirs: Mapping[int, Array]) -> Iterator[_Edit]:
        """One value that is read from outside is another of the reference's, in the same order of elements."""
        for atom in self._atoms:
            shape = self._mine[atom].shape
            for number, array in theirs.items():
                if array.size == self._mine[atom].size and array.size > 1 and array.dtype.kind == "f":
                    first = next((o for o in self._region if atom in o.inputs), None)
                    if first is not None:
                        yield _Edit(Repair(first, "operand", atom, number, True), {atom: array.reshape(shape)}, -1)

    def _operators(self) -> Iterator[_Edit]:
        """A sign, another of the four operations, one left out, parts in another order, another axis."""
        for operation in self._region:
            repair = Repair(operation, "operator")
            given = [self._mine[n] for n in operation.inputs]
            for place, array in enumerate(given):
                if array.dtype.kind == "f" and operation.short not in SAME_ORDER:
                    yield from self._given(operation, place, -array, repair)
            if len(operation.outputs) == 1:
                for made in self._instead(operation, given):
                    if made.shape == self._mine[operation.outputs[0]].shape:
                        yield _Edit(repair, {operation.outputs[0]: made}, operation.order)

    def _instead(self, operation: Operation, given: list[Array]) -> Iterator[Array]:
        short = operation.short
        if short in ARITHMETIC and len(given) == 2:
            a, b = given
            with np.errstate(all="ignore"):
                yield from (f(a, b) for f in (np.add, np.subtract, np.multiply, np.divide))
                yield from (b - a, b / a)
            yield from (a, b)
        elif short in ("stack", "cat"):
            axes = [s for s in operation.scalars if isinstance(s, int) and not isinstance(s, bool)]
            join = np.stack if short == "stack" else np.concatenate
            if len(given) <= 4 and len({a.shape for a in given}) == 1:
                for order in itertools.permutations(given):
                    yield join(list(order), axis=axes[0] if axes else 0)
                whole = join(given, axis=axes[0] if axes else 0)
                yield from (join(given, axis=n) for n in range(whole.ndim))
        elif len(given) == 1 and given[0].dtype.kind == "f":
            yield given[0]

    def _losses(self) -> Iterator[_Edit]:
        """A factor or a summand that is at hand was left out, or is one too many."""
        for operation in self._region:
            if operation.short in SAME_ORDER | TURNS:
                continue
            for place, number in (*enumerate(operation.inputs), (-1, operation.outputs[0])):
                array = self._mine[number]
                others = [n for n in self._at_hand(operation) if n != number] if array.dtype.kind == "f" else []
                for other in others:
                    for made in _combined(array, self._mine[other]):
                        yield from self._put(operation, place, made, Repair(operation, "lost", number, other))

    def _products(self) -> Iterator[_Edit]:
        """A summand or factor was left out that is a product of two values at hand."""
        for operation in self._region:
            if operation.short in SAME_ORDER | TURNS or len(operation.outputs) != 1:
                continue
            array = self._mine[operation.outputs[0]]
            for a, b in itertools.combinations(self._atoms, 2):
                product = _broadcast(np.multiply, self._mine[a], self._mine[b])
                if product is not None and product.shape == array.shape:
                    for made in (array + product, array - product):
                        yield from self._put(operation, -1, made, Repair(operation, "lost", operation.outputs[0], a))

    def _at_hand(self, operation: Operation) -> list[int]:
        """Values that the operation could have read: those from outside, and those made before it."""
        made = [n for o in self._region if o.order < operation.order for n in o.outputs]
        return [*self._atoms, *(n for n in made if self._mine[n].dtype.kind == "f")]

    def _put(self, operation: Operation, place: int, array: Array, repair: Repair) -> Iterator[_Edit]:
        """Another value for one input of an operation, or with -1 for its output."""
        if place >= 0:
            yield from self._given(operation, place, array, repair)
        elif array.shape == self._mine[operation.outputs[0]].shape:
            yield _Edit(repair, {operation.outputs[0]: array}, operation.order)

    def _given(self, operation: Operation, place: int, array: Array, repair: Repair) -> Iterator[_Edit]:
        """What the operation makes where one of its inputs is another; others that read that value keep theirs."""
        if array.shape != self._mine[operation.inputs[place]].shape:
            return
        made = self._replay.once(operation, place, array)
        if made is not None:
            yield _Edit(repair, dict(zip(operation.outputs, made, strict=True)), operation.order)


def at_hand(graph: Graph, region: list[Operation]) -> list[int]:
    """What the functions that the region's operations were asked for in had made or been given before, nearest first:
    what lines of these calls made, and of what is read, that of which it is a part or view."""
    calls = {_call(o) for o in region}
    last = region[-1].order if region else 0
    made = [n for o in graph.operations[:last] if _call(o) in calls for n in o.outputs]
    inner = {n for o in region for n in o.outputs}
    chain: dict[int, None] = {}
    for number in (n for o in region for n in o.inputs if n not in inner):
        maker = graph.producer(number)
        while maker is not None and maker.short in VIEWS | PARTS and len(maker.inputs) == 1:
            chain[maker.inputs[0]] = None
            maker = graph.producer(maker.inputs[0])
    return list(dict.fromkeys([*made[::-1], *chain]))[:MOST_AT_HAND]


def _call(operation: Operation) -> tuple[Any, ...]:
    """What tells one call of a function from another: the function, the lines that called it and the module's call."""
    frames = [f for f in operation.stack if f.own]
    function = (frames[0].file, frames[0].function) if frames else ("", "")
    return (operation.path, function, tuple((f.file, f.line, f.at) for f in frames[1:]))


def _combined(array: Array, other: Array) -> Iterator[Array]:
    """An array with one more factor or summand, in its own shape."""
    for function in (np.multiply, np.add, np.divide, np.subtract):
        made = _broadcast(function, array, other)
        if made is not None and made.shape == array.shape:
            yield made


def _broadcast(function: Callable[..., Any], a: Array, b: Array) -> Array | None:
    try:
        with np.errstate(all="ignore"):
            made: Array = np.asarray(function(a, b))
    except ValueError:
        return None
    return made
