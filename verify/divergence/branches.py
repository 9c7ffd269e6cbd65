"""Another way taken than the reference's: the `if`, `while` or conditional expression that decided."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from verify.divergence.blame import behind
from verify.divergence.graph import Frame, Graph, Operation
from verify.divergence.sources import Choice, Sources
from verify.divergence.trials import Match

READS = ("_local_scalar_dense", "is_nonzero", "equal")
"""Operations that hand a tensor's value to Python, which may decide by it."""
OPPOSITE = ({"gt", "le"}, {"lt", "ge"}, {"eq", "ne"})
Way = int
"""Where a line is that depends on a choice: 0 in what runs if its test holds, 1 in what runs if not."""


def turned(
    match: Match,
    operation: Operation,
    frame: Frame,
    theirs: Frame | None,
    sources: Mapping[str, Sources],
    *,
    alone: bool,
) -> Frame | None:
    """The choice before a blamed operation by which the two sides went different ways, given the same values.

    It is claimed only where the reference read the other truth value there; or, of a number that was read, where one side
    did nothing in a way of its choice in which the other did what is blamed. sources: by role. theirs: the line of what
    the reference did instead; alone: it did nothing of the kind.
    """
    pairs = _pairs(match)
    for mine, other in pairs:
        place = _test(sources["candidate"], mine)
        if place is None or mine.order >= operation.order or not _around(operation, frame, place, sources["candidate"]):
            continue
        flags = _flag(match.candidate, mine), _flag(match.reference, other)
        if None not in flags:
            if (flags[0] != flags[1]) is not _opposite(match, mine, other):
                return place
            continue
        taken = _way(sources["candidate"], mine, frame)
        there = _way(sources["reference"], other, theirs)
        if taken is not None and (alone or not _ran(match.reference, sources["reference"], other, taken)):
            return place
        if taken is None and there is not None and not _ran(match.candidate, sources["candidate"], mine, there):
            return place
    paired = {mine.order for mine, _ in pairs}
    for read in match.candidate.operations[: operation.order] if alone else ():
        place = _test(sources["candidate"], read) if read.short in READS and read.order not in paired else None
        if place is not None and _way(sources["candidate"], read, frame) is not None:
            return place
    return None


def _pairs(match: Match) -> list[tuple[Operation, Operation]]:
    """What both sides read of values made of the same numbers, in order of execution."""
    left: dict[int, list[Operation]] = {}
    for operation in _reads(match.reference):
        for number in _made_of(match.reference, operation.inputs[0]):
            left.setdefault(match.reference.behind(number), []).append(operation)
    found = []
    for operation in _reads(match.candidate):
        numbers = _made_of(match.candidate, operation.inputs[0])
        known = {n for given in numbers for n in (given, match.candidate.behind(given))}
        twins = {match.reference.behind(t) for n in known for t in match.known_candidate.twins.get(n, ())}
        other = next((o for t in sorted(twins) for o in left.get(t, ())), None)
        if other is not None:
            found.append((operation, other))
            for operations in left.values():
                if other in operations:
                    operations.remove(other)
    return found


def _reads(graph: Graph) -> list[Operation]:
    """What hands a value to Python, each value once."""
    found: dict[int, Operation] = {}
    for operation in graph.operations:
        if operation.short in READS and operation.inputs:
            found.setdefault(operation.inputs[0], operation)
    return list(found.values())


def _made_of(graph: Graph, number: int) -> set[int]:
    """The numbers with a fraction that a truth value or whole number was made of; itself, if it is none."""
    found, todo = set[int](), [number]
    while todo:
        one = todo.pop()
        maker = graph.producer(one)
        if graph.values[one].kind == "whole" and maker is not None and maker.inputs:
            todo += maker.inputs
        else:
            found.add(one)
    return found


def _flag(graph: Graph, operation: Operation) -> bool | None:
    """The truth value that was read; None of what is none."""
    number = operation.inputs[0]
    total = graph.vectors[number][1]
    return bool(total) if graph.values[number].kind == "whole" and total in (0, 1) else None


def _opposite(match: Match, mine: Operation, theirs: Operation) -> bool:
    """Whether two truth values are of comparisons one of which holds where the other does not."""
    makers = [g.producer(g.whole(o.inputs[0])) for g, o in ((match.candidate, mine), (match.reference, theirs))]
    return {maker.short for maker in makers if maker is not None} in OPPOSITE


def _test(sources: Sources, read: Operation) -> Frame | None:
    """Where a choice is made by what an operation reads."""
    found = _choice(sources, read)
    if found is None or read.frame is None:
        return None
    line = found.test.lineno if isinstance(found, ast.IfExp) else found.lineno
    return Frame(read.frame.file, line, read.frame.function, True, -1)


def _choice(sources: Sources, read: Operation) -> Choice | None:
    frame = read.frame
    return sources.choice(frame.file, frame.line) if frame is not None and frame.own else None


def _around(operation: Operation, frame: Frame, place: Frame, sources: Sources) -> bool:
    """Whether a choice is in the function of the blamed line, or in one that led to what was computed there."""
    function = sources.function(place.file, place.line)
    frames = [f for f in (frame, *operation.stack) if f.own and f.file == place.file]
    return any(sources.function(f.file, f.line) is function for f in frames)


def _way(sources: Sources, read: Operation, frame: Frame | None) -> Way | None:
    """Which way of the choice that a read value makes a line is in; None if in neither."""
    found = _choice(sources, read)
    if isinstance(found, ast.If | ast.While) and frame is not None and read.frame is not None:
        for way, block in enumerate((found.body, found.orelse)):
            within = bool(block) and block[0].lineno <= frame.line <= (block[-1].end_lineno or 0)
            if within and frame.file == read.frame.file:
                return way
    return None


def _ran(graph: Graph, sources: Sources, read: Operation, way: Way) -> bool:
    """Whether anything was computed in a way of the choice that a read value makes."""
    every = (f for o in graph.operations for f in o.stack if f.own)
    return any(_way(sources, read, f) == way for f in every)


def untaken(match: Match, maker: Operation, file: str, sources: Sources) -> Frame | None:
    """Where the candidate's file has a step that only the reference made, behind an `if` that was not taken."""
    candidate, reference = match.candidate, match.reference
    used = {root for roots, _ in candidate.anchors for root in roots}
    missing = behind(reference, match.reference_suspects, maker)
    before = [reference.producer(n) for n in reference.ancestors(maker.outputs[0])] if maker.outputs else []
    read = {r for o in (*missing, *before) if o is not None for r in map(reference.root, o.inputs)}
    names = {part for root in read - used for part in root.split(".")[:-1] if not part.isdigit()}
    ran = {f.line: f for o in candidate.operations for f in o.stack if f.own and f.file == file}
    line = sources.untaken(file, names, set(ran)) if names else None
    if line is None:
        return None
    around = sources.function(file, line)
    function = next(f.function for f in ran.values() if sources.function(file, f.line) is around)
    return Frame(file, line, function, True, -1)
