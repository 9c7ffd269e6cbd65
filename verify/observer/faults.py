"""From an exception in model code to a plain description: type, message, the user's own frames, the missing package."""

from __future__ import annotations

import os
import traceback
from typing import Any

LONGEST_MESSAGE = 4000
MOST_FRAMES = 12


def describe(error: BaseException, roots: list[str]) -> dict[str, Any]:
    """A fault as JSON values. `roots`: folders whose frames count as the user's."""
    kind = "raised"
    missing = None
    if isinstance(error, ModuleNotFoundError):
        missing = error.name
    if isinstance(error, ImportError):
        kind = "import"
    if isinstance(error, MemoryError) or "not enough memory" in _text(error) or "out of memory" in _text(error):
        kind = "memory"
    if isinstance(error, SystemExit):
        kind = "exit"
    return {
        "kind": kind,
        "type": type(error).__qualname__,
        "message": _text(error)[:LONGEST_MESSAGE],
        "frames": _frames(error, roots),
        "missing": missing,
    }


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # a hostile __str__
        return f"<the message itself raised {type(second).__qualname__}>"


def _frames(error: BaseException, roots: list[str]) -> list[str]:
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        root = next((r for r in roots if frame.filename.startswith(r + os.sep)), None)
        if root is not None:
            frames.append(f"{os.path.relpath(frame.filename, root)}:{frame.lineno} in {frame.name}")
    if isinstance(error, SyntaxError) and error.filename:
        root = next((r for r in roots if error.filename.startswith(r + os.sep)), None)
        frames.append(f"{os.path.relpath(error.filename, root) if root else error.filename}:{error.lineno} in <module>")
    return frames[-MOST_FRAMES:]
