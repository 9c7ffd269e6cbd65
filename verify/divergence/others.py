"""Another module than the reference's, or the same one of another size."""

from __future__ import annotations

import difflib

from verify.divergence.alignment import near
from verify.divergence.graph import Frame, Graph, Operation
from verify.divergence.trials import Match

CONSTANT = "constant:"
"""The leaf of what an operation is given that no operation of its pass made; see `graph.Value`."""
MOST_READINGS = 1000
"""Readings of parameters that are put side by side."""
ALLOWED = 1e-10
"""Relative difference of the power sums of values that hold the same elements."""


def other_module(match: Match) -> tuple[Operation, Operation, Frame] | None:
    """The first operation that reads a sibling of the parameters that the reference reads there, the reference's, and the
    line that chose the module. None where there is none.

    Either the first strange value comes of a known one through a sibling's parameters, or some parameters are never read
    and a sibling's stand in their place in the order of reading.
    """
    found = _strange(match) or _unread(match)
    if found is None:
        return None
    mine, theirs = found
    names = _roots(match.candidate, mine)[0], _roots(match.reference, theirs)[0]
    frames = [f for f in mine.stack if f.own]
    if not frames:
        return None
    # parts after the one that differs, without the parameter
    deeper = len(names[0].split(".")) - _difference(*names) - 2
    return mine, theirs, frames[min(max(deeper, 0), len(frames) - 1)]


def other_buffer(match: Match) -> tuple[Operation, Operation | None, str] | None:
    """The first strange operation that reads a buffer of which the reference has one of that name and shape with other
    values; what reads that in the reference; and the buffer's name.

    Where something strange is at hand that an earlier pass made and kept, any operation may be the one that reads it.
    """
    graph, found = match.candidate, match.candidate_suspects
    kept = bool(_left(match))
    buffers = [v for v in match.reference.values if v.leaf.startswith("buffer:")]
    theirs = {v.leaf: v for v in buffers}
    for order in range(len(graph.operations)) if kept else found.operations:
        operation = graph.operations[order]
        for number in operation.inputs:
            value = graph.values[graph.whole(number)]
            twin = theirs.get(value.leaf)
            if twin is not None and twin.shape == value.shape and not match.known_candidate.good(value.number):
                readers = match.reference.consumers.get(twin.number, [])
                reader = match.reference.operations[readers[0]] if readers else None
                return operation, reader, value.leaf.removeprefix("buffer:")
    return None


def left_before(match: Match) -> Operation | None:
    """The candidate's first operation that reads something strange that no operation of its pass made."""
    graph, left = match.candidate, _left(match)
    return next((o for o in graph.operations if any(graph.whole(n) in left for n in o.inputs)), None)


def _left(match: Match) -> set[int]:
    """Strange values that no operation of the pass made, and that are no parameter, buffer or input."""
    return {n for n in match.candidate_suspects.values if match.candidate.values[n].leaf == CONSTANT}


def other_size(match: Match) -> tuple[Operation, Operation] | None:
    """The first strange operation, and the reference's, where both read the same parameters and values, or are the same
    step of the same values, and what they make is of another size: no value can stand for another there."""
    candidate, reference = match.candidate, match.reference
    for order in match.candidate_suspects.fronts[:1]:
        mine = candidate.operations[order]
        count = candidate.values[mine.outputs[0]].count if mine.outputs else 0
        plain = not _roots(candidate, mine)
        for other in match.reference_suspects.operations if not plain or len(mine.inputs) > 1 else ():
            theirs = reference.operations[other]
            same = _roots(reference, theirs) == _roots(candidate, mine) and _same_elements(match, mine, theirs)
            if (
                same
                and (not plain or mine.short == theirs.short)
                and theirs.outputs
                and reference.values[theirs.outputs[0]].count != count
            ):
                return mine, theirs
    return None


