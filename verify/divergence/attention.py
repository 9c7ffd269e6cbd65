"""Attention that one side leaves to torch and the other writes out: whether its scale is all that differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.graph import Operation

Array = NDArray[Any]
FUSED = "scaled_dot_product"
CLOSE = 1e-6
"""Relative difference that float32 inside attention leaves."""
SOFTMAX = frozenset({"softmax", "_softmax", "_safe_softmax", "exp"})


def other_scale(
    region: list[Operation], made: Array | None, counterpart: Operation | None, theirs: Mapping[int, Array]
) -> Operation | None:
    """The last operation of a region that scales the scores, where attention with the region's scale is what was made.

    region: the candidate's operations up to the attended values `made`, in order. counterpart: the reference's fused
    operation, whose query, key and value [B, A, L, D] are among `theirs`.
    """
    if made is None or counterpart is None or len(counterpart.inputs) != 3:
        return None
    if not counterpart.short.lstrip("_").startswith(FUSED):
        return None
    if any(n not in theirs for n in counterpart.inputs):
        return None
    end = next((place for place, o in enumerate(region) if o.short in SOFTMAX), 0)
    scaling = [(o, n) for o in region[:end] if (n := _factor(o)) is not None]
    if not scaling:
        return None
    query, key, value = (theirs[n].astype(np.float64) for n in counterpart.inputs)
    attended = _attended(query, key, value, math.prod(n for _, n in scaling))
    return scaling[-1][0] if _same(attended, made) else None


def _factor(operation: Operation) -> float | None:
    """What an operation multiplies its one input by."""
    numbers = [s for s in operation.scalars if isinstance(s, int | float) and not isinstance(s, bool)]
    if len(operation.inputs) != 1 or len(numbers) != 1 or not numbers[0]:
        return None
    return {"mul": numbers[0], "div": 1 / numbers[0]}.get(operation.short)


def _attended(query: Array, key: Array, value: Array, scale: float) -> Array:
    scores = query @ key.swapaxes(-1, -2) * scale
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True) @ value)


def _same(attended: Array, made: Array) -> bool:
    """Whether values [B, A, L, D] are the made ones, which may have their axes B and A as one."""
    if attended.size != made.size:
        return False
    apart = np.abs(attended.reshape(made.shape) - made).max(initial=0.0)
    return bool(apart <= CLOSE * (np.abs(attended).max(initial=0.0) or 1.0))
