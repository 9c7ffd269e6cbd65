"""Many draws of one case's inputs in an arithmetic of its own, as a user runs it, or the exact answer to the same."""

from __future__ import annotations

import re
from typing import Any

import torch

from .arithmetic import exact
from .build import Builder, Built
from .faults import Unusable
from .forward import call, load_inputs
from .values import container, describe, flatten, ordered

AUTOCAST = "autocast"
"""A float32 model under torch's bfloat16 autocast."""

UNSUPPORTED = re.compile(r"not implemented for '(Half|BFloat16)'")


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`, with format ("fp32", "bf16", "fp16", "autocast"), lifted (compute exactly in float64 what
    that format's weights and inputs give) and draws (how many the input file holds, named "0/…", "1/…").

    Returns outputs, container and arrays as `forward` does, paths beginning with the draw's number and a slash. Raises
    Unusable where torch lacks an operation in this format on this device.
    """
    built = built_in(builder, args)
    leaves = []
    for draw in range(args["draws"]):
        inputs = load_inputs({**args, "through": stored_in(args)}, built, builder, f"{draw}/")
        try:
            with torch.no_grad(), exact(built.exact), casting(builder, args):
                output = call(builder, built.model, inputs)
        except RuntimeError as error:
            if UNSUPPORTED.search(str(error)):
                raise Unusable(f"{args['format']} on {builder.device.type}: {error}") from error
            raise
        leaves += [(f"{draw}/{path}", leaf) for path, leaf in flatten(output)]
    return {
        "container": container(output),
        "ordered": ordered(output),
        "outputs": [{"path": path, **describe(leaf)} for path, leaf in leaves],
        "arrays": {path: leaf for path, leaf in leaves if isinstance(leaf, torch.Tensor)},
        "note": built.note,
    }


def stored_in(args: dict[str, Any]) -> str:
    """The format in which an ask's weights and inputs are."""
    return "fp32" if args["format"] == AUTOCAST else str(args["format"])


def built_in(builder: Builder, args: dict[str, Any]) -> Built:
    """The model in the format of an ask, or in float64 with that format's weights."""
    if args["lifted"]:
        return builder.built(args["values"], "fp64", args["recipes"], through=stored_in(args))
    return builder.built(args["values"], stored_in(args), args["recipes"], native=True)


def casting(builder: Builder, args: dict[str, Any]) -> torch.autocast:
    """What chooses formats by operation, where the ask wants that."""
    enabled = args["format"] == AUTOCAST and not args["lifted"]
    return torch.autocast(builder.device.type, torch.bfloat16, enabled=enabled)
