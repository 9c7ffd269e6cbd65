"""What modules hold that is no parameter, buffer or module: eps, rates, strides, head counts, activations."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from . import loading, locate, modes
from .build import Builder
from .structure import described

NO_SETTINGS = frozenset(vars(nn.Module())) | {"training", "dump_patches", "call_super_init"}
LONGEST = 16
LONGEST_TEXT = 300
DEEPEST = 3
LIBRARIES = ("torch", "transformers")
ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")
"""Modules whose classes are tried on numbers, where they hold no parameters: what they compute needs no name."""
PROBED = 33
PLAIN = (bool, int, float, str, type(None))


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration).

    Returns modules [{path, class, stateful, library, known, response, settings, more, made, location}]. library: whether
    the class is torch's own, so that the same class on both sides means the same thing by its settings; known: whether it
    is torch's or transformers'. response: of an activation of theirs, what it makes of some numbers. settings: JSON values by
    attribute name; more: of the side's own classes, what else they hold, as text: private and class attributes, longer
    lists, dictionaries, objects of the side's own, names of functions. made: the user's line that set each. loading: see
    `loading.told`; modes: see `modes.told`.
    """
    model, note = builder.outlined(args["values"])
    root = builder.settings["path"]
    found = []
    for path, module in model.named_modules():
        library = type(module).__module__.partition(".")[0] == "torch"
        settings = dict(_settings(module))
        more = {k: v for k, v in _more(module, root, builder.config_class()).items() if k not in settings}
        made = {name: builder.origins.line(module, name) for name in (*settings, *more)}
        kinds = {"library": library, "known": _known(type(module)), "response": _response(module)}
        found.append({**described(path, module, root), **kinds, "settings": settings, "more": more, "made": made})
    switched = modes.told(builder, model, args["values"])
    return {"modules": found, "note": note, "loading": loading.told(model), "modes": switched}


def _known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in LIBRARIES


def _response(module: nn.Module) -> list[float] | None:
    """What an activation of a library makes of numbers between -4 and 4, in eval mode; None for other modules."""
    if type(module).__module__ not in ACTIVATIONS or any(True for _ in module.parameters()):
        return None
    alone = copy.copy(module)  # the model is not to be changed
    alone.training = False
    try:
        with torch.no_grad():
            made = type(alone).forward(alone, torch.linspace(-4, 4, PROBED - 1, dtype=torch.float64))
        return made.double().flatten()[:PROBED].tolist() if bool(made.isfinite().all()) else None
    except Exception:  # one that takes other inputs
        return None


def _more(module: nn.Module, root: str, config: Any) -> dict[str, str]:
    """What a module of the side's own class holds beside its settings, as text by name."""
    found: dict[str, Any] = {}
    theirs = [kind for kind in type(module).__mro__ if _known(kind)]
    for kind in reversed(type(module).__mro__):
        if _known(kind) or not locate.owns(kind, root):
            continue
        for name, value in vars(kind).items():
            hook = name.startswith("__") or any(hasattr(one, name) for one in theirs)  # what the library asks for
            if not (hook or inspect.isroutine(value) or inspect.isdatadescriptor(value) or isinstance(value, type)):
                found[name] = value
    if locate.owns(type(module), root):
        skipped = NO_SETTINGS | {name for kind in theirs for name in vars(kind)}
        found |= {name: value for name, value in vars(module).items() if name not in skipped}
    told = {name: _told(value, root) for name, value in found.items() if not (config and isinstance(value, config))}
    return {name: text for name, text in sorted(told.items()) if text is not None}


def _told(value: Any, root: str, depth: int = 0) -> str | None:
    """A value as text that is the same wherever the value is; None for what has none, such as a tensor."""
    text: str | None = None
    if isinstance(value, PLAIN):
        text = repr(value)
    elif isinstance(value, list | tuple | set | frozenset) and depth < DEEPEST:
        parts = [_told(item, root, depth + 1) for item in value]
        items = sorted(map(str, parts)) if isinstance(value, set | frozenset) else list(map(str, parts))
        text = None if None in parts else f"[{', '.join(items)}]"
    elif isinstance(value, dict) and depth < DEEPEST:
        pairs = {repr(key): _told(item, root, depth + 1) for key, item in value.items()}
        text = f"{{{', '.join(f'{key}: {item}' for key, item in sorted(pairs.items()) if item is not None)}}}"
    elif inspect.isfunction(value) or inspect.isbuiltin(value):
        text = value.__qualname__
    elif isinstance(value, torch.dtype | torch.device):
        text = str(value)
    elif not isinstance(value, nn.Module | torch.Tensor | type) and locate.owns(type(value), root) and depth < DEEPEST:
        text = _told(getattr(value, "__dict__", {}), root, depth)
    if text is not None and len(text) > LONGEST_TEXT:
        digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=4).hexdigest()
        text = f"{text[:LONGEST_TEXT]}… (digest {digest})"
    return text


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
