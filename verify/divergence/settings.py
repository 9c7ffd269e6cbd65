"""Where a setting was made: a number, a module or a buffer that an operation was given, by the lines of the constructor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from verify.divergence.graph import Frame, Operation, outward
from verify.divergence.sources import Sources
from verify.divergence.syntax import constant

COMMON = (-1, 0, 0.5, 1, 2)
"""Numbers that say nothing of where they came from."""
ROOT = 1e-12
"""Relative difference that taking a root leaves."""


def setting_of(
    operation: Operation,
    counterpart: Operation,
    sources: Sources,
    origins: Mapping[str, Any],
    *,
    same_given: bool = True,
) -> tuple[str, Frame] | None:
    """A number that the operation was given and its counterpart was not: the attribute it came from and where that was
    set, or the argument or name that says it. For an operation inside a library's module, where that module was made, if
    both were given the same."""
    mine, theirs = _numbers(operation.scalars), _numbers(counterpart.scalars)
    path = operation.path.partition("#")[0]
    alike = operation.short == counterpart.short
    telling = [n for n in mine if n not in theirs and (alike or n not in COMMON)]
    if alike and len(mine) == len(theirs):  # by place: what one of them is given there the other may be given elsewhere
        telling = [a for a, b in zip(mine, theirs, strict=True) if a != b]
    frame = operation.frame if operation.frame is not None and operation.frame.own else None
    placed = _attribute(operation, counterpart, sources, origins) if alike and frame is not None else None
    if placed is not None:
        return placed
    for number in telling if alike or operation.short in ("mul", "div", "add", "sub") else []:
        for exact, owner in itertools.product((True, False), outward(path)):
            for name, (value, stack) in origins.get(owner, {}).get("set", {}).items():
                if number not in COMMON and _number(value) and _from(value, number, exact):
                    source = sources.source(frames_of(stack), name)
                    if source is not None:
                        return f"{owner}.{name} = {value!r}".lstrip("."), source
    for number in telling if alike else []:
        if frame is None:
            break
        named = constant(sources, frame, number) or _argument(operation, number, sources)
        if named is not None:
            return f"{number!r}", named
    if alike and frame is not None and not operation.inside:
        for scalar in operation.scalars:
            if operation.scalars.count(scalar) != counterpart.scalars.count(scalar):
                line = sources.argument(frame.file, frame.line, scalar)
                if line is not None:
                    return f"{scalar!r}", Frame(frame.file, line, frame.function, True, -1)
    same = alike and operation.scalars == counterpart.scalars
    return None if same or not same_given else made_at(operation, origins)


def made_at(operation: Operation, origins: Mapping[str, Any]) -> tuple[str, Frame] | None:
    """A library's module in which an operation was done, and where it was made."""
    path = operation.path.partition("#")[0]
    made = origins.get(path)
    if not operation.inside or not made or made["own"] or not path:
        return None
    parent, _, name = path.rpartition(".")
    outer = origins.get(parent, {}).get("set", {}).get(name)
    stack = frames_of(outer[1] if outer else made["made"])
    return (f"{path} ({made['class']})", stack[0]) if stack else None


def _attribute(
    operation: Operation, counterpart: Operation, sources: Sources, origins: Mapping[str, Any]
) -> tuple[str, Frame] | None:
    """The attribute of the module that a line hands to an operation at a place where its counterpart is given another
    number, and where it was set. Of several, one that the others are made of."""
    frame, path = operation.frame, operation.path.partition("#")[0]
    numbers, others = ([_single(s) for s in o.scalars] for o in (operation, counterpart))
    held = origins.get(path, {}).get("set", {})
    if frame is None or operation.inside or len(numbers) != len(others):
        return None
    place, found = 0, dict[str, Frame]()
    for name in sources.attributes(frame.file, frame.line):
        value, stack = held.get(name, (None, ()))
        place = next((n for n in range(place, len(numbers)) if _number(value) and numbers[n] == value), place)
        if not _number(value) or place >= len(numbers) or numbers[place] != value:
            continue
        source = sources.source(frames_of(stack), name) if numbers[place] != others[place] else None
        if source is not None:
            found[name] = source
        place += 1
    plain = [n for n in found if not sources.mentions(frames_of(held[n][1]), n, found.keys() - {n})]
    if not plain:
        return None
    return f"{path}.{plain[0]} = {held[plain[0]][0]!r}".lstrip("."), found[plain[0]]


def _argument(operation: Operation, number: float, sources: Sources) -> Frame | None:
    """Where a number was written that a line reads as an argument of its function, or as an attribute of its class."""
    frames = [f for f in operation.stack if f.own]
    file, line = frames[0].file, frames[0].line
    read = [sources.source(frames, name, argument=True) for name in sources.arguments(file, line)]
    read += [sources.of_class(frames[0], name) for name in sources.attributes(file, line)]
    found = {s for s in read if s is not None and s.line != line and sources.writes(s.file, s.line, number)}
    return found.pop() if len(found) == 1 else None


def set_at(name: str, origins: Mapping[str, Any]) -> Frame | None:
    """The line that last set a buffer, by its dotted name."""
    path, _, own_name = name.rpartition(".")
    found = origins.get(path, {}).get("set", {}).get(own_name)
    return _frame(found[1][0]) if found and found[1] else None


def frames_of(stack: Any) -> list[Frame]:
    """A stack as a side sends it."""
    return [_frame(f) for f in stack]


def _from(value: float, number: float, exact: bool) -> bool:
    """Whether an operation's number is a setting, or, not `exact`, what attention makes of one: its square root, for
    queries and keys."""
    return value == number if exact else value > 0 and math.isclose(value, number * number, rel_tol=ROOT)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _single(scalar: Any) -> Any:
    """The number of a list that holds the same one over and over, such as a stride for each axis."""
    return scalar[0] if isinstance(scalar, list) and len(set(scalar)) == 1 else scalar


def _numbers(scalars: tuple[Any, ...]) -> list[float]:
    return [one for s in scalars if _number(one := _single(s))]


def _frame(data: Any) -> Frame:
    file, line, function, is_own, at = data
    return Frame(str(file), int(line), str(function), bool(is_own), int(at))
