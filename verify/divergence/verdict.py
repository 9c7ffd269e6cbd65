"""From the trial that explains a fault to what is said of it: where, what kind, how sure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from verify.compare import Gap, gap
from verify.divergence.attention import other_scale
from verify.divergence.blame import Blame, Blamed, behind, steps
from verify.divergence.choices import other_choice
from verify.divergence.constructed import constructed, filled_at
from verify.divergence.graph import PARTS, VIEWS, Frame, Graph, Operation, Value
from verify.divergence.names import called_in_turn, grouped, handed_on
from verify.divergence.operands import (
    Kind,
    after_difference,
    beside,
    common,
    final_readers,
    inner_levels,
    operand,
    other_operand,
    other_parameter,
    own,
    views,
)
from verify.divergence.others import other_buffer, other_module, other_size, same_given
from verify.divergence.search import Round
from verify.divergence.settings import setting_of
from verify.divergence.sources import Sources
from verify.divergence.trials import Match, Trial
from verify.trace import Role

JOINS = frozenset({"cat", "stack"})
Confidence = Literal["confirmed", "aligned", "module"]


class Unexplained(Exception):
    """No trial and no rule says where a difference comes from."""


@dataclass(frozen=True, kw_only=True)
class Culprit:
    """One fault. candidate: the place to look at; operation: what was computed there.

    kind: differs (given the same, it gives another value), setting (a number or module made elsewhere), missing or
    extra (an operation that one side leaves out), operand (another value is read), branch (another way was taken).
    """

    kind: Kind
    confidence: Confidence
    candidate: Frame | None
    reference: Frame | None
    operation: Operation
    counterpart: Operation | None
    callers: tuple[Frame, ...] = ()
    calls: int = 1
    call_index: int = 0
    gap: Gap | None = None
    setting: str = ""
    flow: tuple[str, ...] = ()


def judge(found: Round, sources: Mapping[str, Sources], origins: Mapping[Role, Any], *, complete: bool) -> Culprit:
    """What a round found. complete: whether all outputs agree once all rounds' trials are applied.

    sources and origins are by role.

    Raises Unexplained.
    """
    culprit = _judged(found, sources, origins, complete=complete)
    untaken = _untaken(found.match, culprit, sources["candidate"]) if culprit.kind == "missing" else None
    return culprit if untaken is None else replace(culprit, kind="branch", confidence="aligned", candidate=untaken)


def _untaken(match: Match, culprit: Culprit, sources: Sources) -> Frame | None:
    """Where the candidate has the missing step, behind an `if` that it did not take."""
    candidate, reference, maker = match.candidate, match.reference, culprit.counterpart
    if maker is None or culprit.candidate is None:
        return None
    used = {root for roots, _ in candidate.anchors for root in roots}
    missing = behind(reference, match.reference_suspects, maker)
    before = [reference.producer(n) for n in reference.ancestors(maker.outputs[0])] if maker.outputs else []
    read = {r for o in (*missing, *before) if o is not None for r in map(reference.root, o.inputs)}
    names = {part for root in read - used for part in root.split(".")[:-1] if not part.isdigit()}
    file = culprit.candidate.file
    ran = {f.line: f for o in candidate.operations for f in o.stack if f.own and f.file == file}
    line = sources.untaken(file, names, set(ran)) if names else None
    if line is None:
        return None
    around = sources.function(file, line)
    function = next(f.function for f in ran.values() if sources.function(file, f.line) is around)
    return Frame(file, line, function, True, -1)


def _judged(found: Round, sources: Mapping[str, Sources], origins: Mapping[Role, Any], *, complete: bool) -> Culprit:
    """The same, by what ran alone."""
    match = found.match
    told = _told_by_parameters(match, sources["candidate"], origins)
    if told is not None:
        return told
    if found.best is None:
        if not match.misplaced:
            raise Unexplained("no trial explains the difference")
        return _misplaced(match, sources["candidate"])
    trial = found.best.trial
    if trial.swap:
        mine = match.candidate.operations[trial.operation]
        return _plainly(match, "operand", mine, None, _exchange(match, trial, sources["candidate"]) or mine.frame)
    place = _fed(match, trial, sources["candidate"]) if trial.feeds else _replaced(found, trial, sources["candidate"])
    kind, operation, frame = place.kind, place.operation, place.candidate
    setting = ""
    counterpart = None if trial.counterpart is None else match.reference.operations[trial.counterpart]
    compared = place.counterpart or counterpart
    if kind == "differs" and compared is not None:
        given = same_given(match, operation, compared)
        made = setting_of(operation, compared, sources["candidate"], origins["candidate"], same_given=given)
        if made is not None:
            kind, (setting, frame) = "setting", made
    sure = complete and place.sure and not match.cut
    if kind == "differs" and compared is not None and compared.short == operation.short:
        sure = sure and compared.scalars == operation.scalars  # else the number came from somewhere
    parted = _grouped(match, operation, compared, sources["candidate"]) if kind == "differs" else None
    if parted is not None:
        kind, frame, sure = "operand", parted, False
    if kind == "differs" and frame is not None:
        turned = _branch(match, operation, frame, sources["candidate"])
        if turned is not None:
            kind, frame = "branch", turned
    return Culprit(
        kind=kind,
        confidence="confirmed" if sure and _first(match, operation) else "aligned",
        candidate=frame,
        reference=place.reference,
        operation=operation,
        counterpart=place.counterpart or counterpart,
        callers=_callers(operation, frame),
        calls=len(match.candidate.instances(operation)),
        call_index=match.candidate.call_index(operation),
        gap=_gap(found, trial),
        setting=setting,
        flow=tuple(_flow(match.candidate, operation)),
    )


def _grouped(match: Match, operation: Operation, compared: Operation | None, sources: Sources) -> Frame | None:
    """Where what an operation was given was put in order, for one that joins known values, or was given numbers in which
    alone it differs from the reference's."""
    joins = operation.short in JOINS and all(match.known_candidate.good(n) for n in operation.inputs)
    alike = compared is not None and compared.short == operation.short and compared.scalars != operation.scalars
    frame = operation.frame
    return grouped(sources, frame) if (joins or alike) and frame is not None and frame.own else None


