"""Progress on a terminal; plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from verify.messages import Language, label, translated
from verify.sinks.text import one_line
from verify.trace import Role


class Progress:
    """Which check and case each side is at, and the time since the start. A context manager; calls may come from threads.

    Off a terminal it is one line for each check of each side: logs are read afterwards.
    """

    def __init__(self, console: Console, language: Language = "en", *, quiet: bool = False) -> None:
        self._console = console
        self._language = language
        self._told: set[tuple[Role, str]] = set()
        self._quiet = quiet
        self._started = time.monotonic()
        self._now: dict[str, str] = {}
        self._lock = threading.Lock()
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            self._status = self._console.status(translated("starting", self._language))
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, role: Role, what: str) -> None:
        with self._lock, contextlib.suppress(OSError):  # nobody reads, or the disk is full: the run goes on
            elapsed = time.monotonic() - self._started
            if self._status is not None:
                self._now[role] = one_line(translated(what, self._language), 80)
                sides = " · ".join(f"{label(r, self._language)} {w}" for r, w in sorted(self._now.items()))
                self._status.update(Text(f"{elapsed:4.0f} s  {sides}"))
            elif not self._quiet and (step := (role, _step(what))) not in self._told:
                self._told.add(step)
                text = f"{label(role, self._language)} {one_line(translated(step[1], self._language), 80)}"
                self._console.print(f"{elapsed:6.1f} s  {text}", markup=False, highlight=False, emoji=False)


def _step(what: str) -> str:
    """Variant and check of an ask's key, variant/check/case/…; other texts as they are."""
    return "/".join(what.split("/")[:2])
