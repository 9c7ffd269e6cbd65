"""From a value that is wrong as a whole to the operation behind it that made it so.

The two sides may compute a value in different steps, so only the last of them has a counterpart. What the value should
be is known, and is followed backwards: through layouts, stacks and invertible arithmetic, and through operations that
both sides have, to the first operation whose inputs are as they should be.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import HUGE, Level
from verify.divergence.graph import PARTS, TURNS, VIEWS, Graph, Operation
from verify.divergence.repair import ARITHMETIC, Repair, Workshop
from verify.divergence.suspects import Suspects
from verify.divergence.trials import Match, layouts, paired

Array = NDArray[Any]
MOST_STEPS = 60
CLOSE = 1e-7
How = Literal["differs", "operand", "extra", "added"]
SELECTORS = frozenset(
    {"gather", "index_select", "index", "flip", "roll", "slice", "select", "expand", "repeat", "unbind", "split",
     "split_with_sizes", "sort", "rot90", "take", "take_along_dim", "repeat_interleave"}
)  # fmt: skip
"""Operations that choose or order what they are given."""
LOGIC = frozenset({"bitwise_and", "bitwise_or", "bitwise_not", "logical_and", "logical_or", "logical_not"})
"""Operations that make masks of masks."""


@dataclass(frozen=True)
class Blamed:
    """The operation, how it is at fault, and whether each step to it was decided by values.

    extra: the reference uses what the steps up to this operation were given. added: this operation is one step too
    many. wanted: the reference value that should be there. repair: the change that would mend it, where one was found.
    """

    operation: Operation
    how: How
    sure: bool
    number: int
    wanted: int | None = None
    repair: Repair | None = None


@dataclass
class Blame:
    """Follows what a value should be backwards. mine, theirs: captured values by number."""

    match: Match
    mine: Mapping[int, Array]
    theirs: Mapping[int, Array]
    _target: tuple[int, Array] | None = field(default=None, init=False)
    """The first value on the way that no operation of the reference's makes in the same step, and what it should be."""
    _last: tuple[int, Array] | None = field(default=None, init=False)
    """The last value on the way, and what it should be, where that is known."""

    def follow(self, number: int, expected: Array | None, wanted: int | None, reader: Operation) -> Blamed:
        """number: a candidate value. expected: what it should hold, in its shape. wanted: the reference's value. reader:
        the operation that was given it, which is blamed where no operation was seen that made it."""
        found = self._followed(number, expected, wanted, reader)
        if found.sure or found.how != "differs" or self._target is None:
            return found
        repair = self._mended(*self._target)
        return found if repair is None else replace(found, operation=repair.operation, sure=False, repair=repair)

    def _mended(self, target: int, expected: Array) -> Repair | None:
        """The change that would mend a value, where all that would are on one line."""
        graph, found = self.match.candidate, self.match.candidate_suspects
        maker = graph.producer(target)
        region = behind(graph, found, maker) if maker is not None else []
        if len(region) < 2:
            return None
        workshop = Workshop(graph, found, region, self.mine, same)
        repairs = workshop.repairs(target, expected, self.theirs)
        places = {(f.file, f.line) for f in (r.operation.frame for r in repairs) if f is not None}
        return repairs[0] if len(places) == 1 else None

    def foreign(self, found: Blamed) -> Repair | None:
        """Of arithmetic that was followed to, which is seldom wrong itself: the one value that was read in the place of one
        that only the reference has, should that give what it should."""
        operation, target = found.operation, self._last
        if operation.short not in ARITHMETIC or target is None or target[0] not in operation.outputs:
            return None
        strange = {n: a for n, a in self.theirs.items() if not self.match.known_reference.good(n)}
        workshop = Workshop(self.match.candidate, self.match.candidate_suspects, [operation], self.mine, same)
        repairs = workshop.foreign(*target, strange)
        return repairs[0] if len({r.read for r in repairs}) == 1 else None

    def _followed(self, number: int, expected: Array | None, wanted: int | None, reader: Operation) -> Blamed:
        graph, sure = self.match.candidate, True
        for _ in range(MOST_STEPS):
            operation = graph.producer(number)
            if operation is None:  # a constant, or what was made where nobody looked
                return Blamed(reader, "differs", False, number, wanted)
            reader = operation
            private = [n for n in dict.fromkeys(operation.inputs) if n in self.match.candidate_suspects.values]
            self._last = (number, expected) if expected is not None else None
            if not private:
                return Blamed(operation, "differs", sure, number, wanted)
            one_more = self._added(operation, private, wanted)
            if one_more is not None:
                return Blamed(one_more, "added", sure, number, wanted)
            step = self._through_counterpart(operation, private, wanted)
            compared = step is not None
            if step is None:
                if expected is not None and self._target is None and number in self.mine:
                    self._target = number, expected
                step = self._backwards(operation, number, private, expected, wanted)
            if step is None:
                chosen = self._selection(operation, private, expected)
                return Blamed(chosen or self._first(operation), "differs", False, number, wanted)
            wrong, sure_step = step
            sure = sure and sure_step
            if not wrong:
                return Blamed(operation, "differs", sure, number, wanted)
            number, expected, wanted = wrong[0]
            sure = sure and len(wrong) == 1
            if compared and wanted is not None and self.match.known_reference.good(wanted):
                if not self._leads(wanted, number):
                    return Blamed(operation, "operand", sure, number, wanted)
                return Blamed(self._outermost(number, wanted), "extra", sure, number, wanted)
            at_hand = self._elsewhere(number, expected) if expected is not None else None
            if at_hand is not None:
                step_more = self._between(at_hand, number)
                how: How = "operand" if step_more is None else "added"
                return Blamed(step_more or operation, how, sure, number, wanted)
        raise ValueError("what a value should be leads through too many steps")

    def _added(self, operation: Operation, private: list[int], wanted: int | None) -> Operation | None:
        """The first step to an input that the reference's operation of the same kind does without."""
        maker = None if wanted is None else self.match.reference.producer(self.match.reference.behind(wanted))
        if maker is None or maker.short != operation.short or len(maker.inputs) >= len(operation.inputs):
            return None
        if operation.short in VIEWS | PARTS | {"cat", "stack"}:
            return None
        source = self.match.candidate.producer(private[-1])
        return steps(self.match.candidate, self.match.candidate_suspects, source)[0] if source is not None else None

    def _through_counterpart(
        self, operation: Operation, private: list[int], wanted: int | None
    ) -> tuple[list[tuple[int, Array | None, int | None]], bool] | None:
        """Where the reference does the same operation: which of its operands this one was not given."""
        if wanted is None:
            return None
        reference = self.match.reference
        maker = reference.producer(reference.behind(wanted))
        if maker is None or maker.short != operation.short or operation.short in VIEWS | PARTS:
            return None
        if len(maker.inputs) != len(operation.inputs):
            return None
        wrong: list[tuple[int, Array | None, int | None]] = []
        for mine, theirs in paired(self.match, operation.inputs, maker.inputs, operation.short):
            if mine in private:
                expected = self._shaped(theirs, mine)
                actual = self.mine.get(mine)
                if expected is None or actual is None or not same(expected, actual):
                    wrong.append((mine, expected, theirs))
        return wrong, True

    def _shaped(self, theirs: int, mine: int) -> Array | None:
        """A reference value in the shape of a candidate value: the axis order in which they are closest."""
        a, b = self.mine.get(mine), self.theirs.get(theirs)
        if a is None or b is None or a.size != b.size:
            return None
        options = [b.reshape(a.shape)]
        if tuple(n for n in a.shape if n != 1) != tuple(n for n in b.shape if n != 1):
            options += [np.ascontiguousarray(b.transpose(p)).reshape(a.shape) for p in layouts(b.shape, a.shape)]
        return min(options, key=lambda o: _distance(o, a))

    def _backwards(
        self, operation: Operation, number: int, private: list[int], expected: Array | None, reference_value: int | None
    ) -> tuple[list[tuple[int, Array | None, int | None]], bool] | None:
        """What the operation's private inputs should be for its output to be right; those that are not so."""
        if operation.short in VIEWS and reference_value is not None and len(private) == 1 and expected is None:
            return [(private[0], None, reference_value)], True
        if expected is None or any(n not in self.mine for n in private):
            return None
        try:
            wanted = _inverse(operation, operation.outputs.index(number), expected, self.mine)
        except (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError):
            return None
        if wanted is None:
            return None
        if operation.short == "expand" and not _repeats(expected, wanted[operation.inputs[0]]):
            return [], False
        twin = reference_value if operation.short in VIEWS else None
        found = [(n, w, twin) for n, w in wanted.items() if n in private and not same(w, self.mine[n])]
        if len(found) > 1 and operation.short in ("add", "sub", "mul", "div"):
            elements = self.match.known_candidate.elements
            strange = [f for f in found if not elements[f[0]]]
            if len(strange) == 1:
                return [(n, w, None) for n, w, _ in strange], True
            return self._simpler([(n, w, None) for n, w, _ in found]), False
        return [(n, w, None) for n, w, _ in found], True

    def _simpler(self, found: list[tuple[int, Array, None]]) -> list[tuple[int, Array | None, int | None]]:
        """Of operands one of which is wrong, the one that a sign or a permutation would mend comes first."""

        def strangeness(item: tuple[int, Array, None]) -> float:
            number, wanted, _ = item
            a, b = np.sort(np.abs(self.mine[number]).ravel()), np.sort(np.abs(wanted).ravel())
            scale = float(np.abs(b).max()) or 1.0
            return float(np.abs(a - b).max()) / scale

        return [(n, w, None) for n, w, _ in sorted(found, key=strangeness)]

    def _elsewhere(self, number: int, expected: Array) -> int | None:
        """Another value that the candidate has at hand and that is what this one should be: one that it comes of, if there is."""
        if expected.size < 2 or len(np.unique(expected)) < 2 or _flags(self.mine[number]):
            return None
        graph, behind = self.match.candidate, self.match.candidate.behind(number)
        made = (n for n, a in self.mine.items() if a.size == expected.size and graph.values[n].producer is not None)
        others = (n for n in made if graph.behind(n) != behind)
        alike = [n for n in others if same(expected, self.mine[n].reshape(expected.shape))]
        before = graph.ancestors(number) if alike else set()
        return next((n for n in alike if n in before), alike[0] if alike else None)

    def _between(self, start: int, end: int) -> Operation | None:
        """The first operation on the way from one value to another, views left out; None if there is no way."""
        graph = self.match.candidate
        reached = {start}
        first = None
        target = graph.producer(end)
        for operation in graph.operations[: target.order + 1 if target else 0]:
            if any(n in reached for n in operation.inputs):
                reached.update(operation.outputs)
                if first is None and operation.short not in VIEWS:
                    first = operation
        return first if end in reached else None

    def _selection(self, operation: Operation, private: list[int], expected: Array | None) -> Operation | None:
        """An operation that chooses, given all that it should choose from."""
        if operation.short in SELECTORS and expected is not None:
            for number in private:
                if (
                    number in self.mine
                    and self.mine[number].dtype.kind == "f"
                    and _contains(self.mine[number], expected)
                ):
                    index = [n for n in private if self.match.candidate.values[n].kind == "whole"]
                    maker = self.match.candidate.producer(self.match.candidate.whole(index[0])) if index else None
                    return maker or operation
        return None

    def _leads(self, wanted: int, number: int) -> bool:
        """Whether a value comes of what the candidate has for a value of the reference."""
        graph = self.match.candidate
        before = {graph.behind(n) for n in graph.ancestors(number)}
        twins = self.match.known_reference.twins.get(self.match.reference.behind(wanted), [])
        return any(graph.behind(t) in before for t in (*twins, *self.match.known_reference.twins.get(wanted, [])))

    def _outermost(self, number: int, wanted: int) -> Operation:
        """The last operation of those that the reference does not do; of steps that only lay out, the last that turns."""
        graph = self.match.candidate
        twins = self.match.known_reference.twins.get(wanted, [])
        if graph.behind(number) in {graph.behind(t) for t in twins}:
            step = graph.producer(number)
            while step is not None and step.short in VIEWS:
                if step.short in TURNS:
                    return step
                step = graph.producer(step.inputs[0])
        maker = graph.producer(graph.behind(number))
        assert maker is not None
        return maker

    def _first(self, operation: Operation) -> Operation:
        """Of operations that only together have a counterpart, the first that was given what the reference has, or
        elements of it, and made something that it has not; one that only chooses or orders counts as strange."""
        known = self.match.known_candidate
        values = self.match.candidate_suspects.values

        def soft(number: int) -> bool:
            maker = self.match.candidate.producer(number)
            chooses = maker is not None and maker.short in SELECTORS - {"slice", "select", "unbind"}
            turns = maker is not None and maker.short in VIEWS
            strange = chooses or (known.level[number] == Level.PERMUTED and not turns)
            return number not in values or (bool(known.elements[number]) and not strange)

        region = steps(self.match.candidate, self.match.candidate_suspects, operation)
        for one in region[:-1]:
            if one.inputs and all(soft(n) for n in one.inputs) and not all(soft(n) for n in one.outputs):
                return one
        plain = len(operation.inputs) == 1 and not operation.scalars  # such as a cosine: nothing in it can be wrong
        return region[0] if plain and not region[0].inputs else operation


