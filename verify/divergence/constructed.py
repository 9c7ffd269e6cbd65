"""What the constructors made otherwise than the reference's: a module of another kind, under another name, or not at all.

The parameters that both sides read tell it, before any trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from verify.divergence.graph import Frame, Graph, Operation
from verify.divergence.kept import unused
from verify.divergence.settings import frames_of, set_at
from verify.divergence.sources import Sources
from verify.divergence.syntax import choosing, constructing, looping, made_empty
from verify.divergence.trials import Match
from verify.trace import Role

Made = tuple[Operation, Operation, Frame, str]
"""The first operation that shows it, the reference's, the line that made it so, and what it made."""
Readers = dict[str, Operation]
"""By parameter, what reads it."""


def constructed(match: Match, sources: Sources, origins: Mapping[Role, Any]) -> Made | None:
    """What the candidate's constructors made otherwise, where the parameters say it beyond doubt. origins: by role."""
    mine = origins["candidate"]
    return (
        other_name(match, mine)
        or other_count(match, sources, origins)
        or not_held(match, mine)
        or other_kind(match, sources, mine)
    )


def other_name(match: Match, origins: Mapping[str, Any]) -> Made | None:
    """A parameter that the reference has under a name that differs in one part, which the candidate has not: neither
    side's values are given to it."""
    here, there = _readers(match.candidate), _readers(match.reference)
    read, read_there = parameters_read(match.candidate), parameters_read(match.reference)
    for name, mine in here.items():
        for other, theirs in there.items() if name not in read_there else ():
            place = _one_word(name, other)
            if place is None or other in read:
                continue
            (owner, part), (_, wanted) = _split(name, place), _split(other, place)
            held = wanted in origins.get(owner, {}).get("holds", ()) or _joined(owner, wanted) in origins
            frame = set_at(_joined(owner, part), origins)
            if frame is not None and not held:
                return mine, theirs, frame, _joined(owner, part)
    return None


def other_count(match: Match, sources: Sources, origins: Mapping[Role, Any]) -> Made | None:
    """One of several modules of a list that only one side has: where the candidate makes its like."""
    here, there = _readers(match.candidate), _readers(match.reference)
    sides: tuple[tuple[Readers, Readers, Role], ...] = ((there, here, "candidate"), (here, there, "reference"))
    for names, others, lacking in sides:
        read = parameters_read(match.candidate if lacking == "candidate" else match.reference)
        for name in (n for n in names if n not in read):
            for other in (o for o in others if o != name):
                place = _one_number(name, other)
                pair = (here[other], there[name]) if lacking == "candidate" else (here[name], there[other])
                single = _listed(other, place, others[other]) if place is not None else None
                if place is None or single is None:
                    continue
                absent = f"{single.rpartition('.')[0]}.{name.split('.')[place]}".lstrip(".")
                made = absent if lacking == "reference" else single
                frame = _made(made, sources, origins["candidate"])
                if absent not in origins[lacking] and frame is not None:
                    return *pair, frame, absent
    return None


def not_held(match: Match, origins: Mapping[str, Any]) -> Made | None:
    """A parameter that the candidate's module sets to something that is none: where it does so."""
    orders, read = match.candidate_suspects.operations, parameters_read(match.candidate)
    first = _first(match) or (match.candidate.operations[orders[0]] if orders else None)
    for theirs in (match.reference.operations[o] for o in match.reference_suspects.operations):
        for name in sorted(parameters_of(match.reference, theirs) - read):
            owner, _, part = name.rpartition(".")
            frame = set_at(name, origins)
            if first is not None and frame is not None and part not in origins.get(owner, {}).get("holds", ()):
                return first, theirs, frame, name
    return None


def other_kind(match: Match, sources: Sources, origins: Mapping[str, Any]) -> Made | None:
    """A module that has other parameters than the reference's of the same name: where its kind was chosen.

    Asked of the module of the first operation that was given what the reference has and made something else.
    """
    candidate, reference = match.candidate, match.reference
    mine = _first(match)
    if mine is None:
        return None
    path = mine.path.partition("#")[0]
    here = {name for o in candidate.operations if o.path == mine.path for name in parameters_of(candidate, o)}
    owners = {name.rpartition(".")[0] for name in here}
    frame = _made(path, sources, origins)
    if len(owners) != 1 or frame is None:
        return None
    (owner,) = owners
    module, there = origins[path], {n: o for n, o in _readers(reference).items() if n.rpartition(".")[0] == owner}
    read, held = parameters_read(candidate), {*module["holds"], *origins.get(owner, {}).get("holds", ())}
    lacks = [n for n in there if n not in read and n.rpartition(".")[2] not in held]
    if not there or not (lacks or here - parameters_read(reference)):
        return None
    frame = choosing(sources, frame)
    theirs = there[lacks[0]] if lacks else next(iter(there.values()))
    return mine, theirs, frame, f"{path} ({module['class']})"


