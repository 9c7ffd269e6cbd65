"""From the trial that explains a fault to what is said of it: where, what kind, how sure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from verify.compare import Gap, gap
from verify.divergence.alignment import near
from verify.divergence.blame import Blame, behind, steps
from verify.divergence.graph import PARTS, VIEWS, Frame, Graph, Operation, Value
from verify.divergence.others import other_buffer, other_module, other_size
from verify.divergence.search import Round
from verify.divergence.settings import set_at, setting_of
from verify.divergence.sources import Sources
from verify.divergence.trials import Match, Trial

Confidence = Literal["confirmed", "aligned", "module"]
Kind = Literal["differs", "setting", "missing", "extra", "operand", "branch"]


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


def judge(found: Round, sources: Mapping[str, Sources], origins: Mapping[str, Any], *, complete: bool) -> Culprit:
    """What a round found. complete: whether all outputs agree once all rounds' trials are applied.

    Raises Unexplained.
    """
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
        made = setting_of(operation, compared, sources["candidate"], origins)
        if made is not None:
            kind, (setting, frame) = "setting", made
    sure = complete and place.sure and not match.cut
    if kind == "differs" and compared is not None and compared.short == operation.short:
        sure = sure and compared.scalars == operation.scalars  # else the number came from somewhere
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


def _told_by_parameters(match: Match, sources: Sources, origins: Mapping[str, Any]) -> Culprit | None:
    """What the parameters and buffers that both sides read say without a trial: that other ones are read, that a buffer
    holds other values, or that what they make is of another size."""
    chosen = other_module(match)
    if chosen is not None:
        return _plainly(match, "operand", chosen[0], chosen[1], chosen[2])
    buffer = other_buffer(match)
    filled = set_at(buffer[2], origins) if buffer is not None else None
    if buffer is not None and filled is not None:
        return _plainly(match, "setting", buffer[0], buffer[1], filled, buffer[2])
    resized = other_size(match)
    if resized is None:
        return None
    made = setting_of(*resized, sources, origins)
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
        for reader in _final_readers(match.candidate, number):
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


FILLS = frozenset(
    {
        "ones_like",
        "zeros_like",
        "full_like",
        "ones",
        "zeros",
        "full",
        "fill",
        "zero",
        "new_ones",
        "new_zeros",
        "new_full",
    }
)
SAME = 1e-12
"""Relative difference of the prints of one side's value before and after steps that do nothing."""


def own(operation: Operation) -> list[Frame]:
    return [f for f in operation.stack if f.own]


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
    blamed = Blame(match, found.mine, found.theirs).follow(number, expected, wanted)
    operation = blamed.operation
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
        levels = min(_inner_levels(frames, own(one)) for one in (source or reader, reader))
        frame = frames[min(levels, len(frames) - 1)] if frames else operation.frame
        return Place("extra", operation, frame, theirs, None, sure and frame == operation.frame)
    if blamed.how == "added":
        return Place("extra", operation, operation.frame, theirs, None, sure)
    chosen = _other_parameter(match, operation, counterpart) if counterpart is not None else None
    if blamed.how == "differs" and counterpart is not None and chosen is not None:
        return Place("operand", operation, chosen, counterpart.frame, None, sure and chosen == operation.frame)
    if blamed.how == "differs" and counterpart is not None:
        moved = _other_operand(match, operation, counterpart, sources)
        if moved is not None:
            kind, frame, reference = moved
            on_the_way = [step for n in operation.inputs for step in _views(match.candidate, n)]
            sure = sure and frame == operation.frame and all(_at(frame, step) for step in on_the_way)
            return Place(kind, operation, frame, reference, None, sure)
    kind = "operand" if blamed.how == "operand" else "differs"
    index = _index(match, operation) if kind == "differs" else None
    if index is not None:
        return Place("operand", operation, index, counterpart.frame if counterpart else theirs, counterpart, False)
    return Place(kind, operation, operation.frame, counterpart.frame if counterpart else theirs, counterpart, sure)


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
    kind, frame, theirs = _operand(match, operation, counterpart, trial.feeds[0], sources)
    on_the_way = _views(match.candidate, trial.feeds[0][1])
    sure = all(_at(frame, step) for step in (operation, *on_the_way))
    sure = sure and frame == operation.frame  # a line that called it may have called other lines too
    return Place(kind, operation, frame, theirs, None, sure)


def _at(frame: Frame | None, operation: Operation) -> bool:
    """Whether a line led to an operation."""
    return frame is not None and any((f.file, f.line) == (frame.file, frame.line) for f in operation.stack)


def _views(graph: Graph, number: int) -> list[Operation]:
    """The views and copies that lead to a value."""
    found, end = [], graph.behind(number)
    while number != end:
        maker = graph.producer(number)
        if maker is None:
            break
        found.append(maker)
        number = maker.inputs[0]
    return found