def behind(graph: Graph, found: Suspects, operation: Operation) -> list[Operation]:
    """The operation and those before it whose values the other side does not have, in order."""
    orders = {operation.order}
    todo = [operation]
    while todo:
        for number in todo.pop().inputs:
            maker = graph.producer(number)
            if maker is not None and number in found.values and maker.order not in orders:
                orders.add(maker.order)
                todo.append(maker)
    return [graph.operations[o] for o in sorted(orders)]


def steps(graph: Graph, found: Suspects, operation: Operation) -> list[Operation]:
    """The same without those that only hand on another's value in another layout."""
    return [
        o
        for o in behind(graph, found, operation)
        if o is operation or not (o.short in VIEWS and any(n in found.values for n in o.inputs))
    ]


def same(a: Array, b: Array) -> bool:
    """Whether elements agree, but for those that are no number in `a`. What is HUGE stands for infinity: of it the signs
    count."""
    if a.size != b.size:
        return False
    x, y = a.astype(np.float64, copy=False).ravel(), b.reshape(a.shape).ravel()
    with np.errstate(invalid="ignore"):
        masked, other = np.abs(x) > HUGE, np.abs(y) > HUGE
        if not (other[masked].all() and ((x > 0) == (y > 0))[masked].all()):
            return False
        fine = ~masked & ~np.isnan(x)
        scale = float(np.abs(y[~other & ~np.isnan(y)]).max(initial=0.0)) or 1.0
        return bool((np.abs(x[fine] - y[fine]) <= CLOSE * scale).all())