def _told_by_parameters(match: Match, sources: Sources, origins: Mapping[Role, Any]) -> Culprit | None:
    """What the parameters and buffers that both sides read say without a trial: that other ones are made or read, that a
    buffer holds other values, that what they make is of another size, or that another number of elements is chosen."""
    told = constructed(match, sources, origins)
    if told is not None:
        return _plainly(match, "setting", *told)
    chosen = other_module(match)
    if chosen is not None:
        return _plainly(match, "operand", chosen[0], chosen[1], called_in_turn(sources, chosen[2]))
    buffer = other_buffer(match)
    filled = filled_at(buffer[2], sources, origins["candidate"]) if buffer is not None else None
    if buffer is not None and filled is not None:
        return _plainly(match, "setting", buffer[0], buffer[1], filled, buffer[2])
    resized = other_size(match) or other_choice(match)
    if resized is None:
        return None
    made = setting_of(*resized, sources, origins["candidate"])
    if made is None:
        return _plainly(match, "differs", *resized, resized[0].frame)
    return _plainly(match, "setting", *resized, made[1], made[0])


def _plainly(
    match: Match, kind: Kind, mine: Operation, theirs: Operation | None, line: Frame | None, setting: str = ""
) -> Culprit:
    return Culprit(
        kind=kind,
        confidence="aligned",
        candidate=line,
        reference=theirs.frame if theirs is not None else None,
        operation=mine,
        counterpart=theirs,
        callers=_callers(mine, line),
        calls=len(match.candidate.instances(mine)),
        call_index=match.candidate.call_index(mine),
        setting=setting,
        flow=tuple(_flow(match.candidate, mine)),
    )


