"""Runs one case and writes every output: names, shapes, dtypes, None-ness, values."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from .advance import NOTHING, advanced
from .arithmetic import exact, nudge
from .build import DTYPES, Builder, Built
from .faults import Unfit
from .values import container, describe, flatten, ordered

NUDGE_SEED = 20_011


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), arithmetic ("fp64" or "fp32"), inputs (safetensors file), arguments (plain forward
    arguments), nudged (move inputs and weights by one unit in the last place), rows (only so many of the batch; default:
    all), advanced (with other values in saved flags and counters, see `advance`).

    Returns outputs [{path, kind, shape, dtype, value}], the container's kind, whether it has an order to count by, and
    arrays: the tensors by path. advanced: names of the flags and counters; where there are none, nothing has run.
    """
    with advanced(builder, args) as moved:
        return {**NOTHING} if moved == [] else {**_observed(builder, args), "advanced": moved or []}


def _observed(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    built = prepared(builder, args)
    inputs = load_inputs(args, built, builder)
    with torch.no_grad(), exact(built.exact) as lifted:
        output = call(builder, built.model, inputs)
    leaves = list(flatten(output))
    names = builder.settings["renames"]["config"]
    return {
        "container": container(output),
        "ordered": ordered(output),
        "outputs": [{"path": path, **describe(value)} for path, value in leaves],
        "arrays": {path: value for path, value in leaves if isinstance(value, torch.Tensor)},
        "exact": built.exact,
        "lifted": lifted.count,
        "note": built.note,
        "told": {key: _told(built.model, names.get(key, key)) for key in args.get("told", [])},
    }


def call(builder: Builder, model: nn.Module, inputs: dict[str, Any]) -> Any:
    """The model's output. Raises Unfit where a case of the spec gives the reference arguments that it does not take: the
    reference says what a case may be, so that is the spec's mistake and no difference."""
    try:
        return model(**inputs)
    except TypeError as error:
        if builder.settings["role"] == "reference":
            arguments = inspect.signature(model.forward)
            try:
                arguments.bind(**inputs)
            except TypeError as unfit:
                text = f"the spec's case does not fit the reference's forward{arguments}: {unfit}"
                raise Unfit(text) from error
        raise


def _told(model: nn.Module, key: str) -> Any:
    """What the model's configuration says of a key. transformers keeps some under the name with an underscore."""
    config = getattr(model, "config", None)
    found = getattr(config, f"_{key}", None)
    found = getattr(config, key, None) if found is None else found
    return found if isinstance(found, bool | int | float | str) else None


def prepared(builder: Builder, args: dict[str, Any]) -> Built:
    """The built model, its weights nudged or not as `args` asks."""
    built = builder.built(args["values"], args["arithmetic"], args.get("recipes"))
    if built.nudged != args["nudged"]:
        for index, parameter in enumerate(built.model.parameters()):
            nudge(parameter.data, NUDGE_SEED + index, 1 if args["nudged"] else -1)
        built.nudged = args["nudged"]
    return built


def load_inputs(args: dict[str, Any], built: Built, builder: Builder, prefix: str = "") -> dict[str, Any]:
    """The case's arguments by this side's names: tensors on the device, floats in the run's dtype or in what `args`
    names as inputs_as, nudged by one ulp where asked; and the plain ones. prefix: of several draws in the file, the one whose names
    begin so."""
    inputs = dict(args["arguments"])
    with safe_open(args["inputs"], framework="pt") as file:  # of many draws, only the one
        names = [n for n in file.keys() if n.startswith(prefix)]  # noqa: SIM118
        # copies, because all tensors of one open file lie in one storage, by which a tensor is known elsewhere
        tensors = {n.removeprefix(prefix): file.get_tensor(n).clone() for n in names}
    for index, (name, tensor) in enumerate(sorted(tensors.items())):
        if tensor.is_floating_point():
            given = DTYPES[args["inputs_as"]] if "inputs_as" in args else built.dtype
            tensor = tensor.to(DTYPES[args["through"]] if "through" in args else given).to(given)
            if args["nudged"]:
                nudge(tensor, NUDGE_SEED - 1 - index)
        rows = args.get("rows")
        inputs[name] = (tensor if rows is None else tensor[:rows]).to(builder.device)
    names = builder.settings["renames"]["inputs"]
    return {names.get(name, name): value for name, value in inputs.items()}
