"""Where the fault is that a trial explains: what made the value that it replaces, or what was read in another's place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from verify.divergence.attention import other_scale
from verify.divergence.blame import Blame, Blamed, behind, same, steps
from verify.divergence.given import joined_otherwise, passed_over, turned, unlike
from verify.divergence.graph import JOINS, PARTS, VIEWS, Frame, Operation, Value
from verify.divergence.names import grouped, handed_on
from verify.divergence.operands import (
    Kind,
    beside,
    inner_levels,
    missing_lines,
    one_call,
    operand,
    other_operand,
    other_parameter,
    own,
    views,
)
from verify.divergence.search import Round
from verify.divergence.sources import Sources
from verify.divergence.trials import Match, Trial


@dataclass(frozen=True)
class Place:
    """Where a fault is. sure: whether nothing else in reach could be meant."""

    kind: Kind
    operation: Operation
    candidate: Frame | None
    reference: Frame | None
    counterpart: Operation | None
    sure: bool


def replaced(found: Round, trial: Trial, sources: Sources) -> Place:
    """Blames the operation that made a replaced value, or one behind it that the reference has no counterpart of."""
    match = found.match
    reader = match.candidate.operations[trial.operation]
    number, wanted = trial.pairs[0]
    counterpart = None if trial.counterpart is None else match.reference.operations[trial.counterpart]
    theirs = counterpart.frame if counterpart is not None else None
    expected = None
    if number in found.mine and wanted in found.theirs:
        value = found.theirs[wanted].transpose(trial.axes) if trial.axes else found.theirs[wanted]
        expected = np.ascontiguousarray(value).reshape(found.mine[number].shape)
    attention = behind(match.candidate, match.candidate_suspects, reader)
    scaling = other_scale(attention, found.mine.get(number), counterpart, found.theirs)
    if scaling is not None:
        return Place("differs", scaling, scaling.frame, theirs, counterpart, False)
    blame = Blame(match, found.mine, found.theirs)
    blamed = blame.follow(number, expected, wanted, reader)
    if blamed.how == "differs" and not blamed.sure and counterpart is not None:
        over = passed_over(match, attention, counterpart)
        if over is not None:
            feed = over.operation.order, over.read, over.wanted
            read = operand(match, over.operation, over.reader, feed, sources)
            return Place(read.kind, over.operation, read.candidate, read.reference, None, False)
    operation = blamed.operation
    mended = _mended(match, blamed, sources) if blamed.repair is not None else None
    if mended is not None:
        kind, frame = mended
        return Place(kind, operation, frame, theirs, None, False)
    region = steps(match.candidate, match.candidate_suspects, reader)
    lines = {(f.file, f.line) for f in (o.frame for o in region) if f is not None}
    sure = blamed.sure and len(lines) == 1 and blamed.how != "operand"
    # Whole numbers choose, and the same ones are computed in many places: that they occur there too says little.
    sure = sure and all(value.kind != "whole" or value.leaf for value in _read_by(match, [*region, operation]))
    if operation.order != reader.order:
        counterpart = None
        if blamed.wanted is not None:
            counterpart = match.reference.producer(match.reference.behind(blamed.wanted))
        elif operation.order in match.anchors:
            counterpart = match.reference.operations[match.anchors[operation.order]]
    if blamed.how == "extra":  # in the function in which what should be used was at hand
        frames = own(operation)
        twins = match.known_reference.twins.get(blamed.wanted or 0, [])
        source = match.candidate.producer(match.candidate.behind(twins[0])) if twins else None
        levels = min(inner_levels(frames, own(one)) for one in (source or reader, reader))
        frame = frames[min(levels, len(frames) - 1)] if frames else operation.frame
        return Place("extra", operation, frame, theirs, None, sure and frame == operation.frame)
    if blamed.how == "added":
        return Place("extra", operation, operation.frame, theirs, None, sure)
    chosen = other_parameter(match, operation, counterpart) if counterpart is not None else None
    if blamed.how == "differs" and counterpart is not None and chosen is not None:
        return Place("operand", operation, chosen, counterpart.frame, None, sure and chosen == operation.frame)
    if blamed.how == "differs" and counterpart is not None:
        moved = other_operand(match, operation, counterpart, sources)
        if moved is not None:
            frame = moved.candidate
            on_the_way = [step for n in operation.inputs for step in views(match.candidate, n)]
            sure = (
                sure and not moved.named and frame == operation.frame and all(_at(frame, step) for step in on_the_way)
            )
            sure = sure and (
                moved.kind != "missing" or _one_call(match, operation, match.candidate.data(operation), None)
            )
            return Place(moved.kind, operation, frame, moved.reference, None, sure)
    if blamed.how == "differs":
        step = turned(match, operation, counterpart, found.mine, found.theirs, same)
        if step is not None:
            return Place("differs", step, step.frame, counterpart.frame if counterpart else theirs, None, False)
        other = _other_read(match, reader, trial, sources)
        if isinstance(other, Place):
            return other
        repair = blame.foreign(blamed)
        mended = _mended(match, replace(blamed, repair=repair), sources) if repair is not None else None
        if mended is not None:
            return Place(mended[0], operation, mended[1], theirs, None, False)
        sure = sure and not other and not _equal(operation, counterpart)
    kind = "operand" if blamed.how == "operand" else "differs"
    index = _index(match, operation) if kind == "differs" else None
    if index is not None:
        return Place("operand", operation, index, counterpart.frame if counterpart else theirs, counterpart, False)
    return Place(kind, operation, operation.frame, counterpart.frame if counterpart else theirs, counterpart, sure)


def _other_read(match: Match, reader: Operation, trial: Trial, sources: Sources) -> Place | bool:
    """Where one known value is read in another's place, by the values that go into what was replaced on both sides; else
    whether any other does on one of them."""
    if trial.counterpart is None or match.known_reference.good(trial.pairs[0][1]):
        return False
    theirs = match.reference.operations[trial.counterpart]
    mine_only, theirs_only = unlike(
        match,
        behind(match.candidate, match.candidate_suspects, reader),
        behind(match.reference, match.reference_suspects, theirs),
    )
    if len(mine_only) != 1 or len(theirs_only) != 1 or not match.known_reference.good(theirs_only[0]):
        return bool(mine_only or theirs_only)
    operation, _ = mine_only[0]
    pairs = itertools.pairwise(own(operation))
    frame = next((f for f in (sources.exchanged(outer, inner) for inner, outer in pairs) if f), operation.frame)
    return Place("operand", operation, frame, theirs.frame, None, False)


def _equal(operation: Operation, counterpart: Operation | None) -> bool:
    """Whether nothing tells two operations apart that are given the same: then it is not all that they are given."""
    return counterpart is not None and (operation.name, operation.scalars) == (counterpart.name, counterpart.scalars)


def _mended(match: Match, blamed: Blamed, sources: Sources) -> tuple[Kind, Frame | None] | None:
    """Where a change that would mend a value belongs: values that are read in each other's place where the call names
    them so or both are made, a value that is read for one that the candidate never makes where it is made."""
    repair, graph = blamed.repair, match.candidate
    if repair is None or repair.read is None or repair.wanted is None or repair.way == "lost":
        return "differs", blamed.operation.frame
    for inner, outer in itertools.pairwise(own(blamed.operation)):
        found = sources.exchanged(outer, inner)
        if found is not None:
            return "operand", found
    makers = [graph.producer(graph.whole(repair.read))]
    if repair.way == "exchanged":
        makers.append(graph.producer(graph.whole(repair.wanted)))
    between = [beside(own(blamed.operation), own(m)) for m in makers if m is not None]
    moved = handed_on(sources, between[0][0], [b[1] for b in between if b]) if between and between[0] else None
    if moved is not None and all(between):
        return "operand", moved
    frames = [m.frame for m in makers if m is not None and m.frame is not None and m.frame.own]
    lines = {(f.file, f.line) for f in frames}
    never = repair.foreign and not match.known_reference.good(match.reference.behind(repair.wanted))
    if (never or repair.way == "exchanged") and len(frames) == len(makers) and len(lines) == 1:
        return "operand", frames[0]
    return "operand", blamed.operation.frame


def _index(match: Match, operation: Operation) -> Frame | None:
    """Where an index was made that both sides know, for an operation that hands it on to what chooses by it."""
    graph = match.candidate
    if operation.short not in VIEWS | PARTS or not operation.inputs or not operation.frame:
        return None
    number = operation.inputs[0]
    while graph.values[number].kind == "whole" and match.known_candidate.good(number):
        maker = graph.producer(number)
        if maker is None or not maker.inputs or maker.frame is None or not maker.frame.own:
            return None
        if (maker.frame.file, maker.frame.line) != (operation.frame.file, operation.frame.line):
            return maker.frame
        number = maker.inputs[0]
    return None


def _read_by(match: Match, operations: list[Operation]) -> list[Value]:
    """What operations read."""
    return [match.candidate.values[n] for operation in operations for n in operation.inputs]


def fed(match: Match, trial: Trial, sources: Sources) -> Place:
    operation = match.candidate.operations[trial.operation]
    counterpart = None if trial.counterpart is None else match.reference.operations[trial.counterpart]
    joins, read = joined_otherwise(match), match.candidate.producer(match.candidate.whole(trial.feeds[0][1]))
    if joins is not None and joins[0] is read:
        frame = put_in_order(match, *joins, sources) or read.frame
        return Place("operand", read, frame, joins[1].frame, joins[1], False)
    found = operand(match, operation, counterpart, trial.feeds[0], sources)
    frame = found.candidate
    wanted = match.reference.producer(match.reference.behind(trial.feeds[0][2]))
    alone = found.kind != "missing" or _one_call(match, operation, trial.feeds[0][1:2], wanted)
    on_the_way = views(match.candidate, trial.feeds[0][1])
    sure = all(_at(frame, step) for step in (operation, *on_the_way))
    sure = (
        sure and alone and not found.named and frame == operation.frame
    )  # a line that called it may have called other lines too
    return Place(found.kind, operation, frame, found.reference, None, sure)


def _one_call(match: Match, operation: Operation, numbers: Sequence[int], maker: Operation | None) -> bool:
    """Whether what made some values is in the same call of a function as what reads them, and what is missing between them
    is one line of the reference's."""
    made = all(one_call(operation, match.candidate.producer(match.candidate.behind(n))) for n in numbers)
    return made and (maker is None or len(missing_lines(match, maker)) == 1)


def _at(frame: Frame | None, operation: Operation) -> bool:
    """Whether a line led to an operation."""
    return frame is not None and any((f.file, f.line) == (frame.file, frame.line) for f in operation.stack)


def put_in_order(match: Match, operation: Operation, compared: Operation | None, sources: Sources) -> Frame | None:
    """Where what an operation was given was put in order, for one that joins known values, or was given numbers in which
    alone it differs from the reference's."""
    joins = operation.short in JOINS and all(match.known_candidate.good(n) for n in operation.inputs)
    alike = compared is not None and compared.short == operation.short and compared.scalars != operation.scalars
    frame = operation.frame
    return grouped(sources, frame) if (joins or alike) and frame is not None and frame.own else None