def _exchange(match: Match, trial: Trial, sources: Sources) -> Frame | None:
    """On the way to where values that take each other's place are read: the function that names them so."""
    for number, _ in trial.pairs:
        for reader in final_readers(match.candidate, number):
            frames = own(reader)
            for inner, outer in itertools.pairwise(frames):
                found = sources.exchanged(outer, inner)
                if found is not None:
                    return found
    return None


def _first(match: Match, operation: Operation) -> bool:
    """Whether nothing before what is blamed is strange to the reference, but what leads to it."""
    found = match.candidate_suspects
    region = {o.order for o in behind(match.candidate, found, operation)}
    return all(order in region for order in found.operations if order < operation.order)


@dataclass(frozen=True)
class Place:
    """Where a fault is. sure: whether nothing else in reach could be meant."""

    kind: Kind
    operation: Operation
    candidate: Frame | None
    reference: Frame | None
    counterpart: Operation | None
    sure: bool


def _callers(operation: Operation, frame: Frame | None) -> tuple[Frame, ...]:
    frames = own(operation)
    return tuple(frames[frames.index(frame) + 1 :]) if frame in frames else ()


def _gap(found: Round, trial: Trial) -> Gap | None:
    """Element-wise difference of what was replaced, in the layout in which it was."""
    a, b = trial.primary
    if a not in found.mine or b not in found.theirs:
        return None
    mine, theirs = found.mine[a], found.theirs[b]
    turned = theirs.transpose(trial.axes) if trial.axes else theirs
    if turned.size != mine.size or not mine.size:
        return None
    return gap(np.ascontiguousarray(turned).reshape(mine.shape), mine)


# Where a value differs although its inputs agree


def _replaced(found: Round, trial: Trial, sources: Sources) -> Place:
    """Blames the operation that made a replaced value, or one behind it that the reference has no counterpart of."""
    match = found.match
    reader = match.candidate.operations[trial.operation]
    number, wanted = trial.pairs[0]
    counterpart = None if trial.counterpart is None else match.reference.operations[trial.counterpart]
    theirs = counterpart.frame if counterpart is not None else None
    expected = None
    if number in found.mine and wanted in found.theirs:
        turned = found.theirs[wanted].transpose(trial.axes) if trial.axes else found.theirs[wanted]
        expected = np.ascontiguousarray(turned).reshape(found.mine[number].shape)
    attention = behind(match.candidate, match.candidate_suspects, reader)
    scaling = other_scale(attention, found.mine.get(number), counterpart, found.theirs)
    if scaling is not None:
        return Place("differs", scaling, scaling.frame, theirs, counterpart, False)
    blamed = Blame(match, found.mine, found.theirs).follow(number, expected, wanted)
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
            return Place(moved.kind, operation, frame, moved.reference, None, sure)
    kind = "operand" if blamed.how == "operand" else "differs"
    index = _index(match, operation) if kind == "differs" else None
    if index is not None:
        return Place("operand", operation, index, counterpart.frame if counterpart else theirs, counterpart, False)
    return Place(kind, operation, operation.frame, counterpart.frame if counterpart else theirs, counterpart, sure)


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


def _fed(match: Match, trial: Trial, sources: Sources) -> Place:
    operation = match.candidate.operations[trial.operation]
    counterpart = None if trial.counterpart is None else match.reference.operations[trial.counterpart]
    found = operand(match, operation, counterpart, trial.feeds[0], sources)
    frame = found.candidate
    on_the_way = views(match.candidate, trial.feeds[0][1])
    sure = all(_at(frame, step) for step in (operation, *on_the_way))
    sure = (
        sure and not found.named and frame == operation.frame
    )  # a line that called it may have called other lines too
    return Place(found.kind, operation, frame, found.reference, None, sure)


def _at(frame: Frame | None, operation: Operation) -> bool:
    """Whether a line led to an operation."""
    return frame is not None and any((f.file, f.line) == (frame.file, frame.line) for f in operation.stack)


