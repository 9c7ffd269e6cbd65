"""How a model is called: forward's arguments, and the methods that its own classes make public."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from . import locate
from .build import Builder

KINDS = (
    (staticmethod, "static method"),
    (classmethod, "class method"),
    (functools.cached_property, "property that can be set"),
    (property, "property"),
)
"""What stands in a class, by what a caller may do with it; anything else that is a function is a method."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration).

    Returns arguments [{name, kind, default}] of forward, in order, without self; methods [{name, kind, arguments,
    location}] by name: what classes in the side's own folder define and make public, as the model has it. kind: see
    `_kind`. arguments: without self or cls; None of a property, and of what does not say, as torch's functions in C do.
    location: that of forward.
    """
    model, note = builder.outlined(args["values"])
    root = builder.settings["path"]
    return {
        "arguments": _arguments(model.forward),
        "methods": [told for name in sorted(_public(model, root)) if (told := _method(model, name, root))["kind"]],
        "location": locate.of(inspect.unwrap(type(model).forward), root),
        "note": note,
    }


def _arguments(call: Callable[..., Any]) -> list[dict[str, str]]:
    return [
        {"name": p.name, "kind": p.kind.description, "default": _default(p)}
        for p in inspect.signature(call).parameters.values()
    ]


def _default(parameter: inspect.Parameter) -> str:
    """As source shows it; an object that shows its address, by its type, and a class without the module that it is in."""
    if parameter.default is parameter.empty:
        return "required"
    if isinstance(parameter.default, type):
        return parameter.default.__qualname__
    text = repr(parameter.default)
    return f"<{type(parameter.default).__name__}>" if " at 0x" in text else text


def _public(model: nn.Module, root: str) -> set[str]:
    """Names of public methods and properties that the side's own classes define."""
    own = (vars(kind) for kind in type(model).__mro__ if locate.owns(kind, root))
    return {name for held in own for name, value in held.items() if not name.startswith("_") and _kind(value)}


def _kind(value: Any) -> str:
    """What something in a class is to a caller; empty for a plain value and for a class."""
    if isinstance(value, property) and value.fset is not None:
        return "property that can be set"
    return next(
        (name for kind, name in KINDS if isinstance(value, kind)), "method" if inspect.isfunction(value) else ""
    )


def _method(model: nn.Module, name: str, root: str) -> dict[str, Any]:
    value = inspect.getattr_static(type(model), name)
    kind = _kind(value)
    code = next((c for at in ("fget", "func", "__func__") if (c := getattr(value, at, None)) is not None), value)
    told: dict[str, Any] = {"name": name, "kind": kind, "arguments": None, "location": None}
    if kind:  # else a class that inherits it has put a plain value in its place
        told["location"] = locate.of(inspect.unwrap(code), root)
    if kind and "property" not in kind:  # reading a property would run it
        with contextlib.suppress(TypeError, ValueError):
            told["arguments"] = _arguments(value.__get__(model, type(model)))
    return told