def filled_at(name: str, sources: Sources, origins: Mapping[str, Any]) -> Frame | None:
    """Where a buffer got what it holds. Of one that was never filled, what fills those that were made like it."""
    owner, _, own_name = name.rpartition(".")
    registered = origins.get(owner, {}).get("registered", {})
    frame = set_at(name, origins)
    made = frames_of(registered.get(own_name, ()))
    if frame is None or not made or frame != made[0]:
        return frame
    for other, stack in registered.items():
        filled = set_at(_joined(owner, other), origins)
        like = frames_of(stack)[0] if stack else None
        alike = like == frame or (like is not None and made_empty(sources, like) and made_empty(sources, frame))
        if alike and filled is not None and filled != frame:
            return looping(sources, filled)
    return _lost(sources, frame) or frame


def _lost(sources: Sources, frame: Frame) -> Frame | None:
    """Of a buffer that is made empty and that nothing fills: where what should fill it is computed, if that is seen."""
    tree = sources.tree(frame.file) if made_empty(sources, frame) else None
    idle = unused(tree, frame.line) if tree is not None else None
    return Frame(frame.file, idle[0], idle[1], True, -1) if idle is not None else None


def _first(match: Match) -> Operation | None:
    """The candidate's first operation that was given what the reference has, whatever parameters it reads besides."""
    graph, found = match.candidate, match.candidate_suspects
    for operation in (graph.operations[o] for o in found.operations):
        data = graph.data(operation)
        if data and not found.values.intersection(data):
            return operation
    return None


def _made(path: str, sources: Sources, origins: Mapping[str, Any]) -> Frame | None:
    return constructing(sources, frames_of(origins.get(path, {}).get("made", ())))


def parameters_of(graph: Graph, operation: Operation) -> set[str]:
    return {root for root in map(graph.root, operation.inputs) if root}


def parameters_read(graph: Graph) -> set[str]:
    """All parameters that a side reads, whatever for."""
    return {v.leaf.removeprefix("parameter:") for v in graph.values if v.leaf.startswith("parameter:")}


def _readers(graph: Graph) -> Readers:
    """By parameter, in the order of reading, the first operation that makes something of it."""
    found: Readers = {}
    for operation in _first_to_last(graph):
        for name in sorted(parameters_of(graph, operation)):
            found.setdefault(name, operation)
    return found


def _first_to_last(graph: Graph) -> Iterable[Operation]:
    return (graph.operations[o] for o in sorted({o for orders in graph.anchors.values() for o in orders}))


def _one_part(a: str, b: str) -> int | None:
    x, y = a.split("."), b.split(".")
    apart = [n for n, (p, q) in enumerate(zip(x, y, strict=False)) if p != q]
    return apart[0] if len(x) == len(y) and len(apart) == 1 else None


def _one_word(a: str, b: str) -> int | None:
    """The place of the one part in which two names differ, unless it is a number in both."""
    place = _one_part(a, b)
    numbers = place is not None and (a.split(".")[place].isdigit() or b.split(".")[place].isdigit())
    return None if numbers else place


def _one_number(a: str, b: str) -> int | None:
    """The place of the one part in which two names differ, if it is a number in both."""
    place = _one_part(a, b)
    numbers = place is not None and a.split(".")[place].isdigit() and b.split(".")[place].isdigit()
    return place if numbers else None


def _listed(name: str, place: int, reader: Operation) -> str | None:
    """The path of the module of a list whose place in it a part of a parameter's name is, by what reads it there."""
    path = reader.path.partition("#")[0].split(".")
    level = len(path) - (len(name.split(".")) - place - 1)  # the parameter's own name is no module
    return ".".join(path[: level + 1]) if level >= 0 and path[level] == name.split(".")[place] else None


def _joined(owner: str, part: str) -> str:
    return f"{owner}.{part}".lstrip(".")


def _split(name: str, place: int) -> tuple[str, str]:
    """The module that holds the part at a place of a name, and the part."""
    parts = name.split(".")
    return ".".join(parts[:place]), parts[place]
