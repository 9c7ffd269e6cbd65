"""From the trial that explains a fault to what is said of it: where, what kind, how sure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from verify.compare import Gap, gap
from verify.divergence.blame import behind
from verify.divergence.branches import turned, untaken
from verify.divergence.choices import other_choice
from verify.divergence.constructed import constructed, filled_at
from verify.divergence.given import joined_otherwise
from verify.divergence.graph import VIEWS, Frame, Graph, Operation
from verify.divergence.misplaced import misplaced
from verify.divergence.names import called_in_turn
from verify.divergence.operands import (
    Kind,
    final_readers,
    own,
)
from verify.divergence.others import other_buffer, other_module, other_size, same_given
from verify.divergence.placing import fed, put_in_order, replaced
from verify.divergence.search import Round
from verify.divergence.settings import made_at, setting_of
from verify.divergence.sources import Sources
from verify.divergence.trials import Match, Trial
from verify.trace import Role

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
    unknown: bool = False
    """Whether it is not known which setting of the module is another, only that the module takes a step more."""


def judge(found: Round, sources: Mapping[str, Sources], origins: Mapping[Role, Any], *, complete: bool) -> Culprit:
    """What a round found. complete: whether all outputs agree once all rounds' trials are applied.

    sources and origins are by role.

    Raises Unexplained.
    """
    culprit = _judged(found, sources, origins, complete=complete)
    maker, frame = culprit.counterpart, culprit.candidate
    if frame is None or culprit.kind in ("setting", "branch"):
        return culprit
    missing, extra = culprit.kind == "missing", culprit.kind == "extra"
    way = turned(found.match, culprit.operation, frame, culprit.reference, sources, alone=extra)
    if way is None and missing and maker is not None:
        way = untaken(found.match, maker, frame.file, sources["candidate"])
    return culprit if way is None else replace(culprit, kind="branch", confidence="aligned", candidate=way)


def _judged(found: Round, sources: Mapping[str, Sources], origins: Mapping[Role, Any], *, complete: bool) -> Culprit:
    """The same, by what ran alone."""
    match = found.match
    told = _told_by_parameters(match, sources["candidate"], origins)
    if told is not None:
        return told
    if found.best is None:
        if not match.misplaced:
            raise Unexplained("no trial explains the difference")
        return _returned(match, sources["candidate"])
    trial = found.best.trial
    if trial.swap:
        joins = joined_otherwise(match)
        if joins is not None:
            placed = put_in_order(match, joins[0], joins[1], sources["candidate"])
            return _plainly(match, "operand", *joins, placed or joins[0].frame)
        mine = match.candidate.operations[trial.operation]
        return _plainly(match, "operand", mine, None, _exchange(match, trial, sources["candidate"]) or mine.frame)
    place = fed(match, trial, sources["candidate"]) if trial.feeds else replaced(found, trial, sources["candidate"])
    kind, operation, frame = place.kind, place.operation, place.candidate
    setting, unknown = "", False
    counterpart = None if trial.counterpart is None else match.reference.operations[trial.counterpart]
    compared = place.counterpart or counterpart
    if kind == "differs" and compared is not None:
        steps = behind(match.reference, match.reference_suspects, compared)
        given = any(same_given(match, operation, one) for one in steps)
        made = setting_of(operation, compared, sources["candidate"], origins["candidate"], same_given=given)
        if made is not None:
            kind, (setting, frame) = "setting", made
            unknown = " = " not in setting
    if kind == "extra" and operation.inside:
        made = _step_of(match, operation, origins["candidate"])
        if made is not None:
            kind, (setting, frame), unknown = "setting", made, True
    earlier = _earlier_call(match, operation, frame)
    if earlier is not None:
        return _plainly(match, "differs" if earlier[1] is not None else kind, *earlier, frame)
    inside = kind == "extra" and operation.inside  # by a setting, or by another module
    sure = (
        complete and place.sure and not match.cut and kind != "setting" and not inside
    )  # where a number was made is an inference
    if kind == "differs" and compared is not None and compared.short == operation.short:
        sure = sure and compared.scalars == operation.scalars  # else the number came from somewhere
    parted = put_in_order(match, operation, compared, sources["candidate"]) if kind == "differs" else None
    if parted is not None:
        kind, frame, sure = "operand", parted, False
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
        unknown=unknown,
    )


def roots(rounds: Sequence[Round], culprits: Sequence[Culprit]) -> list[tuple[Culprit, list[Round]]]:
    """The culprits without those whose wrong value another one explains: what it read came, by strange values alone, from
    an operation that a later round blames. In the order of the rounds, the one that explains in the place of the other.

    rounds: those that the culprits are of, in order. With each culprit goes its own, then those that it explains besides.
    """
    found: dict[int, tuple[Culprit, list[Round]]] = {}
    for place, (one, culprit) in enumerate(zip(rounds, culprits, strict=True)):
        region = behind(one.match.candidate, one.match.candidate_suspects, culprit.operation)
        before = {(o.order, o.name, o.frame) for o in region if o.order < culprit.operation.order}
        later = [n for n in range(place + 1, len(culprits)) if _step(culprits[n]) in before]
        explained = culprit.confidence != "confirmed" and later
        number = later[0] if explained else place
        of = found.setdefault(number, (culprits[number], [rounds[number]]))[1]
        if number != place:
            of.append(one)
    return list(found.values())


def _step(culprit: Culprit) -> tuple[int, str, Frame | None]:
    operation = culprit.operation
    return operation.order, operation.name, operation.frame


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


def _step_of(match: Match, operation: Operation, origins: Mapping[str, Any]) -> tuple[str, Frame] | None:
    """Where the library's module was made that takes a step more, of a module that the reference has too; or that stands
    in a container, so that no line of the side's own calls it."""
    path = operation.path
    others = (match.candidate.operations[o] for o in match.anchors)
    holder = origins.get(path.partition("#")[0].rpartition(".")[0], {})
    if any(o.path == path for o in others) or not holder.get("own", True):
        return made_at(operation, origins)
    return None


def _earlier_call(match: Match, operation: Operation, frame: Frame | None) -> tuple[Operation, Operation | None] | None:
    """Of a line that runs again and again, what it first did otherwise, and what the reference did then: where an
    operation of a later run is blamed whose wrong value comes from there. None where no earlier run is strange."""
    candidate, reference = match.candidate, match.reference
    if frame is None or operation.frame != frame or len(candidate.instances(operation)) < 2:
        return None
    found = match.candidate_suspects
    if not found.values.intersection(operation.inputs):
        return None
    for one in behind(candidate, found, operation):
        place = one.frame
        again = place is not None and (place.file, place.line) == (frame.file, frame.line)
        earlier = candidate.call_index(one) < candidate.call_index(operation)
        if again and earlier and one.order in found.fronts:
            twins = {t for n in one.inputs for t in match.known_candidate.twins.get(n, ())}
            theirs = sorted({o for t in twins for o in reference.consumers.get(t, ())})
            return one, next((o for o in map(reference.operations.__getitem__, theirs) if o.short == one.short), None)
    return None


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


def _returned(match: Match, sources: Sources) -> Culprit:
    """Where an output is given another value than it should hold."""
    found = misplaced(match, sources)
    if found is None:
        raise Unexplained("no operation made the output")
    kind: Kind = "missing" if found.missing else "operand"
    return _plainly(match, kind, found.held, found.maker, found.frame)


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
