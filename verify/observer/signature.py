"""How a model is called: forward's arguments, and the methods that its own classes make public."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from . import locate
from .build import Builder


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration).

    Returns arguments [{name, kind, default}] of forward, in order, without self; methods: sorted names of public methods
    that classes in the side's own folder define; location of forward.
    """
    model, note = builder.outlined(args["values"])
    root = builder.settings["path"]
    return {
        "arguments": [
            {"name": p.name, "kind": p.kind.description, "default": _default(p)}
            for p in inspect.signature(model.forward).parameters.values()
        ],
        "methods": sorted(_methods(model, root)),
        "location": locate.of(inspect.unwrap(type(model).forward), root),
        "note": note,
    }


def _default(parameter: inspect.Parameter) -> str:
    """As source shows it; an object that shows its address, by its type."""
    if parameter.default is parameter.empty:
        return "required"
    text = repr(parameter.default)
    return f"<{type(parameter.default).__name__}>" if " at 0x" in text else text


def _methods(model: nn.Module, root: str) -> set[str]:
    found: set[str] = set()
    for kind in type(model).__mro__:
        if locate.owns(kind, root):
            found |= {n for n, value in vars(kind).items() if inspect.isfunction(value) and not n.startswith("_")}
    return found
