"""Where an operation was given another value than its counterpart: the line that chose it, or that a step is missing at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from verify.divergence.alignment import near
from verify.divergence.blame import behind
from verify.divergence.graph import VIEWS, Frame, Graph, Operation
from verify.divergence.names import called_in_turn, handed_in, handed_on, named_at
from verify.divergence.sources import Sources
from verify.divergence.trials import Match, paired

Kind = Literal["differs", "setting", "missing", "extra", "operand", "branch"]
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
HALF = 0.5
"""Share of the parameters that two functions read from which on one may be the other."""
SAME = 1e-12
"""Relative difference of the prints of one side's value before and after steps that do nothing."""


@dataclass(frozen=True)
class Read:
    """Where another value is read than should be, on both sides. named: as the names of arguments tell."""

    kind: Kind
    candidate: Frame | None
    reference: Frame | None
    named: bool


def operand(
    match: Match, operation: Operation, counterpart: Operation | None, feed: tuple[int, int, int], sources: Sources
) -> Read:
    """An operation that was given a known value where the counterpart is given another.

    Where the value was handed to a function: the line at which names were exchanged, or the reading line itself, should
    the function have been handed the right value too. Else the line is that of a sibling (the same step of the reference done right for another value), else beside the step
    that the reference has more in common with: the one before it, or the one that reads it.
    """
    kind, frame, theirs = _operand(match, operation, counterpart, feed, sources)
    if kind == "missing" and frame is not None and counterpart is not None:
        frame = _lifted(match, operation, counterpart, feed, sources) or frame
    handed = _handed(match, operation, feed, frame, sources) if kind == "operand" else None
    handed = handed or _moved(match, operation, feed, kind, frame, sources)
    return Read(kind, handed or frame, theirs, handed is not None)


def _lifted(
    match: Match, operation: Operation, counterpart: Operation, feed: tuple[int, int, int], sources: Sources
) -> Frame | None:
    """Where a step is missing that the reference does in a function that the candidate has too: in the call of it that
    reads the value, or at the end of the one that made it. None where neither is known."""
    maker = match.reference.producer(match.reference.behind(feed[2]))
    before = match.candidate.producer(match.candidate.behind(feed[1]))
    makers = _shared(match, maker) if maker is not None else []
    function = corresponding(match, makers[0]) if makers else None
    if maker is None or function is None or missing_call(match, maker) is not None:
        return None
    here = [f for f in own(operation) if (f.file, f.function) == function]
    there = [f for f in own(before) if (f.file, f.function) == function] if before is not None else []
    previous = [p for p in (match.reference.producer(match.reference.behind(n)) for n in maker.inputs) if p is not None]
    reads, made = _within(counterpart, maker), any(_within(one, maker) for one in previous)
    if here and reads and not (made and there):  # else one call of the function made it and reads it
        return here[0]
    if there and made and not reads:
        line = sources.after(there[0].file, there[0].line)
        return there[0] if line is None else Frame(there[0].file, line, there[0].function, True, -1)
    return None


def corresponding(match: Match, frame: Frame) -> tuple[str, str] | None:
    """File and name of the candidate's function that does what a function of the reference does: the one of its name, or
    that in which most of the same parameters are read. Of several, such as a loop's and its body's, the one as deep."""
    mine, theirs = _functions(match.candidate), _functions(match.reference)
    same = [f for f in mine if f[1] == frame.function and f[1] not in ("forward", "__call__")]
    read = theirs.get((frame.file, frame.function), frozenset())
    if len(same) == 1 or not read:
        return same[0] if len(same) == 1 else None
    alike = {f: len(r & read) / len(r | read) for f, r in mine.items()}
    most = max(alike.values(), default=0.0)
    if most <= HALF:
        return None
    equals = [f for f, share in alike.items() if share == most]
    others = [f for f, r in theirs.items() if r == read]
    return equals[min(others.index((frame.file, frame.function)), len(equals) - 1)]


def _functions(graph: Graph) -> dict[tuple[str, str], frozenset[str]]:
    """By file and name of each function, the parameters that it, or what it calls, reads. Inner ones first."""
    found: dict[tuple[str, str], set[str]] = {}
    depth: dict[tuple[str, str], int] = {}
    for (roots, _), orders in graph.anchors.items():
        for level, frame in ((n, f) for o in orders for n, f in enumerate(own(graph.operations[o]))):
            key = frame.file, frame.function
            found.setdefault(key, set()).update(roots)
            depth[key] = max(depth.get(key, 0), level)
    return {key: frozenset(found[key]) for key in sorted(found, key=lambda k: depth[k])}


def _moved(
    match: Match, operation: Operation, feed: tuple[int, int, int], kind: Kind, frame: Frame | None, sources: Sources
) -> Frame | None:
    """Where the value that is read, or one before a missing step, is handed on by name; or where its reader names it."""
    maker = match.candidate.producer(match.candidate.behind(feed[1]))
    between = beside(own(operation), own(maker)) if maker is not None and frame is not None else None
    if between is None or kind not in ("missing", "operand"):
        return None
    reader, made = between
    inner = itertools.takewhile(lambda f: f is not reader, own(operation))
    for moved in (*(handed_in(sources, f) for f in inner), handed_on(sources, reader, (made,))):
        if moved is not None:
            return moved
    named = named_at(sources, reader, made)
    return named if frame == reader and named != reader else None


