"""Files that are kept as copies of others: told apart, and written anew. Never outside the spec's folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


class CopyError(Exception):
    """A copy or its original cannot be read or written. The message names the file and the reason."""


def first_difference(base: Path, copy: str, original: str) -> int | None:
    """The first line of `copy` that is not as in `original`, from 1; None where all bytes are equal, 0 where there is
    no copy. base: folder from which both count. Raises CopyError."""
    wanted, there = _read(base, original), _read(base, copy, needed=False)
    if there is None:
        return 0
    if wanted == there:
        return None
    lines = [text.split(b"\n") for text in (wanted or b"", there)]
    pairs = enumerate(zip(*lines, strict=False), 1)
    return next((n for n, (a, b) in pairs if a != b), min(map(len, lines)) + 1)


def write(base: Path, copy: str, original: str) -> None:
    """Makes `copy` what `original` is, mode included, at once or not at all. Raises CopyError."""
    data, source, target = _read(base, original), _place(base, original), _place(base, copy)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with open(handle, "wb") as stream:
                stream.write(data or b"")
            os.chmod(name, source.stat().st_mode & 0o777)
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise CopyError(f"{copy}: cannot be written: {error.strerror or error}") from error


def _read(base: Path, name: str, *, needed: bool = True) -> bytes | None:
    """The bytes of a file; None for one that is not there and not needed. Raises CopyError."""
    place = _place(base, name)
    try:
        if place.exists() and not place.is_file():  # a folder, or a pipe that would never end
            raise CopyError(f"{name}: is no file")
        return place.read_bytes() if needed or place.exists() else None
    except OSError as error:
        raise CopyError(f"{name}: cannot be read: {error.strerror or error}") from error


def _place(base: Path, name: str) -> Path:
    """Where a file is, after links. CopyError where that is not below `base`."""
    place = (base / name).resolve()
    if not place.is_relative_to(base.resolve()):
        raise CopyError(f"{name}: leads out of {base}")
    return place
