"""Keeps a trial of changed code from doing anything besides computing: what it would write, start or send is refused."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

REFUSED = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.link", "os.symlink",
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill", "os.putenv", "os.unsetenv",
    "subprocess.Popen", "shutil.", "socket.", "urllib.", "ftplib.", "smtplib.", "sqlite3.connect", "signal.pthread_kill",
)  # fmt: skip
"""Beginnings of the names of audit events; see the table of them in Python's documentation."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_active = [0]
_installed: list[bool] = []


class Refused(PermissionError):
    """A trial would have done more than compute."""


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _active[0] and (event.startswith(REFUSED) or (event == "open" and _writes(args))):
        raise Refused(event)


def _writes(args: tuple[Any, ...]) -> bool:
    mode, flags = (args[1], args[2]) if len(args) > 2 else (None, 0)
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & WRITES)


@contextlib.contextmanager
def barred() -> Iterator[None]:
    """Within, what Python announces as writing, starting or sending raises Refused. What C++ opens by itself, such as
    `torch.save`, is not announced: functions that name it are not to be tried."""
    if not _installed:
        sys.addaudithook(_audit)
        _installed.append(True)
    _active[0] += 1
    try:
        yield
    finally:
        _active[0] -= 1
