"""Where a setting was made: a number, a module or a buffer that an operation was given, by the lines of the constructor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from verify.divergence.graph import Frame, Operation
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
    for number in telling if alike or operation.short in ("mul", "div", "add", "sub") else []:
        for exact, owner in itertools.product((True, False), _owners(path)):
            for name, (value, stack) in origins.get(owner, {}).get("set", {}).items():
                if isinstance(value, int | float) and not isinstance(value, bool) and _from(value, number, exact):
                    frame = sources.source(frames_of(stack), name)
                    if frame is not None:
                        return f"{owner}.{name} = {value!r}".lstrip("."), frame
    frame = operation.frame
    for number in telling if alike else []:
        named = constant(sources, frame, number) if frame is not None and frame.own else None
        if named is not None:
            return f"{number!r}", named
    if alike and frame is not None and not operation.inside:
        for scalar in operation.scalars:
            if operation.scalars.count(scalar) != counterpart.scalars.count(scalar):
                line = sources.argument(frame.file, frame.line, scalar)
                if line is not None:
                    return f"{scalar!r}", Frame(frame.file, line, frame.function, True, -1)
    made = origins.get(path)
    same = alike and operation.scalars == counterpart.scalars
    if same or not same_given or not operation.inside or not made or made["own"] or not path:
        return None
    parent, _, name = path.rpartition(".")
    outer = origins.get(parent, {}).get("set", {}).get(name)
    stack = frames_of(outer[1] if outer else made["made"])
    return (f"{path} ({made['class']})", stack[0]) if stack else None


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


def _numbers(scalars: tuple[Any, ...]) -> list[float]:
    return [s for s in scalars if isinstance(s, int | float) and not isinstance(s, bool)]


def _owners(path: str) -> list[str]:
    """The module and those that hold it."""
    found = [path]
    while path:
        path = path.rpartition(".")[0]
        found.append(path)
    return found


def _frame(data: Any) -> Frame:
    file, line, function, is_own, at = data
    return Frame(str(file), int(line), str(function), bool(is_own), int(at))
