"""Ctrl-C and SIGTERM: what was found so far is kept, and the exit code tells which it was."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALLED = 128


class Terminated(KeyboardInterrupt):
    """SIGTERM came: somebody ends the run, as a CI service does when it is cancelled."""


def heed_termination() -> None:
    """From now on SIGTERM interrupts like Ctrl-C does. For programs, in their main thread."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def describe(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """How it is called, and the exit code: 130 for Ctrl-C, 143 for SIGTERM."""
    number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
    return f"interrupted by {'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'}", SIGNALLED + number
