"""What a configuration class does: its arguments, defaults, attributes, and how it survives a round trip."""

from __future__ import annotations

import dataclasses
import inspect
import json
import operator
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

from . import locate
from .build import Builder

UNNAMED = "an_argument_that_nobody_named"

OTHER_AUTO = "AutoModelForImageClassification"
"""An Auto class that neither side's own code is for."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (explicit configuration values of the variant). Those that have no default are given throughout.

    unusual: what differs from the defaults when a number is zero, or when an argument comes that nobody named.
    own_equality: whether the class says itself what is equal; what a library's base class says changes with its version.
    Every other part is a flat or nested JSON value; a part that raises is {"raised": "Type: message"} and is compared as
    such, so that two sides which refuse the same value agree.
    """
    config_class = builder.config_class()
    values = builder.config_values(args["values"])
    if config_class is None:
        return {"absent": True}
    needed = {p.name for p in inspect.signature(config_class).parameters.values() if p.default is p.empty}
    given = {name: value for name, value in values.items() if name in needed}
    return {
        "arguments": _arguments(config_class),
        "defaults": _attempt(lambda: _dictionary(config_class(**given))),
        "explicit": _attempt(lambda: _dictionary(config_class(**values))),
        "attributes": _attempt(lambda: _attributes(config_class(**values))),
        "probes": {
            name: _attempt(partial(_probe, partial(config_class, **given), name, value))
            for name, value in _probes(config_class)
        },
        "unusual": {
            name: _attempt(partial(_probe, partial(config_class, **given), name, value))
            for name, value in (*_zeros(config_class), (UNNAMED, 1))
        },
        "dictionary_trip": _attempt(lambda: _dictionary(_from_dict(config_class, config_class(**values)))),
        "json_trip": _attempt(lambda: _json_trip(config_class, config_class(**values))),
        "equality": _attempt(lambda: _equality(config_class, values)),
        "own_equality": locate.owns(_first_with("__eq__", config_class), builder.settings["path"]),
        "saving": _attempt(lambda: _saving(config_class, values, builder.settings["path"])),
        "inherited": _inherited(config_class, builder.settings["path"]),
        "location": locate.of(config_class, builder.settings["path"]),
    }


def constructed(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration). What making a model changes of the configuration that it is given.

    Returns changed {entry: [before, after]} in the side's own words, and location of the model's constructor.
    """
    model, note = builder.outlined(args["values"])
    location = locate.of(type(model).__init__, builder.settings["path"])
    return {"changed": builder.changed(model), "location": location, "note": note}


def _inherited(config_class: Any, root: str) -> dict[str, Any]:
    """What every configuration has by the library's base class alone, which differs from version to version."""
    for base in config_class.__mro__[1:]:
        if base is not object and not locate.owns(base, root):
            found = _attempt(partial(_both, base))
            return {} if set(found) == {"raised"} else dict(found)
    return {}


def _both(config_class: Any) -> dict[str, Any]:
    return {**_attributes(config_class()), **_dictionary(config_class())}


