"""From two runs of one case to the first module that differs.

Works on fingerprints of module calls (see `observer/modules.py`), aligned by path where both sides have the path and by
value where they do not. Descends from the root: a module whose output agrees is left closed, whatever happens inside.
The answer is the innermost module whose inputs agree and whose output does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checks.base import location
from verify.messages import WHOLE, say
from verify.report import Divergence

Calls = Sequence[Mapping[str, Any]]
LAYOUT_FREE = 4
"""Leading entries of a fingerprint vector that do not depend on layout: the norm and three power sums."""


@dataclass(frozen=True)
class Fingerprint:
    """What a side tells of one tensor; see `observer/modules.py`. vector: norm, power sums, projections."""

    shape: tuple[int, ...]
    vector: NDArray[np.float64]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Fingerprint:
        norm = float(data["norm"])
        vector = [1.0, *data["sums"], *data["projections"]]
        return cls(tuple(data["shape"]), np.array([norm, *(norm * float(v) for v in vector[1:])], dtype=np.float64))

    @property
    def scale(self) -> float:
        return float(self.vector[0]) or 1.0

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))

    def near(self, other: Fingerprint, allowed: float) -> bool:
        """Whether both can be the same values: all entries where the shapes agree, else those free of layout."""
        count = self.count
        if count != other.count:
            return False
        entries = slice(None) if self.shape == other.shape else slice(0, LAYOUT_FREE)
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.abs(self.vector[entries] - other.vector[entries])
        if not np.isfinite(distance).all():
            return bool(np.array_equal(self.vector[entries], other.vector[entries], equal_nan=True))
        return bool((distance <= allowed * max(count, 1) ** 0.5 * max(self.scale, other.scale)).all())


class _Calls:
    """Module calls of one side."""

    def __init__(self, calls: Calls) -> None:
        self.all = list(calls)
        self.by_place = {(c["path"], c["index"]): place for place, c in enumerate(calls)}
        self.inputs = [[Fingerprint.read(f) for f in c["inputs"]] for c in calls]
        self.outputs = [[Fingerprint.read(f) for f in c["outputs"]] for c in calls]
        self.values = [f for group in (*self.inputs, *self.outputs) for f in group]

    def children(self, place: int | None) -> list[int]:
        """Places of the calls inside one, which come after it, so that a descent ends whatever a side claims."""
        return [i for i, c in enumerate(self.all) if c["parent"] == place and (place is None or i > place)]

    def knows(self, value: Fingerprint, allowed: float) -> bool:
        return any(value.near(other, allowed) for other in self.values)


def first_module(
    reference: Calls, candidate: Calls, allowed: float
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The candidate's call where the sides part, and the reference's counterpart. None where every call agrees.

    allowed: relative difference that is rounding, as `forward` measured it for the case.
    """
    left, right = _Calls(reference), _Calls(candidate)
    if not left.all or not right.all:
        return None

    found: int | None = None
    inside: int | None = None
    while True:
        children = right.children(inside)
        parted = [i for i in children if _parted(left, right, i, allowed)] or [
            i for i in children if _parted_for_more(left, right, i, allowed)
        ]
        if not parted:
            break
        found = inside = parted[0]
    if found is None:
        return None
    culprit = right.all[found]
    return culprit, _counterpart(left, culprit, right, found, allowed)


def _agree(mine: Sequence[Fingerprint], theirs: Sequence[Fingerprint], allowed: float) -> bool:
    return len(mine) == len(theirs) and all(a.near(b, allowed) for a, b in zip(mine, theirs, strict=True))


def _twin(left: _Calls, call: Mapping[str, Any]) -> int | None:
    """Place of the reference's call of the same path and count."""
    return left.by_place.get((call["path"], call["index"]))


def _parted(left: _Calls, right: _Calls, index: int, allowed: float) -> bool:
    """Whether a call was given what the reference's was and gave something else.

    A path that the reference calls too is compared with that very call: elsewhere its values prove nothing, since a
    step that was left out hands on values that are known as well. Calls that the reference does not repeat, or was
    given more or fewer tensors for, do another part of the work and cannot be judged.
    """
    call, inputs, outputs = right.all[index], right.inputs[index], right.outputs[index]
    twin = _twin(left, call)
    if twin is not None:
        return _agree(inputs, left.inputs[twin], allowed) and not _same_work(outputs, left.outputs[twin], allowed)
    if (call["path"], 0) in left.by_place:
        return False
    return all(left.knows(f, allowed) for f in inputs) and not all(left.knows(f, allowed) for f in outputs)


def _parted_for_more(left: _Calls, right: _Calls, index: int, allowed: float) -> bool:
    """Whether a call was given all that the reference's was, and tensors beside that, and gave something else.

    Such as positions that the reference counts inside. Asked only where no call is `_parted`.
    """
    twin = _twin(left, right.all[index])
    if twin is None or len(right.inputs[index]) <= len(left.inputs[twin]):
        return False
    given = all(any(f.near(mine, allowed) for mine in right.inputs[index]) for f in left.inputs[twin])
    mine, theirs = right.outputs[index], left.outputs[twin]
    return given and [f.count for f in mine] == [f.count for f in theirs] and not _agree(mine, theirs, allowed)


def _same_work(mine: Sequence[Fingerprint], theirs: Sequence[Fingerprint], allowed: float) -> bool:
    """Whether outputs agree. One side may hand out more, such as attention weights that nobody asked for."""
    if len(mine) == len(theirs):
        return _agree(mine, theirs, allowed)
    fewer, more = sorted((mine, theirs), key=len)
    return all(any(f.near(m, allowed) for m in more) for f in fewer)


def _counterpart(
    left: _Calls, culprit: Mapping[str, Any], right: _Calls, found: int, allowed: float
) -> Mapping[str, Any]:
    """The reference's call at the same path; else the innermost one that was given the same inputs; else its root."""
    for index in (culprit["index"], 0):
        twin = left.by_place.get((culprit["path"], index))
        if twin is not None:
            return left.all[twin]
    wanted = right.inputs[found]
    alike = [
        c
        for c, inputs in zip(left.all, left.inputs, strict=True)
        if wanted and inputs and all(any(w.near(i, allowed) for i in inputs) for w in wanted)
    ]
    return alike[-1] if alike else left.all[0]


def divergence(
    place: tuple[str, str, str],
    measured: float | None,
    allowed: float | None,
    pair: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Divergence:
    """The report's entry for a culprit. place: check, variant, case. pair: candidate's call, reference's call."""
    culprit, twin = pair
    details = {
        "candidate_path": str(culprit["path"]) or WHOLE,
        "candidate_class": str(culprit["class"]),
        "reference_path": str(twin["path"]) or WHOLE,
        "reference_class": str(twin["class"]),
    }
    check, variant, case = place
    own = location(culprit.get("own_location")) or location(culprit.get("location"))
    return Divergence(
        check=check,
        variant=variant,
        case=case,
        subject=str(culprit["path"]),
        confidence="module",
        message=say("first-module", details),
        details=details,
        measured=measured,
        allowed=allowed,
        reference=location(twin.get("own_location")) or location(twin.get("location")),
        candidate=own,
        module=own,
    )
