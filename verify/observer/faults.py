"""From an exception in model code to a plain description: type, message, the user's own frames, the missing package.

Only an exception of the model itself (kind "raised") can prove a difference. What the spec, the machine or an import
gets wrong has a kind of its own, and decides nothing.

    Unusable                what the spec names cannot be observed on this machine: kind "setup"
    ├── Unresolved          the spec names a module, class or function that is not there: kind "import"
    ├── ImportFailed        the module is there and raised while it was imported: kind "import"; wraps its exception
    └── Unfit               the reference's forward does not take the arguments of the spec's case: kind "case"
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import traceback
from collections.abc import Iterator
from typing import Any

LONGEST_MESSAGE = 4000
MOST_FRAMES = 12
MOST_CAUSES = 20

OUT_OF_MEMORY = re.compile(
    r"not enough memory|out of memory|can't allocate memory|cannot allocate memory|bad_alloc", re.I
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO})
"""System errors of the machine, not of the model."""


class Unusable(Exception):
    """What the spec names cannot be observed here: no module came out, no such device."""

    kind = "setup"


class Unresolved(Unusable):
    """The spec names a module, class or function that is not there."""

    kind = "import"


class ImportFailed(Unusable):
    """The module is there and raised while it was imported; `__cause__` is what it raised."""

    kind = "import"


class Unfit(Unusable):
    """The spec's case calls the reference's forward with other arguments than it takes."""

    kind = "case"


def describe(error: BaseException, roots: list[str]) -> dict[str, Any]:
    """A fault as JSON values. `roots`: folders whose frames count as the user's. Never raises."""
    try:
        return _described(error, roots)
    except BaseException as second:  # a hostile exception, or no memory left to describe it in
        kind = "memory" if isinstance(error, MemoryError) or isinstance(second, MemoryError) else "raised"
        message = f"<describing it raised {type(second).__name__}>"
        return {"kind": kind, "type": type(error).__name__, "message": message, "frames": [], "missing": None}


def _described(error: BaseException, roots: list[str]) -> dict[str, Any]:
    importing, ours = isinstance(error, ImportFailed), isinstance(error, Unusable)
    if importing and error.__cause__ is not None:
        error = error.__cause__
    text = _text(error)
    return {
        "kind": _kind(error, text, importing),
        "type": "" if ours and not importing else type(error).__qualname__,  # a word of ours says nothing
        "message": text,
        "frames": _frames(error, roots),
        "missing": _missing(error, roots),
    }


def _kind(error: BaseException, text: str, importing: bool) -> str:
    if isinstance(error, Unusable):
        return error.kind
    if isinstance(error, SystemExit):
        return "exit"
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return "memory"
    number = error.errno if isinstance(error, OSError) else None
    told = re.search(r"\(os error (\d+)\)", text)  # how safetensors tells it
    if number in NO_ROOM or (told and int(told[1]) in NO_ROOM):
        return "disk"
    return "import" if importing or isinstance(error, ImportError) else "raised"


def _text(error: BaseException) -> str:
    """What the exception says, without its megabytes."""
    if isinstance(error, SystemExit):
        return f"the code called sys.exit({_short(error.code)})"
    try:
        text = str.__str__(str(error))
    except BaseException as second:  # a hostile __str__
        return f"<the message itself raised {type(second).__name__}>"
    if isinstance(error, KeyError) and len(error.args) == 1:
        text = f"key {text} is missing"
    cut = len(text) - LONGEST_MESSAGE
    return text if cut <= 0 else f"{text[:LONGEST_MESSAGE]}… [{cut} more characters]"


def _short(value: Any) -> str:
    with contextlib.suppress(Exception):
        return repr(value)[:200]
    return type(value).__name__


def _missing(error: BaseException, roots: list[str]) -> str | None:
    """The package that an import did not find, also where model code wrapped that in an exception of its own."""
    for cause in _causes(error):
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            top = str(cause.name).partition(".")[0]
            own = any(
                os.path.exists(os.path.join(r, top)) or os.path.exists(os.path.join(r, f"{top}.py")) for r in roots
            )
            return None if own else str(cause.name)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if found is None:
            return
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _frames(error: BaseException, roots: list[str]) -> list[str]:
    found = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    places = [(f.filename, f.lineno, f.name) for f in found]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno, "<module>"))
    frames = []
    for file, line, name in places:
        root = next((r for r in roots if file.startswith(r + os.sep)), None)
        if root is not None and not re.search(r"[/\\](site|dist)-packages[/\\]", file[len(root) :]):
            frames.append(f"{os.path.relpath(file, root)}:{line} in {name}")
    return frames[-MOST_FRAMES:]