def _handed(
    match: Match, operation: Operation, feed: tuple[int, int, int], frame: Frame | None, sources: Sources
) -> Frame | None:
    """Where a value was mistaken for another on its way through calls, as far as their arguments' names tell."""
    frames = own(operation)
    for inner, outer in itertools.pairwise(frames):
        exchanged = sources.exchanged(outer, inner)
        if exchanged is not None:
            return exchanged
    graph = match.candidate
    read = graph.producer(graph.behind(feed[1]))
    twins = match.known_reference.twins.get(match.reference.behind(feed[2]), [])
    right = graph.producer(graph.behind(twins[0])) if twins else None
    if frame not in frames[1:] or read is None or right is None:
        return None
    level = frames.index(frame)
    beside = [_beside(own(o), frames, level) for o in (read, right)]
    if beside[0] is None or beside[1] is None or not sources.given_both(frame, beside[0], beside[1]):
        return None
    return frames[level - 1]


def _beside(frames: list[Frame], reader: list[Frame], level: int) -> Frame | None:
    """Of the lines that led to a value, the one in the function at a level of what reads it."""
    place = len(frames) - (len(reader) - level)
    return frames[place] if place >= 0 else None


def _operand(
    match: Match, operation: Operation, counterpart: Operation | None, feed: tuple[int, int, int], sources: Sources
) -> tuple[Kind, Frame | None, Frame | None]:
    """The same by the values alone."""
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
    reader_frame = frames[min(inner_levels(own(counterpart), makers), len(frames) - 1)]
    if kind == "missing" and (call := missing_call(match, maker)) is not None:
        return kind, called_in_turn(sources, call), maker.frame
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
    alone = len({o.order for o in final_readers(candidate, candidate.behind(mine))}) == 1
    if before is not None and previous and own(before):
        nearest = max(previous, key=lambda p: common(makers, own(p)))
        to_maker, to_reader = common(makers, own(nearest)), common(makers, own(counterpart))
        whole_call = len(makers) < len(own(maker))
        if to_reader[0] == len(makers) and not whole_call and not _within(counterpart, maker):
            # the same function, called once more
            to_reader = (len(makers) - 1, True)
        last = own(before)[0]
        if whole_call and to_reader == (len(makers), True):  # in the line that reads it
            return kind, reader_frame, maker.frame
        if whole_call:  # a whole call is missing: where its like is made
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


def other_operand(match: Match, operation: Operation, counterpart: Operation, sources: Sources) -> Read | None:
    """Whether the counterpart reads a value that this operation was not given."""
    candidate, reference = match.candidate, match.reference
    pairs = paired(match, operation.inputs, counterpart.inputs, operation.short)
    if operation.short != counterpart.short or len(operation.inputs) != len(counterpart.inputs):
        given, wanted = candidate.data(operation), reference.data(counterpart)
        if match.anchors.get(operation.order) != counterpart.order or not len(given) == len(wanted) == 1:
            return None
        pairs = [(given[0], wanted[0])]  # one step of the same parameters, done by another operation
    moved = []
    for mine, theirs in pairs:
        alike = candidate.values[mine].count == reference.values[theirs].count
        known = {n for n in (mine, candidate.behind(mine)) if match.known_candidate.good(n)}
        twins = {reference.behind(t) for n in known for t in match.known_candidate.twins.get(n, ())}
        moved.append(alike and bool(twins) and reference.behind(theirs) not in twins and theirs not in twins)
    if not any(moved):
        return None
    place = moved.index(True)
    feed = (operation.order, *pairs[place])
    return operand(match, operation, counterpart, feed, sources)


def other_parameter(match: Match, operation: Operation, counterpart: Operation) -> Frame | None:
    """Where a module was chosen whose parameter the operation reads, if the counterpart reads another one's."""
    if operation.short != counterpart.short:
        return None
    mine = sorted({r for r in map(match.candidate.root, operation.inputs) if r})
    theirs = sorted({r for r in map(match.reference.root, counterpart.inputs) if r})
    frames = own(operation)
    if len(mine) != len(theirs) or mine == theirs or not frames:
        return None
    return frames[min(after_difference(mine[0], theirs[0]) - 2, len(frames) - 1)]


def after_difference(first: str, second: str) -> int:
    """How many parts of a dotted name are left from the first on that differs."""
    a, b = first.split("."), second.split(".")
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)) - 1)
    return max(len(a) - same, 2)


def _within(operation: Operation, outer: Operation) -> bool:
    """Whether an operation belongs to the module whose code asked for another, or to one inside that."""
    inside, around = (o.path.partition("#")[0] for o in (operation, outer))
    around = around.rpartition(".")[0] if outer.inside else around
    return inside == around or not around or inside.startswith(f"{around}.")