def _other_parameter(match: Match, operation: Operation, counterpart: Operation) -> Frame | None:
    """Where a module was chosen whose parameter the operation reads, if the counterpart reads another one's."""
    if operation.short != counterpart.short:
        return None
    mine = sorted({r for r in map(match.candidate.root, operation.inputs) if r})
    theirs = sorted({r for r in map(match.reference.root, counterpart.inputs) if r})
    frames = own(operation)
    if len(mine) != len(theirs) or mine == theirs or not frames:
        return None
    return frames[min(_after_difference(mine[0], theirs[0]) - 2, len(frames) - 1)]


def _after_difference(first: str, second: str) -> int:
    """How many parts of a dotted name are left from the first on that differs."""
    a, b = first.split("."), second.split(".")
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)) - 1)
    return max(len(a) - same, 2)


def _other_operand(
    match: Match, operation: Operation, counterpart: Operation, sources: Sources
) -> tuple[Kind, Frame | None, Frame | None] | None:
    """Whether the counterpart reads a value that this operation was not given."""
    candidate, reference = match.candidate, match.reference
    if operation.short != counterpart.short or len(operation.inputs) != len(counterpart.inputs):
        return None
    moved = []
    for mine, theirs in zip(operation.inputs, counterpart.inputs, strict=True):
        alike = candidate.values[mine].count == reference.values[theirs].count
        known = {n for n in (mine, candidate.behind(mine)) if match.known_candidate.good(n)}
        twins = {reference.behind(t) for n in known for t in match.known_candidate.twins.get(n, ())}
        moved.append(alike and bool(twins) and reference.behind(theirs) not in twins and theirs not in twins)
    if not any(moved):
        return None
    place = moved.index(True)
    feed = (operation.order, operation.inputs[place], counterpart.inputs[place])
    return _operand(match, operation, counterpart, feed, sources)


def _operand(
    match: Match, operation: Operation, counterpart: Operation | None, feed: tuple[int, int, int], sources: Sources
) -> tuple[Kind, Frame | None, Frame | None]:
    """An operation that was given a known value where the counterpart is given another.

    The line is that of a sibling (the same step of the reference done right for another value), else beside the step
    that the reference has more in common with: the one before it, or the one that reads it.
    """
    _, mine, theirs = feed
    candidate, reference = match.candidate, match.reference
    wanted = reference.behind(theirs)
    maker = reference.producer(wanted)
    frames = own(operation)
    if maker is None or counterpart is None or not frames:
        return "operand", operation.frame, counterpart.frame if counterpart else None
    kind: Kind = "operand" if match.known_reference.good(wanted) else "missing"
    neutral = _neutral(match, mine) if kind == "missing" else None
    if neutral is not None:
        return "differs", neutral.frame, maker.frame
    makers = _shared(match, maker) if kind == "missing" else own(maker)
    reader_frame = frames[min(_inner_levels(own(counterpart), makers), len(frames) - 1)]
    if kind == "missing" and (call := _missing_call(match, maker)) is not None:
        return kind, call, maker.frame
    sibling = _sibling(match, maker, operation)
    if sibling is not None:
        return kind, sibling, maker.frame
    before = candidate.producer(candidate.behind(mine))
    if before is not None and before.short == maker.short and own(before) and candidate.root(mine) == "":
        data, other = candidate.data(before), reference.data(maker)
        if len(data) == len(other) and len(data) < len(before.inputs):
            twins = {reference.behind(t) for n in data for t in match.known_candidate.twins.get(n, ())}
            if data and {reference.behind(n) for n in other} <= twins:  # the same step with another parameter
                return "operand", own(before)[0], maker.frame
    previous = [p for p in (reference.producer(reference.behind(n)) for n in maker.inputs) if p is not None]
    alone = len({o.order for o in _final_readers(candidate, candidate.behind(mine))}) == 1
    if before is not None and previous and own(before):
        nearest = max(previous, key=lambda p: _common(makers, own(p)))
        to_maker, to_reader = _common(makers, own(nearest)), _common(makers, own(counterpart))
        if to_reader[0] == len(makers) and not _within(counterpart, maker):  # the same function, called once more
            to_reader = (len(makers) - 1, True)
        last = own(before)[0]
        if len(makers) < len(own(maker)):  # a whole call is missing: where its like is made
            level = len(own(before)) - len(makers)
            return kind, own(before)[level] if level >= 0 else last, maker.frame
        if to_maker[0] > to_reader[0]:  # it is the last step of a function that the reader is not in
            last = own(before)[max(len(own(before)) - len(makers), 0)]
            line = sources.after(last.file, last.line)
            return kind, last if line is None else Frame(last.file, line, last.function, True, -1), maker.frame
        together = to_maker > to_reader and len(own(nearest)) == to_maker[0]
        level = len(own(nearest)) == to_maker[0]
        if together or (to_maker == to_reader and alone and level) or (alone and kind == "operand"):
            return kind, last, maker.frame
    return kind, reader_frame, maker.frame


