"""Which files the things that the spec names were loaded from."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from typing import Any

from . import locate
from .build import Builder

KEYS = ("config", "model", "factory")


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """What has been imported so far; imports nothing.

    Returns targets {key of the spec: {place, real, name, outside, held}}, and made: file and name of the class of the
    model that came out, which a factory does not show, or "". real: the file that defines it, links
    followed. outside: whether its module is not of the side's folder; held: whether the folder has a module of that name.
    """
    root, found = builder.settings["path"], {}
    for key in KEYS:
        if builder.settings[key]:
            with contextlib.suppress(Exception):  # not loaded, or no source
                found[key] = _target(builder.settings[key], root)
    made = ""
    if builder.made is not None:
        with contextlib.suppress(Exception):
            made = f"{os.path.realpath(inspect.getsourcefile(builder.made) or '')}:{builder.made.__qualname__}"
    return {"targets": found, "made": made}


def _target(target: str, root: str) -> dict[str, Any]:
    name, _, attribute = target.partition(":")
    module = sys.modules[name]
    thing: Any = module
    for part in attribute.split("."):
        thing = getattr(thing, part)
    thing = inspect.unwrap(thing)
    stem = os.path.join(root, *name.split("."))
    file = os.path.abspath(module.__file__ or "")
    return {
        "place": locate.of(thing, root),
        "real": os.path.realpath(inspect.getsourcefile(thing) or file),
        "name": thing.__qualname__,
        "outside": not file.startswith(root + os.sep) or locate.installed(file[len(root) :]),
        "held": os.path.isfile(f"{stem}.py") or os.path.isfile(os.path.join(stem, "__init__.py")),
    }