def _misplaced(match: Match, sources: Sources) -> Culprit:
    """Outputs that hold a value which the reference returns elsewhere or uses inside: where that is chosen.

    The innermost function in which both the value that is returned and the one that should be are at hand.
    """
    best: tuple[int, Operation, Frame, Operation | None] | None = None
    missing = False
    for path in match.misplaced:
        held = match.candidate.producer(match.candidate.behind(match.candidate.outputs[path]))
        wanted = match.reference.outputs[path]
        maker = match.reference.producer(match.reference.behind(wanted))
        twins = match.known_reference.twins.get(wanted, [])
        other = match.candidate.producer(match.candidate.behind(twins[0])) if twins else None
        if held is None or not own(held):
            continue
        mine, theirs = own(held), own(other) if other is not None else []
        if other is None and maker is not None:  # the last step was left out
            depth = len(own(maker))
            frame = mine[max(len(mine) - depth, 0)]
            if best is None or depth > best[0]:
                best, missing = (depth, held, frame, maker), True
            continue
        depth = max(common(mine, theirs)[0], 1)
        if (
            other is not None and held.path.partition("#")[0] != other.path.partition("#")[0]
        ):  # two calls of one function
            apart = after_difference(held.path.partition("#")[0], other.path.partition("#")[0]) - 1
            depth = max(min(depth, len(mine) - max(apart, 1)), 1)
        frames = [stack[len(stack) - depth] for stack in (mine, theirs) if len(stack) >= depth]
        frame = max(frames, key=lambda f: f.line)
        if best is None or depth > best[0]:
            best, missing = (depth, held, frame, maker), False
    if best is None:
        raise Unexplained("no operation made the output")
    _, held, frame, maker = best
    returned = None if missing else sources.after(frame.file, frame.line)
    if returned is not None:
        frame = Frame(frame.file, returned, frame.function, True, -1)
    return Culprit(
        kind="missing" if missing else "operand", confidence="aligned", candidate=frame, reference=maker.frame if maker else None,
        operation=held, counterpart=maker, flow=tuple(_flow(match.candidate, held)),
    )  # fmt: skip


# Branches


def _branch(match: Match, operation: Operation, frame: Frame, sources: Sources) -> Frame | None:
    """The `if` or `while` around the blamed line, where its test read a tensor's value just before and only the
    candidate went this way."""
    around = sources.branch(frame.file, frame.line)
    if around is None:
        return None
    tests = range(around.lineno, (around.test.end_lineno or around.lineno) + 1)
    for earlier in match.candidate.operations[: operation.order]:
        place = earlier.frame
        reads = earlier.short in ("_local_scalar_dense", "is_nonzero", "equal")
        if reads and place is not None and place.file == frame.file and place.line in tests:
            return Frame(frame.file, around.lineno, frame.function, True, -1)
    return None


def _flow(graph: Graph, operation: Operation, depth: int = 3) -> list[str]:
    """The data flow into an operation, as lines of text, nearest first."""
    found: list[str] = []
    todo = [(operation, 0)]
    seen = set()
    while todo and len(found) < 12:
        current, level = todo.pop(0)
        if current.order in seen:
            continue
        seen.add(current.order)
        frame = current.frame
        where = f" at {frame.file}:{frame.line} in {frame.function}" if frame else ""
        shapes = ", ".join(str(list(graph.values[n].shape)) for n in current.inputs)
        if current.short not in VIEWS or not level:
            found.append(f"{'  ' * level}{current.short}({shapes}){where}")
        for number in current.inputs:
            maker, leaf = graph.producer(number), graph.values[number].leaf
            if maker is not None and level < depth:
                todo.append((maker, level + (current.short not in VIEWS)))
            elif leaf:
                found.append(f"{'  ' * (level + 1)}{leaf.replace(':', ' ', 1)} {list(graph.values[number].shape)}")
    return found