def _within(operation: Operation, outer: Operation) -> bool:
    """Whether an operation belongs to the module whose code asked for another, or to one inside that."""
    inside, around = (o.path.partition("#")[0] for o in (operation, outer))
    around = around.rpartition(".")[0] if outer.inside else around
    return inside == around or not around or inside.startswith(f"{around}.")


def _shared(match: Match, maker: Operation) -> list[Frame]:
    """The frames that a missing operation shares with all that is missing before it."""
    shared = own(maker)
    for operation in behind(match.reference, match.reference_suspects, maker):
        count = max(_common(shared, own(operation))[0], 1)
        shared = shared[max(len(shared) - count, 0) :]
    return shared


def _neutral(match: Match, number: int) -> Operation | None:
    """Where a value went through steps that did nothing to it, such as a product with ones: what made them do nothing.

    It is what fills a tensor with one number; else the first operation that gives these steps something which the
    reference does not have.
    """
    graph, known = match.candidate, match.known_candidate
    before = graph.ancestors(number)
    alike = [n for n in before if n != number and graph.values[n].count == graph.values[number].count]
    same = [n for n in alike if near(graph.vectors[n][:4], graph.vectors[number][:4], 1, SAME).all()]
    makers = [graph.producer(n) for n in before]
    orders = {maker.order for maker in makers if maker is not None}
    source = graph.producer(min(same)) if same else None
    steps = [graph.operations[o] for o in sorted(orders) if source is not None and o > source.order]
    steps = [o for o in steps if o.short in ("mul", "add", "sub", "div")]
    strange = {n for o in steps for n in o.inputs if not known.good(n) and not graph.root(n)}
    made = [graph.producer(n) for s in strange for n in graph.ancestors(s) if not known.good(n)]
    filled = [o for o in made if o is not None and o.short in FILLS]
    first = [o for o in made if o is not None and all(known.good(n) for n in o.inputs)]
    return min(filled or first, key=lambda o: o.order, default=None)


def _missing_call(match: Match, maker: Operation) -> Frame | None:
    """Where the like of a module is called whose parameters the candidate never reads: one layer of many."""
    candidate, reference = match.candidate, match.reference
    used = {root for roots, _ in candidate.anchors for root in roots}
    region = behind(reference, match.reference_suspects, maker)
    unused = sorted({r for o in region for r in map(reference.root, o.inputs) if r and r not in used})
    if len(unused) < 2:
        return None
    parts = [name.split(".") for name in unused]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    for (roots, _), orders in sorted(candidate.anchors.items(), key=lambda item: -item[1][0]):
        like = roots[0].split(".")
        for name in parts:
            alike = (
                shared > 0
                and len(like) == len(name)
                and like[: shared - 1] == name[: shared - 1]
                and like[shared - 1].isdigit()
                and name[shared - 1].isdigit()
                and like[shared:] == name[shared:]
            )
            frames = own(candidate.operations[orders[0]])
            if alike and len(frames) > len(name) - shared - 1:
                return frames[len(name) - shared - 1]
    return None


def _sibling(match: Match, maker: Operation, operation: Operation) -> Frame | None:
    """Where the candidate does, for another value of the same call, what the reference does at the missing step."""
    for order in match.reference.instances(maker):
        other = match.reference.operations[order]
        if other.order == maker.order or other.path != maker.path or set(other.outputs) & set(maker.inputs):
            continue
        for output in other.outputs:
            for twin in match.known_reference.twins.get(output, ()):
                done = match.candidate.producer(match.candidate.behind(twin))
                if done is not None and own(done):
                    frames = own(done)
                    return frames[min(_inner_levels(frames, own(operation)), len(frames) - 1)]
    return None


def _final_readers(graph: Graph, number: int, depth: int = 6) -> Iterator[Operation]:
    """Operations that read a value, directly or through views, views left out."""
    for order in graph.consumers.get(number, ()):
        operation = graph.operations[order]
        if operation.short in VIEWS and depth:
            for output in operation.outputs:
                yield from _final_readers(graph, output, depth - 1)
        else:
            yield operation


def _common(first: list[Frame], second: list[Frame]) -> tuple[int, bool]:
    """How many functions two stacks share from the outside, and whether the last of them is at the same line."""
    count, line = 0, False
    for a, b in zip(reversed(first), reversed(second), strict=False):
        if (a.file, a.function) != (b.file, b.function):
            break
        count, line = count + 1, a.line == b.line
        if not line:
            break
    return count, line


def _inner_levels(reader: list[Frame], maker: list[Frame]) -> int:
    """How many frames the reader is deeper than the function that it has in common with the maker of what it reads."""
    return max(len(reader) - max(_common(reader, maker)[0], 1), 0)


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
        depth = max(_common(mine, theirs)[0], 1)
        if (
            other is not None and held.path.partition("#")[0] != other.path.partition("#")[0]
        ):  # two calls of one function
            apart = _after_difference(held.path.partition("#")[0], other.path.partition("#")[0]) - 1
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
