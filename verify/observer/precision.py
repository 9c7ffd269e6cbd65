"""Many draws of one case's inputs in an arithmetic of its own, as a user runs it, or the exact answer to the same."""

from __future__ import annotations

import re
import warnings
from typing import Any

import torch

from .arithmetic import exact
from .build import DTYPES, Builder, Built
from .calls import repeatable
from .faults import Unusable
from .forward import call, load_inputs
from .values import container, describe, flatten, ordered

AUTOCAST = {"autocast": torch.bfloat16, "autocast fp16": torch.float16}
"""By format, of a float32 model under torch's autocast: the narrow type."""

UNSUPPORTED = re.compile(r"not implemented for '(Half|BFloat16)'")


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`, with format ("fp32", "bf16", "fp16", or one of AUTOCAST), given (another format of the float inputs;
    "": the same), lifted (compute exactly in float64 what weights and inputs in these formats give) and draws (the first
    and the one after the last of those that the input file holds, named "0/…", "1/…"). Wider inputs hold what the weights' format can.

    Returns outputs, container and arrays as `forward` does, paths beginning with the draw's number and a slash. Raises
    Unusable where torch lacks an operation in this format on this device, or has no autocast of this type for it.
    """
    built = built_in(builder, args)
    leaves = []
    for draw in range(*args["draws"]):

        def run(draw: int = draw) -> Any:
            inputs = drawn(builder, built, args, draw)
            with torch.no_grad(), exact(built.exact), casting(builder, args):
                return call(builder, built.model, inputs)

        try:
            output = repeatable(builder, built.model, run)
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
    """The format in which an ask's weights are."""
    return "fp32" if args["format"] in AUTOCAST else str(args["format"])


def drawn(builder: Builder, built: Built, args: dict[str, Any], draw: int) -> dict[str, Any]:
    """The inputs of one draw, in the format that the ask gives them in: all hold what the narrower of that and the
    weights' can."""
    stored = stored_in(args)
    given = args["given"] or stored
    narrower = min(stored, given, key=lambda name: torch.finfo(DTYPES[name]).bits)
    types = {"through": narrower, "inputs_as": "fp64" if args["lifted"] else given}
    return load_inputs({**args, **types}, built, builder, f"{draw}/")


def built_in(builder: Builder, args: dict[str, Any]) -> Built:
    """The model in the format of an ask, or in float64 with that format's weights."""
    if args["lifted"]:
        return builder.built(args["values"], "fp64", args["recipes"], through=stored_in(args))
    return builder.built(args["values"], stored_in(args), args["recipes"], native=True, apart=args["format"])


def casting(builder: Builder, args: dict[str, Any]) -> torch.autocast:
    """What chooses formats by operation, where the ask wants that."""
    narrow = None if args["lifted"] else AUTOCAST.get(args["format"])
    device = builder.device.type
    if narrow is None:
        return torch.autocast(device, enabled=False)
    with warnings.catch_warnings():  # torch warns of a type that it has no autocast for, and then casts nothing
        warnings.simplefilter("ignore")
        chosen = torch.autocast(device, narrow)
    if not chosen._enabled:
        raise Unusable(
            f"{args['format']} on {device}: this torch has no autocast of {str(narrow).removeprefix('torch.')}"
        )
    return chosen
