"""What can be to blame: the operations behind a wrong output up to the last values that both sides agree on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import HUGE, Known, near
from verify.divergence.graph import Graph


@dataclass
class Suspects:
    """Operations of one side whose output the other side does not have and that lead to a wrong output, in order.

    fronts: those of them that were given known values alone.
    """

    operations: list[int]
    values: set[int]
    fronts: list[int]


def wrong_outputs(reference: Graph, candidate: Graph, allowed: float) -> list[str]:
    """Paths of outputs that both sides have in one shape and that differ."""
    found = []
    for path, number in candidate.outputs.items():
        twin = reference.outputs.get(path)
        if twin is None or reference.values[twin].shape != candidate.values[number].shape:
            continue
        count = candidate.values[number].count
        if not near(candidate.vectors[number], reference.vectors[twin], count, allowed).all():
            found.append(path)
    return found


def unlike_outputs(reference: Graph, candidate: Graph) -> list[str]:
    """Paths of outputs that one side lacks or has in another shape: no trial can show that they agree."""

    def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
        return {path: graph.values[number].shape for path, number in graph.outputs.items()}

    left, right = shapes(reference), shapes(candidate)
    return [path for path in {**left, **right} if left.get(path) != right.get(path)]


def outputs_behind(graph: Graph, operations: set[int]) -> set[str]:
    """Paths of outputs that come from one of these operations, by order."""
    reached = {n for order in operations for n in graph.operations[order].outputs}
    for operation in graph.operations:
        if not reached.isdisjoint(operation.inputs):
            reached.update(operation.outputs)
    return {path for path, number in graph.outputs.items() if number in reached}


def suspects(graph: Graph, known: Known, wrong: Iterable[str]) -> Suspects:
    """Walks back from wrong outputs and stops at known values. An output itself is wrong even if known elsewhere."""
    start = [graph.outputs[path] for path in wrong if path in graph.outputs]
    todo, values = list(start), set(start)
    operations: set[int] = set()
    while todo:
        number = todo.pop()
        maker = graph.producer(number)
        if maker is None:
            continue
        operations.add(maker.order)
        for read in maker.inputs:
            if read not in values and not known.good(read):
                values.add(read)
                todo.append(read)
    fronts = [o for o in sorted(operations) if all(n not in values for n in graph.operations[o].inputs)]
    return Suspects(sorted(operations), values, fronts)


def anchor_pairs(graph: Graph, known: Known, other: Graph) -> dict[int, int]:
    """Operations of `graph` that read a parameter, and the other side's that read the same one the same time.

    Where one side reads it more often, only those that were given the same value are pairs.
    """
    pairs: dict[int, int] = {}
    for key, orders in graph.anchors.items():
        theirs = other.anchors.get(key, [])
        if len(theirs) == len(orders):
            pairs.update(zip(orders, theirs, strict=True))
            continue
        left = list(theirs)
        for mine in orders:
            twins = {other.behind(t) for n in graph.data(graph.operations[mine]) for t in known.twins.get(n, ())}
            for pair in left:
                given = {other.behind(n) for n in other.data(other.operations[pair])}
                if given and given <= twins:
                    pairs[mine] = pair
                    left.remove(pair)
                    break
    return pairs


def supports(graph: Graph, found: Suspects, names: dict[int, int]) -> dict[int, frozenset[Any]]:
    """For each suspect operation, the agreed values that its output comes from, by the names that both sides share."""
    made: dict[int, frozenset[Any]] = {}
    for order in found.operations:
        held: set[Any] = set()
        for number in graph.operations[order].inputs:
            maker = graph.producer(number)
            if maker is not None and maker.order in made and number in found.values:
                held |= made[maker.order]
            else:
                whole = graph.whole(number)
                leaf = graph.values[whole].leaf
                own = leaf if leaf.partition(":")[2] else ("own", id(graph), whole)
                held.add(names.get(whole, names.get(number, own)))
        made[order] = frozenset(held)
    return made


def shared_names(
    reference: Graph, known: Known, candidate: Graph, twins: Known
) -> tuple[dict[int, int], dict[int, int]]:
    """A name for every agreed value, the same on both sides: (of the reference's values, of the candidate's)."""
    mine = {n: min(reference.whole(t) for t in found) for n, found in twins.twins.items() if found}
    theirs = {}
    for number, found in known.twins.items():
        names = [mine[t] for t in found if t in mine]
        if names:
            theirs[number] = min(names)
    return theirs, mine


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Cosine of two arrays of one size, without what is masked in either."""
    x, y = a.reshape(-1).astype(np.float64), b.reshape(-1).astype(np.float64)
    with np.errstate(all="ignore"):
        kept = (np.abs(x) < HUGE) & (np.abs(y) < HUGE)
        x, y = x[kept], y[kept]
        scale = float(np.linalg.norm(x) * np.linalg.norm(y))
        found = float(x @ y) / scale if scale > 0 else 0.0
    return found if np.isfinite(found) else 0.0
