"""How the difference grows from layer to layer, estimated from the fingerprints of both sides' module calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from verify.divergence.modules import LAYOUT_FREE, Calls, Fingerprint
from verify.report import LayerError

MOST_LAYERS = 200


def by_layer(reference: Calls, candidate: Calls) -> list[LayerError]:
    """Relative difference of each layer's first output, in the candidate's order of execution.

    Layers are the model's own children and what stands in its lists. They are aligned by path; where the sides name
    theirs otherwise, one by one if they have as many. A layer whose output has another shape is left out.
    """
    left, right = _layers(reference), _layers(candidate)
    if not left.keys() & right.keys() and len(left) == len(right):
        pairs = list(zip(left.values(), right.values(), strict=True))
    else:
        pairs = [(left[path], call) for path, call in right.items() if path in left]
    errors = ((str(call["path"]), _difference(theirs, call)) for theirs, call in pairs)
    return [LayerError(path=path, error=error) for path, error in errors if error is not None][:MOST_LAYERS]


def _layers(calls: Calls) -> dict[str, Mapping[str, Any]]:
    return {
        str(call["path"]): call
        for call in calls
        if call["index"] == 0 and call["outputs"] and _is_layer(str(call["path"]))
    }


def _is_layer(path: str) -> bool:
    return bool(path) and ("." not in path or path.rpartition(".")[2].isdigit())


def _difference(reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> float | None:
    """|candidate - reference| / |reference|, as the mean over the projections estimates it; None where it cannot."""
    left, right = (Fingerprint.read(call["outputs"][0]) for call in (reference, candidate))
    if left.shape != right.shape:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        apart = (left.vector - right.vector)[LAYOUT_FREE:]
        error = float(np.sqrt(np.mean(apart**2)) / left.scale)
    return error if np.isfinite(error) else None
