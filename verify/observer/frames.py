"""The user's own source lines among the frames of a stack."""

from __future__ import annotations

import os
from functools import lru_cache
from types import CodeType
from typing import Any

from . import locate

OWN, LIBRARY = 2, 1


@lru_cache(maxsize=65_536)
def kind_of(code: CodeType, root: str) -> int:
    """OWN for the side's own code, LIBRARY for code between it and torch, 0 for torch and the observer itself."""
    file = os.path.abspath(code.co_filename)
    if locate.is_own(file, root):
        return OWN
    inside = file.startswith(locate.OURS + os.sep) or f"{os.sep}torch{os.sep}" in file or not locate.installed(file)
    return 0 if inside else LIBRARY


@lru_cache(maxsize=65_536)
def frame_of(code: CodeType, line: int, at: int, root: str) -> list[Any]:
    """[file, line, function, own, place in the code]."""
    name = getattr(code, "co_qualname", code.co_name).replace(".<locals>", "")
    own = kind_of(code, root) == OWN
    file = os.path.abspath(code.co_filename)
    shown = os.path.relpath(file, root) if own else locate.package_path(file)
    return [shown, line, name, own, at]
