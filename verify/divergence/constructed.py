"""What the constructors made otherwise than the reference's: a module of another kind, under another name, or not at all.

The parameters that both sides read tell it, before any trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from verify.divergence.graph import Frame, Graph, Operation
from verify.divergence.settings import frames_of, set_at
from verify.divergence.sources import Sources
from verify.divergence.syntax import choosing, constructing, looping, made_empty
from verify.divergence.trials import Match

Made = tuple[Operation, Operation, Frame, str]
"""The first operation that shows it, the reference's, the line that made it so, and what it made."""


def constructed(match: Match, sources: Sources, origins: Mapping[str, Any]) -> Made | None:
    """What the candidate's constructors made otherwise, where the parameters say it beyond doubt."""
    return other_name(match, origins) or not_made(match, sources, origins) or other_kind(match, sources, origins)


def other_name(match: Match, origins: Mapping[str, Any]) -> Made | None:
    """A parameter that the reference has under a name that differs in one part, which the candidate has not: neither
    side's values are given to it."""
    here, there = _readers(match.candidate), _readers(match.reference)
    read, theirs_read = _read(match.candidate), _read(match.reference)
    for name, mine in here.items():
        for other, theirs in there.items() if name not in theirs_read else ():
            place = _one_word(name, other)
            if place is None or other in read:
                continue
            (owner, part), (_, wanted) = _split(name, place), _split(other, place)
            module = origins.get(owner, {})
            held = wanted in module.get("holds", ()) or f"{owner}.{wanted}".lstrip(".") in origins
            frame = set_at(f"{owner}.{part}".lstrip("."), origins)
            if frame is not None and not held:
                return mine, theirs, frame, f"{owner}.{part}".lstrip(".")
    return None


def not_made(match: Match, sources: Sources, origins: Mapping[str, Any]) -> Made | None:
    """One of several modules of a list that the candidate has not: where their like is made."""
    here, there, read = _readers(match.candidate), _readers(match.reference), _read(match.candidate)
    for name, theirs in there.items():
        if name in read:
            continue
        parts = name.split(".")
        for place in (n for n, part in enumerate(parts) if part.isdigit()):
            for other, mine in here.items():
                like = other.split(".")
                if len(like) != len(parts) or [*like[:place], *like[place + 1 :]] != [
                    *parts[:place],
                    *parts[place + 1 :],
                ]:
                    continue
                path = mine.path.partition("#")[0].split(".")
                level = len(path) - (len(parts) - place - 1)  # the parameter's own name is no module
                if level < 0 or path[level] != like[place]:
                    continue
                absent, sibling = ".".join([*path[:level], parts[place]]), ".".join(path[: level + 1])
                frame = _made(sibling, sources, origins)
                if absent not in origins and frame is not None:
                    return mine, theirs, frame, absent
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
    here = {name for o in candidate.operations if o.path == mine.path for name in _roots(candidate, o)}
    owners = {name.rpartition(".")[0] for name in here}
    frame = _made(path, sources, origins)
    if len(owners) != 1 or frame is None:
        return None
    (owner,) = owners
    module, there = origins[path], {n: o for n, o in _readers(reference).items() if n.rpartition(".")[0] == owner}
    held = {*module["holds"], *origins.get(owner, {}).get("holds", ())}
    lacks = [n for n in there if n not in _read(candidate) and n.rpartition(".")[2] not in held]
    if not there or not (lacks or here - _read(reference)):
        return None
    if not any(n.rpartition(".")[2] in module["set"] for n in lacks):  # else it is of that kind, made without it
        frame = choosing(sources, frame)
    theirs = there[lacks[0]] if lacks else next(iter(there.values()))
    return mine, theirs, frame, f"{path} ({module['class']})"


def filled_at(name: str, match: Match, sources: Sources, origins: Mapping[str, Any]) -> Frame | None:
    """Where a buffer got what it holds. Of one that was never filled, what fills those that were made like it."""
    owner, _, own_name = name.rpartition(".")
    registered = origins.get(owner, {}).get("registered", {})
    frame = set_at(name, origins)
    made = frames_of(registered.get(own_name, ()))
    if frame is None or not made or frame != made[0]:
        return frame
    for other, stack in registered.items():
        filled = set_at(f"{owner}.{other}".lstrip("."), origins)
        like = frames_of(stack)[0] if stack else None
        alike = like == frame or (like is not None and made_empty(sources, like) and made_empty(sources, frame))
        if alike and filled is not None and filled != frame:
            return looping(sources, filled)
    return frame


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


def _roots(graph: Graph, operation: Operation) -> set[str]:
    return {root for root in map(graph.root, operation.inputs) if root}


def _read(graph: Graph) -> set[str]:
    """All parameters that a side reads, whatever for."""
    return {v.leaf.removeprefix("parameter:") for v in graph.values if v.leaf.startswith("parameter:")}


def _readers(graph: Graph) -> dict[str, Operation]:
    """By parameter, in the order of reading, the first operation that makes something of it."""
    found: dict[str, Operation] = {}
    for operation in _first_to_last(graph):
        for name in sorted(_roots(graph, operation)):
            found.setdefault(name, operation)
    return found


def _first_to_last(graph: Graph) -> Iterable[Operation]:
    return (graph.operations[o] for o in sorted({o for orders in graph.anchors.values() for o in orders}))


def _one_word(a: str, b: str) -> int | None:
    """The place of the one part in which two names differ, unless it is a number in both."""
    x, y = a.split("."), b.split(".")
    apart = [n for n, (p, q) in enumerate(zip(x, y, strict=False)) if p != q]
    if len(x) != len(y) or len(apart) != 1:
        return None
    return None if x[apart[0]].isdigit() or y[apart[0]].isdigit() else apart[0]


def _split(name: str, place: int) -> tuple[str, str]:
    """The module that holds the part at a place of a name, and the part."""
    parts = name.split(".")
    return ".".join(parts[:place]), parts[place]
