"""The second pass of precision: every operation of a pass in some format, with prints of its values over several draws."""

from __future__ import annotations

from typing import Any

import torch

from .arithmetic import exact
from .build import Builder
from .forward import call
from .operations import Plan, Recorder, names_of
from .precision import built_in, casting, drawn
from .values import describe

PARTS = (0, 4, 5, 6, 7)
"""The entries of a print that tell an error: its norm and its projections."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `precision`.

    Returns what `operations` does of a recorded pass of the first draw, and the array `draws` [draws, values, 5], norm
    and projections of each value. Draws in which the model ran other operations than in the first are left out.
    """
    built = built_in(builder, args)
    names = names_of(args, builder.settings["role"])
    first: Recorder | None = None
    tables: list[torch.Tensor] = []
    for draw in range(args["draws"]):
        inputs = drawn(builder, built, args, draw)
        recorder = Recorder(built.model, inputs, builder.settings["path"], Plan(), names, parts=False)
        try:
            with torch.no_grad(), recorder, exact(built.exact), casting(builder, args):
                call(builder, built.model, inputs)
        finally:
            recorder.remove()
        first = first or recorder
        if [o[:3] for o in recorder.graph()["operations"]] == [o[:3] for o in first.graph()["operations"]]:
            tables.append(recorder.arrays()["vectors"][:, PARTS])
    assert first is not None
    arrays = first.arrays() | {"draws": torch.stack(tables)}
    tensors = [{"name": n, **describe(t)} for n, t in arrays.items()]
    return {**first.graph(), "outputs": [], "tensors": tensors, "arrays": arrays}
