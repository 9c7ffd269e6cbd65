"""Which values of one side the other side has too. By value alone: names, order and layout play no part."""

from __future__ import annotations

import itertools
import operator
from collections import defaultdict
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from verify.divergence.graph import AXES, PROJECTIONS, SUMS, Graph, Value

FEWEST_ELEMENTS = 8
CONTAINED = 0.9
ROWS = 512
HUGE = 1e30
"""Size from which on elements stand for infinity, as in masks; see `observer/prints.py`."""


class Level(IntEnum):
    """How far a value is known to the other side.

    unknown; permuted: the same elements, but not in a layout that the shapes explain; same: the same elements, shapes
    differ and nothing contradicts; exact: element for element.
    """

    UNKNOWN = 0
    PERMUTED = 1
    SAME = 2
    EXACT = 3


@dataclass
class Known:
    """For each value of one side: its level, the other side's values it equals, and whether its elements occur there."""

    level: NDArray[np.int8]
    twins: dict[int, list[int]]
    elements: NDArray[np.bool_]

    def good(self, number: int) -> bool:
        return bool(self.level[number] >= Level.SAME)


def near(mine: NDArray[np.float64], theirs: NDArray[np.float64], count: int, allowed: float) -> NDArray[np.bool_]:
    """Whether print vectors [..., 14] can be of the same values, entry by entry. Broadcasts."""
    with np.errstate(invalid="ignore"):
        scale = np.maximum(mine[..., :1], theirs[..., :1])
        distance = np.abs(mine - theirs)
        same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
        return np.asarray(same | (distance <= allowed * max(count, 1) ** 0.5 * scale))


def align(graph: Graph, other: Graph, allowed: float) -> Known:
    """What of `graph` is known to `other`. allowed: relative difference that is rounding."""
    size = len(graph.values)
    known = Known(np.zeros(size, dtype=np.int8), defaultdict(list), np.zeros(size, dtype=bool))
    pool: dict[tuple[str, int], list[int]] = defaultdict(list)
    mine: dict[tuple[str, int], list[int]] = defaultdict(list)
    names: dict[tuple[str, int], list[int]] = defaultdict(list)
    for value in other.values:
        if value.whole:
            names[(value.whole, value.count)].append(value.number)
        else:
            pool[(value.kind, value.count)].append(value.number)
    for value in graph.values:
        if value.whole:
            twins = names.get((value.whole, value.count), [])
            if twins:
                known.level[value.number] = Level.EXACT
                known.twins[value.number] = twins
        else:
            mine[(value.kind, value.count)].append(value.number)
    for key, numbers in mine.items():
        if key in pool:
            for start in range(0, len(numbers), ROWS):
                _group(graph, other, numbers[start : start + ROWS], pool[key], key[1], allowed, known)
    for operation in graph.operations:  # a view of what is in another order is so too, where its shape cannot show it
        for number in operation.outputs:
            before = graph.behind(number)
            if before != number and known.level[before] == Level.PERMUTED and known.level[number] == Level.SAME:
                known.level[number] = Level.PERMUTED
    _elements(graph, other, known)
    return known


def _group(
    graph: Graph, other: Graph, numbers: list[int], theirs: list[int], count: int, allowed: float, known: Known
) -> None:
    """Levels for values of one kind and size."""
    left, right = graph.vectors[numbers][:, None], other.vectors[theirs][None]
    close = near(left, right, count, allowed)
    alike = np.asarray(close[..., SUMS].all(-1))
    for row, number in enumerate(numbers):
        columns = np.flatnonzero(alike[row])
        if not len(columns):
            continue
        shape = graph.values[number].squeezed
        contradicted, plain, reshaped = False, False, False
        for column in columns:
            twin = other.values[theirs[column]]
            same_shape = twin.squeezed == shape
            projected = bool(close[row, column, PROJECTIONS].all())
            if same_shape and projected:
                known.level[number] = Level.EXACT
                known.twins[number].append(twin.number)
            elif projected and _nested(twin.squeezed, shape):
                reshaped = True
                known.twins[number].append(twin.number)
            elif same_shape or _nested(twin.squeezed, shape):
                contradicted = True
            elif _axes(graph, other, number, twin.number, count, allowed):
                plain = True
                known.twins[number].append(twin.number)
            else:
                contradicted = True
        if known.level[number] != Level.EXACT:
            known.level[number] = Level.SAME if reshaped or (plain and not contradicted) else Level.PERMUTED


def _nested(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether one shape is the other with neighbouring axes merged, so that both list their elements in one order."""
    a, b = set(itertools.accumulate(first, operator.mul)), set(itertools.accumulate(second, operator.mul))
    return a <= b or b <= a


def _axes(graph: Graph, other: Graph, number: int, twin: int, count: int, allowed: float) -> bool:
    """Whether the marginals of axes that both shapes have agree: a transposition keeps them, a mixing does not."""
    a, b = graph.values[number].squeezed, other.values[twin].squeezed
    unique = [n for n in set(a) & set(b) if a.count(n) == b.count(n) == 1 and a.index(n) < 6 and b.index(n) < 6]
    first, second = graph.vectors[number], other.vectors[twin]
    scale = max(abs(first[0]), abs(second[0]))
    for n in unique:
        distance = abs(first[AXES][a.index(n)] - second[AXES][b.index(n)])
        if distance > allowed * max(count, 1) ** 0.5 * scale * n**0.5:
            return False
    return True


def _elements(graph: Graph, other: Graph, known: Known) -> None:
    """Which values consist of elements that the other side computes too, whatever it calls or stacks them."""
    everywhere: dict[int, list[int]] = defaultdict(list)
    for value in other.values:
        for element in value.hashes.tolist():
            everywhere[element].append(value.number)
    bounds = np.array([v.bound for v in other.values], dtype=np.float64) if other.values else np.zeros(0)
    for value in graph.values:
        if known.good(value.number):
            known.elements[value.number] = True
        elif len(value.hashes) >= FEWEST_ELEMENTS:
            known.elements[value.number] = _occurs(value, everywhere, bounds)


def _occurs(value: Value, everywhere: dict[int, list[int]], bounds: NDArray[np.float64]) -> bool:
    hashes = value.hashes.tolist()
    found = [h for h in hashes if h in everywhere]
    if len(found) >= CONTAINED * len(hashes):
        return True
    counts: dict[int, int] = defaultdict(int)
    for element in found:
        for number in everywhere[element]:
            counts[number] += 1
    for number, hits in sorted(counts.items(), key=lambda item: -item[1])[:8]:
        below = sum(1 for h in hashes if h < bounds[number])
        if hits >= FEWEST_ELEMENTS and hits >= CONTAINED * below:
            return True
    return False
