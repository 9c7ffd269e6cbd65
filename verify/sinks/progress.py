"""Progress on a terminal; plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from verify.sinks.text import one_line
from verify.trace import Role


class Progress:
    """Which check and case each side is at, and the time since the start. A context manager; calls may come from threads."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._started = time.monotonic()
        self._now: dict[str, str] = {}
        self._lock = threading.Lock()
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, role: Role, what: str) -> None:
        with self._lock, contextlib.suppress(OSError):  # nobody reads, or the disk is full: the run goes on
            self._now[role] = one_line(what, 80)
            elapsed = time.monotonic() - self._started
            if self._status is not None:
                sides = " · ".join(f"{r} {w}" for r, w in sorted(self._now.items()))
                self._status.update(Text(f"{elapsed:4.0f} s  {sides}"))
            elif not self._quiet:
                self._console.print(
                    f"{elapsed:6.1f} s  {role} {self._now[role]}", markup=False, highlight=False, emoji=False
                )