def _shared(match: Match, maker: Operation) -> list[Frame]:
    """The frames that a missing operation shares with all that is missing before it, and with something that is not."""
    shared, missing = own(maker), behind(match.reference, match.reference_suspects, maker)
    for operation in missing:
        count = max(common(shared, own(operation))[0], 1)
        shared = shared[max(len(shared) - count, 0) :]
    orders = {operation.order for operation in missing}
    kept = (o for o in match.reference.operations if o.order not in orders and o.short not in VIEWS)
    stacks = [own(o) for o in kept]
    while len(shared) > 1 and not any(_in_call(stack, shared) for stack in stacks):
        shared = shared[1:]
    return shared


def _in_call(stack: list[Frame], call: list[Frame]) -> bool:
    """Whether a stack goes through the very call of a function that the innermost frame of another belongs to."""
    level = len(stack) - len(call)
    return level >= 0 and stack[level + 1 :] == call[1:] and stack[level].function == call[0].function


def missing_lines(match: Match, maker: Operation) -> set[tuple[str, int]]:
    """The lines, in the function that they share, by which a missing operation and all that is missing before it came."""
    level = len(_shared(match, maker))
    stacks = (own(o) for o in behind(match.reference, match.reference_suspects, maker))
    return {(s[-level].file, s[-level].line) for s in stacks if len(s) >= level > 0}


def one_call(operation: Operation, maker: Operation | None) -> bool:
    """Whether an operation and what made the value that it reads are in one call of a function: nothing between them can
    be missing elsewhere."""
    reader, made = own(operation), own(maker) if maker is not None else []
    if len(reader) < 2:
        return len(made) < 2
    return len(made) == len(reader) and made[1:] == reader[1:] and made[0].function == reader[0].function


def beside(reader: list[Frame], maker: list[Frame]) -> tuple[Frame, Frame] | None:
    """Of the lines that led to two operations, those in the innermost call of a function that both went through."""
    depth = 0
    for a, b in zip(reversed(reader), reversed(maker), strict=False):
        if (a.file, a.function) != (b.file, b.function):
            break
        depth += 1
        if a != b:
            break
    return (reader[len(reader) - depth], maker[len(maker) - depth]) if depth else None


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


def missing_call(match: Match, maker: Operation) -> Frame | None:
    """Where the like of a module is called whose parameters the candidate never reads: one layer of many."""
    candidate, reference = match.candidate, match.reference
    used = {root for roots, _ in candidate.anchors for root in roots}
    before = (reference.producer(n) for output in maker.outputs for n in reference.ancestors(output))
    unused = sorted({r for o in before if o is not None for r in map(reference.root, o.inputs) if r and r not in used})
    if len(unused) < 2:
        return None
    parts = [name.split(".") for name in unused]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    for (roots, _), orders in sorted(candidate.anchors.items(), key=lambda item: -item[1][0]):
        like = roots[0].split(".")
        for name in parts:
            apart = [n for n, pair in enumerate(zip(like, name, strict=False)) if pair[0] != pair[1]]
            if len(like) != len(name) or len(apart) != 1 or apart[0] >= shared:
                continue
            place = apart[0]
            frames = own(candidate.operations[orders[0]])
            if like[place].isdigit() and name[place].isdigit() and frames:
                return frames[min(len(name) - place - 2, len(frames) - 1)]  # a library's modules have no frame
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
                    return frames[min(inner_levels(frames, own(operation)), len(frames) - 1)]
    return None


def final_readers(graph: Graph, number: int, depth: int = 6) -> Iterator[Operation]:
    """Operations that read a value, directly or through views, views left out."""
    for order in graph.consumers.get(number, ()):
        operation = graph.operations[order]
        if operation.short in VIEWS and depth:
            for output in operation.outputs:
                yield from final_readers(graph, output, depth - 1)
        else:
            yield operation


def common(first: list[Frame], second: list[Frame]) -> tuple[int, bool]:
    """How many functions two stacks share from the outside, and whether the last of them is at the same line."""
    count, line = 0, False
    for a, b in zip(reversed(first), reversed(second), strict=False):
        if (a.file, a.function) != (b.file, b.function):
            break
        count, line = count + 1, a.line == b.line
        if not line:
            break
    return count, line


def inner_levels(reader: list[Frame], maker: list[Frame]) -> int:
    """How many frames the reader is deeper than the function that it has in common with the maker of what it reads."""
    return max(len(reader) - max(common(reader, maker)[0], 1), 0)


def views(graph: Graph, number: int) -> list[Operation]:
    """The views and copies that lead to a value."""
    found, end = [], graph.behind(number)
    while number != end:
        maker = graph.producer(number)
        if maker is None:
            break
        found.append(maker)
        number = maker.inputs[0]
    return found


def own(operation: Operation) -> list[Frame]:
    return [f for f in operation.stack if f.own]
