"""Report files: whole or not there at all."""

from __future__ import annotations

import contextlib
from pathlib import Path


def save(text: str, file: Path) -> None:
    """Writes text as UTF-8, over what was there. Raises OSError.

    A file that could not be written whole is removed: half a report, or the one of an earlier run, must not be read as
    this one's.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except BaseException:
        with contextlib.suppress(OSError):
            if file.is_file():
                file.unlink()
        raise