def _attempt(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except Exception as error:
        return _raised(error)


def _raised(error: Exception) -> dict[str, str]:
    return {"raised": f"{type(error).__name__}: {error}"[:500]}


def plain(value: Any) -> Any:
    """JSON values as they are; containers by element, and configurations within one by field, whatever their class is
    called; anything else by type and text, without memory addresses."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(v) for v in value), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"fields": {f.name: plain(getattr(value, f.name, None)) for f in dataclasses.fields(value)}}
    if callable(getattr(value, "to_dict", None)) and not isinstance(value, type):
        return {"fields": plain(value.to_dict())}
    text = str(value)
    return f"<{type(value).__name__}>" if " at 0x" in text else f"<{type(value).__name__} {text}>"


def _dictionary(config: Any) -> dict[str, Any]:
    to_dict = getattr(config, "to_dict", None)
    found: dict[str, Any] = plain(to_dict() if callable(to_dict) else vars(config))
    return found


def _from_dict(config_class: Any, config: Any) -> Any:
    if hasattr(config_class, "from_dict"):
        return config_class.from_dict(config.to_dict())
    return config_class(**vars(config))


def _json_trip(config_class: Any, config: Any) -> dict[str, Any]:
    if hasattr(config, "save_pretrained"):
        with tempfile.TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            return _dictionary(config_class.from_pretrained(folder, local_files_only=True))
    found: dict[str, Any] = json.loads(json.dumps(_dictionary(config)))
    return found


def _first_with(method: str, config_class: Any) -> Any:
    """The class or base class whose method it is."""
    return next((base for base in getattr(config_class, "__mro__", ()) if method in vars(base)), None)


def _equality(config_class: Any, values: dict[str, Any]) -> dict[str, Any]:
    """What a configuration is equal to. Keys are arguments that are set otherwise, and a few words."""
    one = config_class(**values)
    found = {"the same values": config_class(**values), "no configuration": vars(one)}
    found |= {name: config_class(**{**values, name: value}) for name, value in _probes(config_class)}
    return {name: _attempt(partial(operator.eq, one, other)) for name, other in found.items()}


def _saving(config_class: Any, values: dict[str, Any], root: str) -> dict[str, Any]:
    """Where a library's base class saves: what it is handed, and what is written of an entry of another Auto class."""
    bases = (b for b in config_class.__mro__ if "save_pretrained" in vars(b) and not locate.owns(b, root))
    base = next(bases, None)
    if base is None:
        return {}
    return {
        "arguments": _attempt(lambda: _handed_on(config_class(**values), base)),
        OTHER_AUTO: _attempt(lambda: _other_entry(config_class, values)),
    }


def _handed_on(config: Any, base: Any) -> dict[str, Any]:
    """What a library's save_pretrained is called with, by its own names."""
    saves, handed = inspect.signature(base.save_pretrained), dict[str, Any]()

    def record(*args: Any, **kwargs: Any) -> None:
        handed.update({k: v for k, v in saves.bind(*args, **kwargs).arguments.items() if k != "self"})

    with mock.patch.object(base, "save_pretrained", record), tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder, False, any_other="argument")
    where = handed.pop("save_directory", None)
    told: dict[str, Any] = plain(handed)
    return {**told, "save_directory": isinstance(where, str | os.PathLike) and os.fspath(where) == folder}


def _other_entry(config_class: Any, values: dict[str, Any]) -> Any:
    """What is written of an entry of auto_map that a user gives."""
    with tempfile.TemporaryDirectory() as folder:
        config_class(**{**values, "auto_map": {OTHER_AUTO: "other_model.Other"}}).save_pretrained(folder)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return (json.load(file).get("auto_map") or {}).get(OTHER_AUTO)


def _attributes(config: Any) -> dict[str, Any]:
    """Every public attribute that is no method: values, properties, class attributes, aliases of attribute_map."""
    names = set(dir(config)) | set(getattr(config, "attribute_map", None) or {})
    found = {}
    for name in sorted(names):
        if name.startswith("_"):
            continue
        try:
            value = getattr(config, name)
        except AttributeError:  # a property that raises it is no attribute
            continue
        except Exception as error:
            value = _raised(error)
        if not callable(value):
            found[name] = plain(value)
    return found


def _arguments(config_class: Any) -> list[dict[str, Any]]:
    """Arguments of the constructor, in order: name, kind, default."""
    parameters = list(inspect.signature(config_class).parameters.values())
    return [
        {
            "name": p.name,
            "kind": p.kind.description,
            "default": None if p.default is p.empty else plain(p.default),
            "required": p.default is p.empty,
        }
        for p in parameters
    ]


def _probes(config_class: Any) -> list[tuple[str, Any]]:
    """For each argument with a simple default, a value unlike it: does the argument arrive?"""
    probes: list[tuple[str, Any]] = []
    for p in inspect.signature(config_class).parameters.values():
        if isinstance(p.default, bool):
            probes.append((p.name, not p.default))
        elif isinstance(p.default, int):
            probes.append((p.name, p.default * 2 + 16))
        elif isinstance(p.default, float):
            probes.append((p.name, p.default * 2 + 0.125))
    return probes


def _zeros(config_class: Any) -> Iterator[tuple[str, Any]]:
    """For each argument with a number other than zero as its default, zero: where that is taken for nothing given, the
    default stands."""
    for p in inspect.signature(config_class).parameters.values():
        if isinstance(p.default, int | float) and not isinstance(p.default, bool) and p.default:
            yield p.name, type(p.default)(0)


def _probe(config_class: Callable[..., Any], name: str, value: Any) -> Any:
    """What differs from the defaults when one argument is set."""
    defaults, changed = _dictionary(config_class()), _dictionary(config_class(**{name: value}))
    return {k: v for k, v in changed.items() if k not in defaults or defaults[k] != v}
