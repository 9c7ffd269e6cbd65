"""Where things are, as a report tells it: of lines, of what a constructor made, of what draws random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verify.divergence.graph import Frame, Operation, outward
from verify.divergence.settings import frames_of
from verify.divergence.verdict import Culprit
from verify.report import Location


def place_of(frame: Frame | None) -> str:
    return f"{frame.file}:{frame.line} in {frame.function}" if frame else "?"


def location(frame: Frame | None) -> Location | None:
    return Location(file=frame.file[:1000], line=max(frame.line, 1), name=frame.function[:200]) if frame else None


def compiled_in(operation: Operation, origins: Mapping[str, Any]) -> tuple[str, str]:
    """The compiled or scripted module that an operation ran in, and which of these it is; "" twice where it is neither."""
    for path in outward(operation.path.partition("#")[0]):
        if how := origins.get(path, {}).get("compiled"):
            return path or "the model", str(how)
    return "", ""


def made_by(operation: Operation, origins: Mapping[str, Any]) -> Frame | None:
    """The line that made the module that an operation ran in, or what holds it."""
    stacks = (origins.get(path, {}).get("made") for path in outward(operation.path.partition("#")[0]))
    return next((frames_of(stack)[0] for stack in stacks if stack), None)


def beside_the_reference(culprit: Culprit, origins: Mapping[str, Any]) -> str:
    """The setting, with what the reference has instead where that is known. origins: the reference's."""
    name, _, given = culprit.setting.partition(" = ")
    other = culprit.counterpart
    if other is None or not given:
        return culprit.setting
    path, attribute = other.path.partition("#")[0], name.rpartition(".")[2]
    held = [origins.get(outer, {}).get("set", {}).get(attribute, (None, ()))[0] for outer in outward(path)]
    own = [n for n in culprit.operation.scalars if isinstance(n, int | float)]
    theirs = [n for n in other.scalars if isinstance(n, int | float) and not isinstance(n, bool) and n not in own]
    wanted = next((v for v in held if v is not None), theirs[0] if len(theirs) == 1 else None)
    return (
        culprit.setting
        if wanted is None or repr(wanted) == given
        else f"{culprit.setting} (the reference has {wanted!r})"
    )


def drawing(result: Mapping[str, Any]) -> Frame | None:
    """The user's line that first draws random numbers."""
    order = result.get("random")
    if not isinstance(order, int):
        return None
    frames = [Frame(*frame) for frame in result["stacks"][result["operations"][order][3]]]
    return next((f for f in frames if f.own), None)
