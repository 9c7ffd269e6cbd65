"""Comparing plain data by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far one array lies from another of the same shape.

    relative: largest |candidate - reference| over the root mean square of the reference. where: index of that element.
    different: how many elements are not equal to the bit. finite: whether all elements of both are finite.
    """

    relative: float
    absolute: float
    where: tuple[int, ...]
    reference: float
    candidate: float
    different: int
    finite: bool


def gap(reference: NDArray[Any], candidate: NDArray[Any]) -> Gap:
    """Largest difference between arrays of one shape, any numeric dtype, computed in float64.

    Elements that are not finite count as infinitely far apart unless they are the same infinity or both NaN; `finite`
    then is False all the same. Raises ValueError if shapes differ: broadcasting would hide a missing axis.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.size == 0:
        raise ValueError("nothing to compare: the arrays are empty")
    r, c = reference.astype(np.float64), candidate.astype(np.float64)
    with np.errstate(all="ignore"):
        distance = np.abs(c - r)
        rms = float(np.sqrt(np.mean(np.square(r))))
    same = (r == c) | (np.isnan(r) & np.isnan(c))
    distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
    where = np.unravel_index(int(np.argmax(distance)), distance.shape)
    worst = float(distance[where])
    return Gap(
        relative=0.0 if worst == 0 else worst / rms if rms > 0 and np.isfinite(rms) else float("inf"),
        absolute=worst,
        where=tuple(int(i) for i in where),
        reference=float(r[where]),
        candidate=float(c[where]),
        different=int(np.count_nonzero(~same)),
        finite=bool(np.isfinite(r).all() and np.isfinite(c).all()),
    )


def ulps(reference: NDArray[Any], candidate: NDArray[Any], eps: float) -> NDArray[np.float64]:
    """Element-wise distance in units in the last place of a format with spacing `eps` at one. Same shapes, finite."""
    magnitude = np.maximum(np.abs(reference), np.abs(candidate)).astype(np.float64)
    spacing = eps * np.exp2(np.floor(np.log2(np.maximum(magnitude, np.finfo(np.float64).tiny))))
    return np.asarray(np.abs(candidate.astype(np.float64) - reference) / spacing)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and scalar values of nested JSON data; empty containers are leaves."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}.{index}" if path else str(index))
    else:
        yield path, value


def same_scalar(a: Any, b: Any) -> bool:
    """Equal in type and value, so that 1, 1.0 and True are three things; NaN equals NaN."""
    return type(a) is type(b) and (a == b or (a != a and b != b))


def differing(reference: Any, candidate: Any) -> Iterator[tuple[str, Any, Any]]:
    """Paths where two nested JSON values differ, with both values; MISSING where a side has none. Looks both ways."""
    r, c = dict(leaves(reference)), dict(leaves(candidate))
    for path in [*r, *(p for p in c if p not in r)]:
        a, b = r.get(path, MISSING), c.get(path, MISSING)
        if a is MISSING or b is MISSING or not same_scalar(a, b):
            yield path, a, b