def same_given(match: Match, mine: Operation, theirs: Operation) -> bool:
    """Whether two operations read the same parameters, or none and some value that both sides have: whether they can be
    the same step."""
    candidate, reference = match.candidate, match.reference
    roots = _roots(candidate, mine)
    if roots or _roots(reference, theirs):
        return roots == _roots(reference, theirs)
    read = {reference.behind(n) for n in theirs.inputs}
    known = {n for given in mine.inputs for n in (given, candidate.behind(given))}
    return any(reference.behind(t) in read for n in known for t in match.known_candidate.twins.get(n, ()))


def _same_elements(match: Match, mine: Operation, theirs: Operation) -> bool:
    """Whether what two operations read besides parameters can be the same elements, in whatever order."""
    candidate, reference = match.candidate, match.reference
    pairs = list(zip(candidate.data(mine), reference.data(theirs), strict=False))
    alike = [
        candidate.values[a].count == reference.values[b].count
        and bool(near(candidate.vectors[a][:4], reference.vectors[b][:4], candidate.values[a].count, ALLOWED).all())
        for a, b in pairs
    ]
    return len(candidate.data(mine)) == len(reference.data(theirs)) and all(alike)


def _strange(match: Match) -> tuple[Operation, Operation] | None:
    candidate, reference = match.candidate, match.reference
    fronts = match.candidate_suspects.fronts[:1]
    for order in fronts:
        operation = candidate.operations[order]
        data = [candidate.behind(n) for n in candidate.data(operation)]
        if not _roots(match.candidate, operation) or len(data) != 1:
            return None
        twins = {
            reference.behind(t)
            for n in (*candidate.data(operation), *data)
            for t in match.known_candidate.twins.get(n, ())
        }
        for other in match.reference_suspects.operations:
            theirs = reference.operations[other]
            read = {reference.behind(n) for n in reference.data(theirs)}
            if theirs.short == operation.short and read and read <= twins and _siblings(match, operation, theirs):
                return operation, theirs
    return None


def _unread(match: Match) -> tuple[Operation, Operation] | None:
    candidate, reference = match.candidate, match.reference
    mine, theirs = (
        [(roots, order) for (roots, _), orders in g.anchors.items() for order in orders] for g in (candidate, reference)
    )
    mine, theirs = (sorted(one, key=lambda item: item[1])[:MOST_READINGS] for one in (mine, theirs))
    read = {root for roots, _ in candidate.anchors for root in roots}
    if not any(root not in read for roots, _ in theirs for root in roots):
        return None
    names = [roots for roots, _ in theirs], [roots for roots, _ in mine]
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        if tag == "replace" and i2 - i1 == j2 - j1:
            for (roots, there), (_, here) in zip(theirs[i1:i2], mine[j1:j2], strict=True):
                pair = candidate.operations[here], reference.operations[there]
                if any(root not in read for root in roots) and _siblings(match, *pair):
                    return pair
    return None


def _siblings(match: Match, mine: Operation, theirs: Operation) -> bool:
    """Whether two operations read parameters whose names differ in one and the same part, which is not the last."""
    pairs = list(zip(_roots(match.candidate, mine), _roots(match.reference, theirs), strict=False))
    same = len(_roots(match.candidate, mine)) == len(_roots(match.reference, theirs)) > 0
    return same and all(_one_part(a, b) for a, b in pairs) and len({_difference(a, b) for a, b in pairs}) == 1


def _one_part(a: str, b: str) -> bool:
    x, y = a.split("."), b.split(".")
    return len(x) == len(y) and x[-1] == y[-1] and sum(p != q for p, q in zip(x, y, strict=True)) == 1


def _difference(a: str, b: str) -> int:
    """The place of the first part that differs."""
    pairs = zip(a.split("."), b.split("."), strict=False)
    return next((place for place, (p, q) in enumerate(pairs) if p != q), 0)


def _roots(graph: Graph, operation: Operation) -> list[str]:
    """The parameters that an operation reads."""
    return sorted({r for r in map(graph.root, operation.inputs) if r})
