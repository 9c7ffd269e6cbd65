"""Processes and what they started, through Linux's /proc. Standard library only: the observer's server needs it too.

A process group or session is not enough to end what model code started, since any process can leave both. Descent is:
with every side and its server a subreaper, an orphan stays below the one that its parent ran in.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
MOST_ROUNDS = 50


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def keep_private() -> None:
    """Keeps other processes of the same user out of this one's environment, memory and open files. Linux; not from root."""
    _prctl(PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Makes orphans below this process its own children, so that they can be found. Linux; elsewhere nothing."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(really: bool = True) -> None:
    """Asks Linux to kill this process when the thread that started it ends; or no longer to."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL if really else 0)


def parents() -> dict[int, int]:
    """The parent of every process that still runs, by process id. Empty where there is no /proc."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:
                    state, parent = stat.read().rpartition(b")")[2].split()[:2]
                    if state not in (b"Z", b"X"):
                        found[int(name)] = int(parent)
    return found


def below(root: int) -> list[int]:
    """Process ids of everything that `root` started and what those started, parents before children."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        if pid != root:
            children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def end_tree(root: int) -> None:
    """Kills a process and everything below it. All are stopped first, so that none starts another meanwhile."""
    stopped: set[int] = set()
    for _ in range(MOST_ROUNDS):
        new = {root, *below(root)} - stopped
        if not new:
            break
        _send(new, signal.SIGSTOP)
        stopped |= new
    _send(stopped, signal.SIGKILL)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