def _distance(a: Array, b: Array) -> float:
    """Of what is no mask."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
        return float(apart[apart < HUGE].sum())


def _contains(whole: Array, part: Array) -> bool:
    """Whether every element of `part` occurs in `whole`."""
    pool = np.sort(whole.ravel())
    wanted = part.ravel()
    if not pool.size or not wanted.size:
        return False
    at = np.clip(np.searchsorted(pool, wanted), 1, max(pool.size - 1, 1))
    nearest = np.minimum(np.abs(pool[at - 1] - wanted), np.abs(pool[np.minimum(at, pool.size - 1)] - wanted))
    return bool((nearest <= CLOSE * (np.abs(wanted) + 1e-12)).mean() > 0.99)


def _inverse(operation: Operation, slot: int, expected: Array, mine: Mapping[int, Array]) -> dict[int, Array] | None:
    """What each tensor input should be for output `slot` to be `expected`, the other inputs as they are.

    NaN where that input does not matter. None where the operation cannot be undone.
    """
    short, inputs, scalars = operation.short, operation.inputs, operation.scalars
    with np.errstate(all="ignore"):
        if short in ("cat", "stack"):
            return _unstacked(operation, expected, mine)
        if short in VIEWS - {"transpose", "permute", "t", "movedim", "as_strided"}:
            return {inputs[0]: expected.reshape(mine[inputs[0]].shape)}
        if short in ("transpose", "t", "permute"):
            return {inputs[0]: _turned_back(operation, expected, mine[inputs[0]])}
        if short == "neg":
            return {inputs[0]: -expected}
        if short in ("add", "sub", "mul", "div"):
            return _arithmetic(short, inputs, scalars, expected, mine)
        if short == "expand":
            return {inputs[0]: _reduced(expected, mine[inputs[0]].shape)}
        if short in ("masked_fill", *LOGIC):
            return _unmasked(operation, expected.astype(np.float64), [mine[n] for n in inputs])
    return None


def _unmasked(operation: Operation, expected: Array, given: list[Array]) -> dict[int, Array] | None:
    """The same of what masks, and of what makes masks: 1 where they should hold, 0 where not."""
    inputs = operation.inputs
    if operation.short in ("bitwise_not", "logical_not") and _flags(given[0]):
        return {inputs[0]: 1 - expected}
    if len(given) != 2 or inputs[0] == inputs[1]:
        return None
    a, b = given
    if operation.short == "masked_fill":
        numbers = [s for s in operation.scalars if isinstance(s, int | float)]
        if len(numbers) != 1:
            return None
        filled = [np.abs(x) > HUGE if abs(numbers[0]) > HUGE else x == numbers[0] for x in (expected, a)]
        mask = np.where(filled[1], np.nan, filled[0])
        kept = np.where(b, np.nan, expected)
        return {inputs[0]: _reduced(kept, a.shape, infinite=True), inputs[1]: _reduced(mask, b.shape)}
    if not _flags(a) or not _flags(b):
        return None
    decides = operation.short.endswith("or")  # the value of one operand that makes the other one not matter
    return {
        inputs[0]: _reduced(np.where(b == decides, np.nan, expected), a.shape),
        inputs[1]: _reduced(np.where(a == decides, np.nan, expected), b.shape),
    }


def _flags(array: Array) -> bool:
    """Whether a captured value is of truth values."""
    return array.dtype.kind != "f" and bool(((array == 0) | (array == 1)).all())


def _repeats(expected: Array, part: Array) -> bool:
    """Whether what is expected is one part over and over."""
    return same(expected, np.broadcast_to(part, expected.shape))


def _unstacked(operation: Operation, expected: Array, mine: Mapping[int, Array]) -> dict[int, Array] | None:
    arrays = [mine[n] for n in operation.inputs]
    dims = [s for s in operation.scalars if isinstance(s, int) and not isinstance(s, bool)]
    axis = dims[0] if dims else 0
    pieces: list[Array]
    if operation.short == "stack":
        pieces = [np.take(expected, i, axis=axis) for i in range(len(arrays))]
    else:
        edges = np.cumsum([a.shape[axis] for a in arrays])[:-1]
        pieces = np.split(expected, edges, axis=axis)
    found: dict[int, Array] = {}
    for number, piece, array in zip(operation.inputs, pieces, arrays, strict=True):
        if number not in found or (same(found[number], array) and not same(piece, array)):
            found[number] = piece
    return found


def _turned_back(operation: Operation, expected: Array, array: Array) -> Array:
    if operation.short == "permute":
        axes = next(s for s in operation.scalars if isinstance(s, list))
        return expected.transpose(np.argsort([a % array.ndim for a in axes]))
    if operation.short == "t":
        return expected.T
    a, b = (int(s) for s in operation.scalars[:2])
    return np.swapaxes(expected, a, b)


def _arithmetic(
    short: str, inputs: tuple[int, ...], scalars: tuple[Any, ...], expected: Array, mine: Mapping[int, Array]
) -> dict[int, Array] | None:
    numbers = [s for s in scalars if isinstance(s, int | float) and not isinstance(s, bool)]
    if len(inputs) == 1:
        if not numbers:
            return None
        s = numbers[0]
        undone = {"add": expected - s, "sub": expected + s, "mul": expected / s if s else None, "div": expected * s}[
            short
        ]
        return {inputs[0]: undone} if undone is not None else None
    if len(inputs) != 2 or numbers:
        return None
    a, b = mine[inputs[0]], mine[inputs[1]]
    masks = short in ("add", "sub")
    if masks:  # so that what is masked by one number is masked by another
        expected, a, b = (np.where(np.abs(x) > HUGE, np.sign(x) * np.inf, x) for x in (expected, a, b))
    left = {"add": expected - b, "sub": expected + b, "mul": expected / b, "div": expected * b}[short]
    right = {"add": expected - a, "sub": a - expected, "mul": expected / a, "div": a / expected}[short]
    if inputs[0] == inputs[1]:
        return None
    return {inputs[0]: _reduced(left, a.shape, infinite=masks), inputs[1]: _reduced(right, b.shape, infinite=masks)}


def _reduced(array: Array, shape: tuple[int, ...], *, infinite: bool = False) -> Array:
    """One value for each element that was broadcast: the median over what it was broadcast to; NaN of NaN alone.

    infinite: whether infinity is a value too, and not what a division by nothing left.
    """
    found = array if infinite else np.where(np.isfinite(array), array, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(found.ndim - len(shape)):
            found = np.nanmedian(found, axis=0) if found.shape[0] > 1 else found[0]
        for axis, size in enumerate(shape):
            if size == 1 and found.shape[axis] != 1:
                found = np.nanmedian(found, axis=axis, keepdims=True)
    return found
