"""A warmed process that forks sides.

It imports torch (and transformers, where a side uses it) once and no model code ever. For each request on its control
socket it forks a side, which gets its own session, channel and output pipe. It reports how each side ended.

Control messages, one JSON object a datagram, file descriptors beside them:
    parent → server   {"spawn": {...}, "id": n}  + [channel, output]
    server → parent   {"ready": seconds} | {"failed": fault} | {"spawned": pid, "id": n} | {"refused": text, "id": n}
                      | {"ended": pid, "status": wait status}

The server adopts what a dead side leaves behind and ends it; when the parent is gone it ends everything.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from typing import Any

from .. import processes
from . import faults

LARGEST_CONTROL_MESSAGE = 65_536


def main(control_fd: int, preload: list[str]) -> None:
    processes.die_with_parent()  # only while it imports: later the closed control socket tells, and leaves time to end all
    control = socket.socket(fileno=control_fd)
    started = time.perf_counter()
    try:
        for name in preload:
            importlib.import_module(name)
    except BaseException as error:
        _tell(control, {"failed": faults.describe(error, roots=[])})
        return
    gc.collect()
    gc.freeze()  # a side's collections leave the imports alone: no time on them, no copy of their pages
    processes.adopt_orphans()
    kept = set(processes.below(os.getpid()))  # what an import started
    sides: set[int] = set()
    processes.die_with_parent(False)
    _tell(control, {"ready": time.perf_counter() - started})
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    sources: list[Any] = [control, wake_read]
    while True:
        readable, _, _ = select.select(sources, [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _reap(control, sides)
            _sweep(sides | kept)
        if control in readable:
            message, fds = _received(control)
            if not message:
                _sweep(set())
                with contextlib.suppress(ChildProcessError):  # waited for, their processor time is counted
                    while os.waitpid(-1, 0):
                        pass
                return
            _spawn(control, json.loads(message), fds, (wake_read, wake_write), sides)


def _received(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        message, fds, _, _ = socket.recv_fds(control, LARGEST_CONTROL_MESSAGE, 2)
    except OSError:  # the parent died with messages unread
        return b"", []
    return message, fds


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        control.send(json.dumps(message).encode())


def _reap(control: socket.socket, sides: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in sides:
            sides.discard(pid)
            _tell(control, {"ended": pid, "status": status})


def _sweep(keep: set[int]) -> None:
    """Ends every child but those in `keep`: what is left of dead sides."""
    mine = os.getpid()
    for pid, parent in processes.parents().items():
        if parent == mine and pid not in keep:
            processes.end_tree(pid)


def _spawn(
    control: socket.socket, request: dict[str, Any], fds: list[int], wake: tuple[int, int], sides: set[int]
) -> None:
    channel, output = fds
    try:
        pid = os.fork()
    except OSError as error:
        os.close(channel)
        os.close(output)
        _tell(control, {"refused": f"no process could be started: {error.strerror}", "id": request["id"]})
        return
    if pid:
        sides.add(pid)
        os.close(channel)
        os.close(output)
        _tell(control, {"spawned": pid, "id": request["id"]})
        return
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        for fd in wake:
            os.close(fd)
        _become_side(request["spawn"], channel, output)
    except BaseException:
        traceback.print_exc()  # into the side's output, which the parent shows with the fault
    finally:
        os._exit(70)


def _become_side(settings: dict[str, Any], channel: int, output: int) -> None:
    os.setsid()
    processes.die_with_parent()
    processes.adopt_orphans()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("1000")  # where memory runs out the side goes first, not the run
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.update(HOME=settings["scratch"], TMPDIR=settings["scratch"])
    tempfile.tempdir = None  # what an import looked up was the server's
    from . import session

    session.serve(channel, settings)
    os._exit(0)  # no atexit of model code, no flush into a closed pipe
