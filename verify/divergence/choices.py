"""Where another number of elements is chosen than in the reference: no value can stand for another from there on."""

from __future__ import annotations

from verify.divergence.blame import behind
from verify.divergence.graph import VIEWS, Graph, Operation
from verify.divergence.suspects import Suspects, unlike_outputs
from verify.divergence.trials import Match

CHOOSE = frozenset({"gather", "index_select", "index", "take", "take_along_dim", "embedding"})
"""Operations that choose elements by an index that they are given."""


def other_choice(match: Match) -> tuple[Operation, Operation] | None:
    """The first strange operation on the way to an index of another size than the reference's, and the reference's.

    None where outputs have the reference's shapes, or where either side chooses nothing that the other does not.
    """
    if not unlike_outputs(match.reference, match.candidate):
        return None
    mine = _indices(match.candidate, match.candidate_suspects)
    theirs = _indices(match.reference, match.reference_suspects)
    sizes, others = (
        {o: _count(g, o) for o in found} for g, found in ((match.candidate, mine), (match.reference, theirs))
    )
    if not mine or not theirs or set(sizes.values()) & set(others.values()):
        return None
    first, counterpart = (
        _first(graph, found, index)
        for graph, found, index in (
            (match.candidate, match.candidate_suspects, mine[0]),
            (match.reference, match.reference_suspects, theirs[0]),
        )
    )
    return (first, counterpart) if first is not None and counterpart is not None else None


def _indices(graph: Graph, found: Suspects) -> list[int]:
    """Strange whole numbers by which strange operations choose, before they were spread over what they choose from."""
    indices = []
    for order in found.operations:
        operation = graph.operations[order]
        for number in operation.inputs if operation.short in CHOOSE else ():
            if graph.values[number].kind == "whole" and number in found.values:
                indices.append(_narrow(graph, number))
    return indices


def _narrow(graph: Graph, number: int) -> int:
    """The value that views and repetition alone lead from."""
    maker = graph.producer(number)
    while maker is not None and len(maker.inputs) == 1 and maker.short in VIEWS | {"expand"}:
        number = maker.inputs[0]
        maker = graph.producer(number)
    return number


def _count(graph: Graph, number: int) -> int:
    return graph.values[number].count


def _first(graph: Graph, found: Suspects, number: int) -> Operation | None:
    """The first operation behind a value that was given known values and made something strange."""
    maker = graph.producer(number)
    region = behind(graph, found, maker) if maker is not None else []
    return next((o for o in region if o.order in found.fronts and o.inputs), None)
