"""What modules hold that is no parameter, buffer or module: eps, rates, strides, head counts, activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .build import Builder
from .structure import described

NO_SETTINGS = frozenset(vars(nn.Module())) | {"training", "dump_patches", "call_super_init"}
LONGEST = 16
PLAIN = (bool, int, float, str, type(None))


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration).

    Returns modules [{path, class, stateful, library, settings, made, location}]. library: whether the class is torch's
    own, so that the same class on both sides means the same thing by its settings. settings: JSON values by attribute
    name; made: the user's line that set each.
    """
    model, note = builder.outlined(args["values"])
    root = builder.settings["path"]
    found = []
    for path, module in model.named_modules():
        library = type(module).__module__.partition(".")[0] == "torch"
        settings = dict(_settings(module))
        made = {name: builder.origins.line(module, name) for name in settings}
        found.append({**described(path, module, root), "library": library, "settings": settings, "made": made})
    return {"modules": found, "note": note}


def _settings(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Plain public attributes by name, sorted: numbers, text, flags, None, short sequences, dtypes, torch's functions."""
    own = vars(module)
    for name in sorted(own.keys() - NO_SETTINGS):
        value = own[name]
        if name == "padding" and isinstance(value, str):  # "valid" and 0 are one thing; the numbers say which
            value = own.get("_reversed_padding_repeated_twice", value)
            value = value[::-2] if isinstance(value, list) and value[::2] == value[1::2] else value
        if not name.startswith("_") and _is_plain(value):
            yield name, _wire(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= LONGEST and all(isinstance(v, PLAIN) for v in value)
    ours = callable(value) and str(getattr(value, "__module__", "")).partition(".")[0] == "torch"
    return isinstance(value, (*PLAIN, torch.dtype)) or (ours and hasattr(value, "__qualname__"))


def _wire(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, PLAIN):
        return value
    return str(value) if isinstance(value, torch.dtype) else f"{value.__module__}.{value.__qualname__}"
