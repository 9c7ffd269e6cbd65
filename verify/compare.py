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

    relative: largest |candidate - reference| over the root mean square of what is finite in the reference; of the
    candidate, where that is all zeros, so that it is 1 at least and finite. where: index of that element.
    different: how many elements are not equal to the bit. alike: whether what is not finite is the same on both sides, at
    the same places. finite: whether, apart from infinities that are alike, all elements of both are finite, and there are
    some.
    """

    relative: float
    absolute: float
    where: tuple[int, ...]
    reference: float
    candidate: float
    different: int
    alike: bool
    finite: bool


def gap(reference: NDArray[Any], candidate: NDArray[Any]) -> Gap:
    """Largest difference between arrays of one shape, any numeric dtype, computed in float64.

    Elements that are not finite count as infinitely far apart unless they are the same infinity or both NaN; with a NaN
    `finite` is False all the same. Raises ValueError if shapes differ: broadcasting would hide a missing axis.
    """
    if reference.shape != candidate.shape:
        raise ValueError(f"shapes differ: {reference.shape} and {candidate.shape}")
    if reference.size == 0:
        raise ValueError("nothing to compare: the arrays are empty")
    r, c = reference.astype(np.float64), candidate.astype(np.float64)
    same = (reference == candidate) | (np.isnan(r) & np.isnan(c))
    with np.errstate(all="ignore"):
        distance = np.asarray(np.abs(c - r))
    distance[np.isnan(distance)] = np.inf
    distance[distance == 0] = 1.0  # whole numbers past 2**53 may differ where their float64 does not
    distance[same] = 0.0
    where = np.unravel_index(int(np.argmax(distance)), distance.shape)
    worst = float(distance[where])
    rest = ~(np.isinf(r) & same)
    ours, others = r[np.isfinite(r)], c[np.isfinite(c)]
    return Gap(
        relative=0.0 if worst == 0 else _over_rms(worst, ours if ours.any() else others),
        absolute=worst,
        where=tuple(int(i) for i in where),
        reference=float(r[where]),
        candidate=float(c[where]),
        different=int(np.count_nonzero(~same)),
        alike=bool(same[~(np.isfinite(r) & np.isfinite(c))].all()),
        finite=bool(rest.any() and np.isfinite(r[rest]).all() and np.isfinite(c[rest]).all()),
    )


def _over_rms(worst: float, r: NDArray[np.float64]) -> float:
    """worst over the root mean square of `r`, scaled so that squares neither overflow nor vanish; else infinity."""
    scale = float(np.max(np.abs(r), initial=0.0))
    if not (0 < scale < float("inf")):
        return float("inf")
    return worst / scale / float(np.sqrt(np.mean(np.square(r / scale))))


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


def _items(value: Any) -> Mapping[Any, Any] | None:
    """What is inside a mapping or a list, by key or position; None for a scalar."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return _Positions(enumerate(value))
    return None


class _Positions(dict[int, Any]):
    """Items of a list by position; a type of its own, so that it never passes for a mapping."""


def differing(reference: Any, candidate: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Paths where two nested JSON values differ, with both values; MISSING where a side has none. Looks both ways.

    What one side lacks is told leaf by leaf. A list is not the mapping of its positions: they differ as a whole.
    """
    r, c = _items(reference), _items(candidate)
    if r is not None and c is not None and type(r) is type(c):
        left, right = dict(r), dict(c)
        for key in [*left, *(k for k in right if k not in left)]:
            at = f"{path}.{key}" if path else str(key)
            yield from differing(left.get(key, MISSING), right.get(key, MISSING), at)
    elif candidate is MISSING:
        yield from ((at, value, MISSING) for at, value in leaves(reference, path))
    elif reference is MISSING:
        yield from ((at, MISSING, value) for at, value in leaves(candidate, path))
    elif r is not None or c is not None or not same_scalar(reference, candidate):
        yield path, reference, candidate
