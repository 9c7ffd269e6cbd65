"""Where code is: file and line, relative to the side's own folder where it lies there."""

from __future__ import annotations

import inspect
import os
import sys
from functools import lru_cache
from types import FrameType
from typing import Any

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Where the observer itself lies: it may lie under the root of the side, as in this repository."""


def is_own(file: str, root: str) -> bool:
    """Whether a file, by its absolute path, holds the side's own code: no installed package's, and not the observer's."""
    inside = file.startswith(root + os.sep) and not file.startswith(OURS + os.sep)
    return inside and not installed(file[len(root) :])


def owns(thing: Any, root: str) -> bool:
    """Whether a class or function is the side's own. Of a library's it reads no source, as `of` does to find the line."""
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return False
    return is_own(os.path.abspath(file or ""), root) and of(thing, root) is not None


@lru_cache(maxsize=4096)
def of(thing: Any, root: str) -> dict[str, Any] | None:
    """File, line and name of a class or function; `own` tells whether it lies under `root`. None where unknown."""
    try:
        file = os.path.abspath(inspect.getsourcefile(thing) or "")
        line = inspect.getsourcelines(thing)[1] or 1
    except (TypeError, OSError, IndexError):
        return None
    name = getattr(thing, "__qualname__", str(thing))
    own = is_own(file, root)
    return {"file": os.path.relpath(file, root) if own else package_path(file), "line": line, "name": name, "own": own}


def of_class(thing: Any, root: str) -> dict[str, Any] | None:
    """Where the class of an object is; see `of`."""
    kind: Any = type(thing)
    return of(kind, root)


def package_path(file: str) -> str:
    """A library's file from its package on: torch/nn/modules/linear.py, wherever the interpreter lives."""
    for marker in ("site-packages", "dist-packages"):
        _, found, tail = file.rpartition(f"{os.sep}{marker}{os.sep}")
        if found:
            return tail
    return file


def of_caller(root: str) -> dict[str, Any] | None:
    """The line under `root` that is being run, innermost first. None where nothing of this folder is running."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if is_own(os.path.abspath(file), root):
            return of_frame(frame, root)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def of_frame(frame: FrameType, root: str) -> dict[str, Any]:
    """The line under `root` that a frame is at."""
    code = frame.f_code
    name = getattr(code, "co_qualname", code.co_name).replace(".<locals>", "")
    return {
        "file": os.path.relpath(os.path.abspath(code.co_filename), root),
        "line": frame.f_lineno,
        "name": name,
        "own": True,
    }


def installed(file: str) -> bool:
    """Whether a file belongs to an installed package."""
    return f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file
