"""The operation at which the candidate begins to lose more to rounding than the reference.

Each side runs natively, and exactly with the same rounded weights and inputs. The error of a value is that between its two
runs; what it is allowed to be, the reference shows, whose values are aligned with the candidate's by their exact numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import align
from verify.divergence.graph import VIEWS, Graph, Operation, place_of

JUMP = 1.3
"""Growth of the ratio of errors from which on an operation is to blame. A value's error is known to about a seventh, from
4 projections in each of 6 draws."""
FEWEST = 16
"""Values of fewer elements tell too little of an error."""


@dataclass(frozen=True)
class Lost:
    """Where the candidate loses more. errors: relative, the reference's and the candidate's, of what is made there."""

    operation: Operation
    counterpart: Operation | None
    errors: tuple[float, float]


@dataclass(frozen=True)
class Run:
    """One pass of one side: draws [draws, values, 5], norm and four projections."""

    graph: Graph
    draws: NDArray[np.float64]

    @classmethod
    def read(cls, data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Run:
        """Raises KeyError, TypeError, ValueError or IndexError for what is no record: a side is not trusted."""
        graph = Graph.read(data, arrays)
        draws = np.asarray(arrays["draws"], dtype=np.float64)
        if draws.ndim != 3 or draws.shape[1:] != (len(graph.values), 5):
            raise ValueError(f"draws have the shape {draws.shape}")
        return cls(graph, draws)


@dataclass(frozen=True)
class Errors:
    """Relative errors of the values of a native run, by number, and the exact run's value that each stands for."""

    relative: dict[int, float]
    exact: dict[int, int]


def errors(native: Run, exact: Run) -> Errors:
    """What rounding did to each value, up to the draws that both runs have."""
    found = Errors({}, {})
    count = min(len(native.draws), len(exact.draws))
    same = _by_place(exact.graph)
    for (place, call), operation in _by_place(native.graph).items():
        twin = same.get((place, call))
        for slot, number in enumerate(operation.outputs):
            if twin is not None and len(twin.outputs) == len(operation.outputs):
                other = twin.outputs[slot]
            elif operation.short in VIEWS and operation.inputs and operation.inputs[0] in found.exact:
                other = found.exact[operation.inputs[0]]  # a cast, which is none where all is float64
            else:
                continue
            mine, theirs = native.graph.values[number], exact.graph.values[other]
            if mine.count != theirs.count or mine.kind != "float" or mine.count < FEWEST:
                continue
            a, b = native.draws[:count, number], exact.draws[:count, other]
            with np.errstate(all="ignore"):
                size = float(np.mean(b[:, 0] ** 2))
                relative = float(np.sqrt(np.mean((a[:, 1:] - b[:, 1:]) ** 2) / size)) if size else 0.0
            if np.isfinite(relative):
                found.relative[number], found.exact[number] = relative, other
    return found


def _by_place(graph: Graph) -> dict[tuple[Any, int], Operation]:
    """Operations by place in the source, with the lines that called it, and which of that place's calls it is."""
    calls: Counter[Any] = Counter()
    found = {}
    for operation in graph.operations:
        place = place_of(operation, deep=True)
        found[place, calls[place]] = operation
        calls[place] += 1
    return found


def first_loss(reference: tuple[Run, Run], candidate: tuple[Run, Run], allowed: float, floor: float) -> Lost | None:
    """The operation at which the error grows most against the reference's. None where it nowhere does by JUMP.

    reference, candidate: native and exact run. allowed: relative difference of exact values that is rounding. floor:
    relative error that is none in this format.
    """
    theirs, mine = errors(*reference), errors(*candidate)
    graph = candidate[0].graph
    known = align(candidate[1].graph, reference[1].graph, allowed)
    largest: dict[int, float] = {}
    for number, exact in theirs.exact.items():
        largest[exact] = max(largest.get(exact, 0.0), theirs.relative[number])
    ratios: dict[int, float] = {}
    twins: dict[int, int] = {}
    for number, exact in mine.exact.items():
        there = [t for t in known.twins.get(exact, ()) if t in largest]
        if known.good(exact) and there:
            twins[number] = max(there, key=lambda t: largest[t])
            ratios[number] = max(mine.relative[number], floor) / max(largest[twins[number]], floor)
    before, after = _before(graph, ratios), _after(graph, ratios)
    best: tuple[float, Operation] | None = None
    for operation in graph.operations:
        for number in operation.outputs:
            if number not in ratios:
                continue
            given = max((before.get(n, 1.0) for n in operation.inputs), default=1.0)
            jump = min(ratios[number], after.get(number, ratios[number])) / max(given, 1.0)
            if jump > JUMP and (best is None or jump > best[0]):
                best = jump, operation
    if best is None:
        return None
    operation = _loser(graph, best[1], mine, ratios, floor)
    number = next(n for n in best[1].outputs if n in ratios)
    counterpart = reference[1].graph.producer(twins[number])
    return Lost(operation, counterpart, (largest[twins[number]], mine.relative[number]))


def _before(graph: Graph, ratios: Mapping[int, float]) -> dict[int, float]:
    """By value its ratio, or the largest of the nearest ones before it that have one."""
    found = dict(ratios)
    for operation in graph.operations:
        largest = max((found[n] for n in operation.inputs if n in found), default=None)
        for number in operation.outputs:
            if largest is not None:
                found.setdefault(number, largest)
    return found


def _after(graph: Graph, ratios: Mapping[int, float]) -> dict[int, float]:
    """By value the largest ratio of the nearest ones made of it that have one."""
    found: dict[int, float] = {}
    for operation in reversed(graph.operations):
        made = [ratios.get(n, found.get(n)) for n in operation.outputs]
        largest = max((one for one in made if one is not None), default=None)
        for number in operation.inputs:
            if largest is not None:
                found[number] = max(found.get(number, 0.0), largest)
    return found


def _loser(graph: Graph, last: Operation, mine: Errors, ratios: Mapping[int, float], floor: float) -> Operation:
    """Of an operation and those before it that the reference has no like of, the one that adds most to the error."""
    region, todo, seen = [last], [last], {last.order}
    while todo:
        for number in todo.pop().inputs:
            maker = graph.producer(number)
            if maker is not None and number not in ratios and maker.order not in seen:
                seen.add(maker.order)
                region.append(maker)
                todo.append(maker)

    def growth(operation: Operation) -> float:
        made = max((mine.relative.get(n, 0.0) for n in operation.outputs), default=0.0)
        return made / max([floor, *(mine.relative.get(n, 0.0) for n in operation.inputs)])

    return max(sorted(region, key=lambda o: o.order), key=growth)
