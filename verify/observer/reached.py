"""Which lines of the side's own files ran, for the self-test: a fault in a line that no case runs cannot show."""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import Any

from . import locate
from .build import Builder

LINES: dict[str, set[int]] = {}
"""By file."""
ROOTS: list[str] = []
VERIFIER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_places: dict[str, set[int] | None] = {}
"""By the name that code objects give their file: where its lines are noted, None for files of others."""


def watch(roots: list[str]) -> None:
    """From now on, lines of files below one of these folders are noted, but for those of installed packages."""
    ROOTS[:] = [os.path.realpath(root) for root in roots]
    threading.settrace(_entered)
    sys.settrace(_entered)


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: stop (whether to note no more). Returns lines {file: [numbers]}, sorted, and modules: what this process imported from installed packages.

    A file below the side's folder has its path from there; one in the scratch folder, such as a copy beside a
    checkpoint, its bare name.
    """
    if args.get("stop"):
        threading.settrace(None)
        sys.settrace(None)
    root = os.path.realpath(builder.settings["path"])
    found: dict[str, set[int]] = {}
    for file, lines in list(LINES.items()):
        inside = file.startswith(root + os.sep)
        found.setdefault(os.path.relpath(file, root) if inside else os.path.basename(file), set()).update(lines)
    installed = [
        name
        for name, module in list(sys.modules.items())
        if locate.installed(str(getattr(module, "__file__", None) or ""))
        and module.__spec__
        and module.__spec__.name == name
    ]
    return {"lines": {file: sorted(lines) for file, lines in sorted(found.items())}, "modules": installed}


def _entered(frame: FrameType, event: str, argument: Any) -> Any:
    name = frame.f_code.co_filename
    try:
        lines = _places[name]
    except KeyError:
        lines = _places[name] = _place(name)
    if lines is None:
        return None
    lines.add(frame.f_lineno)

    def ran(frame: FrameType, event: str, argument: Any) -> Any:
        lines.add(frame.f_lineno)
        return ran

    return ran


def _place(name: str) -> set[int] | None:
    file = os.path.realpath(name)
    ours = any(file.startswith(root + os.sep) for root in ROOTS)
    if not ours or locate.installed(file) or file.startswith(VERIFIER + os.sep):
        return None
    return LINES.setdefault(file, set())
