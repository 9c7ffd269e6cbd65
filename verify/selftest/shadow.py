"""A folder that looks like another with a few files changed: links to all that is not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

COMPILED = "__pycache__"


def make(original: Path, shadow: Path, files: Mapping[str, bytes]) -> None:
    """Fills `shadow`, which must not exist, so that it shows `original` with these files, by relative path, anew."""
    shadow.mkdir(mode=0o700)
    inside: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        first, *rest = PurePosixPath(path).parts
        if rest:
            inside.setdefault(first, {})[str(PurePosixPath(*rest))] = content
        else:
            (shadow / first).write_bytes(content)
    for name in os.listdir(original):
        if name in inside:
            make(original / name, shadow / name, inside[name])
        elif name != COMPILED and name not in files:
            (shadow / name).symlink_to(original / name)
