"""What operations are given that both sides have: whether it is the same, and in the same order of elements."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from verify.divergence.blame import behind
from verify.divergence.graph import JOINS, TURNS, VIEWS, Graph, Operation
from verify.divergence.suspects import Suspects
from verify.divergence.trials import Match

Array = NDArray[Any]
MOST_READERS = 16
"""Operations of the reference's that are asked whether they read a value that the candidate passed over."""
MOST_ALIKE = 24
"""Values of one size that may be the one that was read in its place: the last."""


def unlike(
    match: Match, mine: list[Operation], theirs: list[Operation]
) -> tuple[list[tuple[Operation, int]], list[int]]:
    """Of two groups of operations that make the like, what only one is given from outside: the candidate's with what
    reads it, and the reference's. Whole numbers and single ones are left out."""
    given = _given(match.candidate, match.candidate_suspects, mine)
    wanted = _given(match.reference, match.reference_suspects, theirs)
    twins = {n: _twins(match, n) for n in given}
    only_mine = [(operation, n) for n, operation in given.items() if not twins[n] & set(wanted)]
    used = {t for found in twins.values() for t in found}
    return only_mine, [n for n in wanted if n not in used]


@dataclass(frozen=True)
class PassedOver:
    """The candidate's operation reads a known value, `read`, where the reference's `reader` reads `wanted`, which it makes of
    that. The reader is the counterpart, or reads parameters that the candidate's operations read too."""

    operation: Operation
    read: int
    reader: Operation
    wanted: int


def passed_over(match: Match, mine: list[Operation], counterpart: Operation) -> PassedOver | None:
    """Where a group of operations reads a known value that the reference makes another of before it does the like; the last
    such value on the way to the reference's counterpart.

    Only where the candidate reads nothing that the reference does not, and nothing of what else the steps to that other
    value read, which is something: else it may be that the candidate does them wrongly.
    """
    graph, found = match.reference, match.reference_suspects
    given = _given(match.candidate, match.candidate_suspects, mine)
    twins = {n: _twins(match, n) for n in given}
    known = {t for one in twins.values() for t in one}
    if any(not twins[n] for n in given):
        return None
    for reader in itertools.islice(_readers(match, counterpart, known), MOST_READERS):
        for wanted in reader.inputs:
            maker = graph.producer(graph.behind(wanted))
            if wanted not in found.values or maker is None:
                continue
            before, count = graph.ancestors(wanted), graph.values[wanted].count
            alike = [n for n in given if match.candidate.values[n].count == count and not twins[n].isdisjoint(before)]
            read = _nearest(match, alike[-MOST_ALIKE:])
            if read is None:
                continue
            more = set(_given(graph, found, behind(graph, found, maker))) - twins[read]
            if more and not more & known:
                return PassedOver(given[read], read, reader, wanted)
    return None


def _readers(match: Match, counterpart: Operation, known: set[int]) -> Iterator[Operation]:
    """The counterpart, and what is before it and reads parameters that are known, the last first."""
    graph = match.reference
    for one in reversed(behind(graph, match.reference_suspects, counterpart)):
        if one is counterpart or any(graph.root(n) and graph.behind(n) in known for n in one.inputs):
            yield one


def _nearest(match: Match, numbers: list[int]) -> int | None:
    """The one of some values of the candidate of which no other of them comes; None where there are several, or none."""
    before = {n: match.candidate.ancestors(n) - {n} for n in numbers}
    last = [n for n in numbers if not any(n in before[other] for other in numbers)]
    return last[0] if len(last) == 1 else None


def joined_otherwise(match: Match) -> tuple[Operation, Operation] | None:
    """The first operation that joins what the reference joins, all of it known, in another order; and the reference's."""
    for mine in (o for o in match.candidate.operations if o.short in JOINS):
        parts = [_twins(match, match.candidate.behind(n)) for n in mine.inputs]
        for theirs in (o for o in match.reference.operations if o.short == mine.short):
            wanted = [match.reference.behind(n) for n in theirs.inputs]
            if len(wanted) != len(parts) or len(set(wanted)) < 2:
                continue
            apart = [n for n, (part, one) in enumerate(zip(parts, wanted, strict=True)) if one not in part]
            if apart and all(any(one in parts[n] for n in apart) for one in (wanted[n] for n in apart)):
                return mine, theirs
    return None


def turned(
    match: Match,
    operation: Operation,
    counterpart: Operation | None,
    mine: Mapping[int, Array],
    theirs: Mapping[int, Array],
    same: Callable[[Array, Array], bool],
) -> Operation | None:
    """The step that laid out what an operation is given in another order than its counterpart is given it in, where
    nothing else tells the two apart. mine, theirs: captured values by number."""
    if counterpart is None or counterpart.short != operation.short or counterpart.scalars != operation.scalars:
        return None
    for number, wanted in zip(operation.inputs, counterpart.inputs, strict=False):
        if number not in mine or wanted not in theirs or mine[number].shape != theirs[wanted].shape:
            continue
        if not same(theirs[wanted], mine[number]):
            step = match.candidate.producer(number)
            while step is not None and step.short in VIEWS:
                if step.short in TURNS:
                    return step
                step = match.candidate.producer(step.inputs[0])
    return None


def _given(graph: Graph, found: Suspects, operations: list[Operation]) -> dict[int, Operation]:
    """By value, without its views, the first operation that reads it from outside."""
    given: dict[int, Operation] = {}
    for operation in operations:
        for number in operation.inputs:
            value = graph.values[number]
            outside = number not in found.values or graph.producer(graph.behind(number)) is None
            if outside and value.kind == "float" and value.count > 1:
                given.setdefault(graph.behind(number), operation)
    return given


def _twins(match: Match, number: int) -> set[int]:
    """What the reference has for a candidate's value, without views."""
    twins = match.known_candidate.twins
    alike = match.candidate.laid_out.get(number, [number])
    return {match.reference.behind(t) for n in alike for t in twins.get(n, ())}
