"""What a model is made of: parameters, buffers, modules, as built with its own precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from . import leftover, locate
from .build import Builder, parameters_on_meta
from .values import dtype_name, empty_is_nan

MOVES: dict[str, Callable[[nn.Module], Any]] = {
    "bfloat16": lambda model: model.to(torch.bfloat16),
    "float16": lambda model: model.half(),
    "empty": lambda model: model._apply(torch.empty_like),
}
"""What is done to a model. The last is what `to_empty` does; parameters are on the meta device and stay there."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration).

    Returns parameters [{name, shape, dtype, requires_grad, marks, made}], buffers [{name, shape, dtype, persistent, made,
    filled}] and modules [{path, class, stateful, location, made}] in the model's order, made being the user's line that
    did and filled the one that last wrote; marks, what code put on a parameter, as for a group of the optimizer; state_dict keys in order, groups of names that share one tensor, and arrays:
    every buffer's values by name.
    """
    model, note = builder.outlined(args["values"])
    root = builder.settings["path"]
    buffers = list(model.named_buffers(remove_duplicate=False))
    persistent = set(model.state_dict(keep_vars=True))
    modules = dict(model.named_modules(remove_duplicate=False))

    def said(tell: Callable[[nn.Module, str], Any], name: str) -> Any:
        path, _, own = name.rpartition(".")
        return tell(modules[path], own)

    origins = builder.origins

    return {
        "parameters": [
            {
                "name": n,
                "shape": list(p.shape),
                "dtype": dtype_name(p),
                "requires_grad": p.requires_grad,
                "marks": _marks(p),
                "made": said(origins.line, n),
            }
            for n, p in model.named_parameters(remove_duplicate=False)
        ],
        "buffers": [
            {
                "name": n,
                "shape": list(b.shape),
                "dtype": dtype_name(b),
                "persistent": n in persistent,
                "made": said(origins.registered, n),
                "filled": said(origins.line, n),
            }
            for n, b in buffers
        ],
        "order": list(model.state_dict(keep_vars=True)),
        "tied": _tied(model),
        "modules": [
            {**described(path, module, root), "made": said(origins.line, path) if path else None}
            for path, module in model.named_modules(remove_duplicate=False)
        ],
        "location": locate.of_class(model, root),
        "arrays": {name: b for name, b in buffers if not b.is_meta},
        "note": note,
    }


def moved(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), how (one of MOVES; default: the first). The model after that.

    Returns parameters and buffers [{name, shape, dtype}] and arrays: every buffer's values by name.
    """
    model, _ = builder.outline(args["values"])
    with empty_is_nan():
        MOVES[args.get("how", "bfloat16")](model)
    buffers = [(n, b) for n, b in model.named_buffers(remove_duplicate=False) if not b.is_meta]
    parameters = model.named_parameters(remove_duplicate=False)
    return {
        group: [{"name": n, "shape": list(t.shape), "dtype": dtype_name(t)} for n, t in tensors]
        for group, tensors in (("parameters", parameters), ("buffers", buffers))
    } | {"arrays": dict(buffers)}


def making(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration). What importing a model and making one leave changed of the process, by setting; see
    `leftover`."""
    builder.outlined(args["values"])
    torch.manual_seed(leftover.SEED)  # one that no model sets, so that a seed set by it shows
    with contextlib.suppress(Exception), parameters_on_meta():
        builder.construct(args["values"])
    return {stage: dict(found) for stage, found in builder.left.items()}


def remembered(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), other (another one, of which a model is made before). One process makes several models:
    a table that is kept from one to the next, under a name that does not say all that it is made of, is the wrong one.

    Returns buffers {name: whether its values are those that a model has which is made alone}, made {name: the user's line
    that wrote the buffer}.
    """
    alone, _ = builder.outline(args["values"])
    with builder.caches.together():
        builder.outline(args["other"])
        second, _ = builder.outline(args["values"], traced=True)
    before, after = (dict(model.named_buffers(remove_duplicate=False)) for model in (alone, second))
    modules = dict(second.named_modules(remove_duplicate=False))
    made = {n: builder.origins.line(modules[n.rpartition(".")[0]], n.rpartition(".")[2]) for n in after}
    return {
        "buffers": {n: n in before and _alike(before[n], b) for n, b in after.items() if not b.is_meta},
        "made": made,
    }


def _marks(parameter: nn.Parameter) -> dict[str, str]:
    """Plain attributes that a parameter was given, as text; not those that transformers keeps its books by."""
    held = {n: v for n, v in vars(parameter).items() if isinstance(v, bool | int | float | str)}
    return {n: repr(v) for n, v in sorted(held.items()) if not n.startswith(("_is_hf", "_hf"))}


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != b.layout:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _tied(model: nn.Module) -> list[list[str]]:
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return sorted(sorted(group) for group in names.values() if len(group) > 1)


def described(path: str, module: nn.Module, root: str) -> dict[str, Any]:
    """A module: its path, class, whether it or one inside holds parameters or buffers, and where its class is."""
    stateful = any(True for _ in module.parameters()) or any(True for _ in module.buffers())
    return {
        "path": path,
        "class": type(module).__name__,
        "stateful": stateful,
        "location": locate.of_class(module, root),
    }
