"""The parent's end of a side: start it, ask it, limit it, end it.

Each side is a process of its own, forked from a warmed server of its interpreter (see `observer/server.py`). A side that
crashes, hangs or exits costs one answer; it is started again for the rest, a few times.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verify.trace import Answer, Ask, Fault, Role, Trace

OBSERVER = Path(__file__).parent / "observer" / "__main__.py"
MOST_RESTARTS = 3
LARGEST_ANSWER = 64 * 2**20
OUTPUT_KEPT = 16_384
START_SECONDS = 300.0
PASSED_ON = re.compile(
    r"PATH|PYTHONPATH|LD_LIBRARY_PATH|LANG|LC_\w+|TZ|VIRTUAL_ENV|CUDA_\w+|NVIDIA_\w+|OMP_\w+|MKL_\w+|COVERAGE_\w+"
)
"""Environment variables that a side gets. A list of what may pass, so that no token ever does."""


class SideError(Exception):
    """A side could not be started at all: its interpreter is missing or cannot import what observation needs."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a side is told when it starts. Plain values; see `observer/session.py`."""

    role: Role
    python: str
    path: str
    config: str | None
    model: str | None
    factory: str | None
    kwargs: Mapping[str, Any]
    renames: Mapping[str, Mapping[str, str]]
    seed: int
    device: str
    scratch: str
    preload: tuple[str, ...] = ("torch", "safetensors.torch")


def environment(scratch: str) -> dict[str, str]:
    """The environment of an observer: a few variables of ours, scratch folders, offline hubs, nothing secret."""
    kept = {k: v for k, v in os.environ.items() if PASSED_ON.fullmatch(k)}
    return kept | {
        "HOME": scratch,
        "TMPDIR": scratch,
        "HF_HOME": os.path.join(scratch, "hf"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Server:
    """One warmed interpreter. `spawn` forks a side from it; `status` tells how a side ended."""

    def __init__(self, python: str, preload: Iterable[str], scratch: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        self._lock = threading.Condition()
        self._ready: dict[str, Any] | None = None
        self._spawned: deque[int] = deque()
        self._ended: dict[int, int] = {}
        self._closed = False
        self._output = Tail()
        read, write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [python, str(OBSERVER), str(theirs.fileno()), *preload],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                env=environment(scratch),
                cwd=scratch,
                start_new_session=True,
            )
        except OSError as error:
            os.close(read)
            ours.close()
            message = (
                f"cannot start the interpreter {python!r}: {error.strerror}; set `python` of the side to one that runs"
            )
            raise SideError(Fault(kind="import", type=type(error).__name__, message=message)) from error
        finally:
            theirs.close()
            os.close(write)
        self._output.follow(read)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                data = self._control.recv(65_536)
            except OSError:
                data = b""
            with self._lock:
                if not data:
                    self._closed = True
                    self._lock.notify_all()
                    return
                message = json.loads(data)
                if "spawned" in message:
                    self._spawned.append(message["spawned"])
                elif "ended" in message:
                    self._ended[message["ended"]] = message["status"]
                else:
                    self._ready = message
                self._lock.notify_all()

    def wait_ready(self, seconds: float = START_SECONDS) -> float:
        """Seconds that the imports took. Raises SideError if they failed."""
        with self._lock:
            self._lock.wait_for(lambda: self._ready is not None or self._closed, seconds)
            if self._ready is not None and "failed" in self._ready:
                raise SideError(Fault.from_wire(self._ready["failed"]))
            if self._ready is None:
                how = "ended" if self._closed else f"was not ready in {seconds:.0f} s"
                raise SideError(Fault(kind="import", message=f"the observer {how}: {self._output.text()[-2000:]}"))
            return float(self._ready["ready"])

    def spawn(self, settings: Settings, channel: socket.socket, output: int) -> int:
        """Forks a side that speaks on `channel` and prints to `output`. Returns its process id."""
        plain = {k: v for k, v in vars(settings).items() if k not in ("python", "preload")}
        message = json.dumps({"spawn": plain}).encode()
        with self._lock:
            fds = array.array("i", [channel.fileno(), output])
            self._control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            self._lock.wait_for(lambda: bool(self._spawned) or self._closed, 30)
            if not self._spawned:
                raise SideError(Fault(kind="import", message="the observer ended before it started a side"))
            return self._spawned.popleft()

    def status(self, pid: int, seconds: float = 5.0) -> int | None:
        """The wait status of an ended side, or None if it has not ended in time."""
        with self._lock:
            self._lock.wait_for(lambda: pid in self._ended or self._closed, seconds)
            return self._ended.get(pid)

    def close(self) -> None:
        """Ends the server and with it every side that still runs."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Tail:
    """Keeps the end of what a process prints, and counts the rest."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.total = 0

    def follow(self, fd: int) -> None:
        threading.Thread(target=self._drain, args=(fd,), daemon=True).start()

    def _drain(self, fd: int) -> None:
        with contextlib.suppress(OSError), open(fd, "rb", buffering=0) as stream:
            while chunk := stream.read(65_536):
                self.total += len(chunk)
                self._kept += chunk
                del self._kept[:-OUTPUT_KEPT]

    def text(self) -> str:
        """The last lines, as text. Untrusted: escape before showing."""
        cut = f"[{self.total - len(self._kept)} bytes before this]\n" if self.total > len(self._kept) else ""
        return cut + bytes(self._kept).decode("utf-8", "replace")


@dataclass
class Side:
    """One implementation under observation. Not thread-safe: one thread asks."""

    settings: Settings
    server: Server
    timeout: float
    trace: Trace = field(init=False)
    restarts: int = 0
    peak_memory: int = 0  # bytes, as the side tells
    output: Tail = field(default_factory=Tail)
    _pid: int = 0
    _channel: socket.socket | None = None
    _pending: bytes = b""
    _stopped: bool = False

    def __post_init__(self) -> None:
        self.trace = Trace(role=self.settings.role)

    def observe(self, asks: Iterable[Ask], progress: Callable[[Role, Ask], None]) -> None:
        """Asks everything that concerns this side, in order, and keeps the answers in its trace."""
        for ask in asks:
            if self.settings.role in ask.sides and ask.key not in self.trace.answers:
                progress(self.settings.role, ask)
                self.trace.add(self.ask(ask))

    def ask(self, ask: Ask) -> Answer:
        """One answer. Never raises for what model code does: that is a fault in the answer."""
        started = time.perf_counter()
        try:
            if self._channel is None:
                self._start()
            assert self._channel is not None
            message = json.dumps(
                {"key": ask.key, "op": ask.op, "args": dict(ask.args), "threads": self._threads(ask)}
            ).encode() + b"\n"  # fmt: skip
            deadline = time.monotonic() + self.timeout
            self._channel.settimeout(self.timeout)
            self._channel.sendall(message)
            reply = self._receive(deadline)
        except SideError as error:
            return Answer(key=ask.key, fault=error.fault)
        except TimeoutError:
            self.end()
            text = f"no answer within {self.timeout:g} s; --timeout SECONDS allows more"
            return self._faulty(ask, Fault(kind="timeout", message=text), started)
        except (OSError, EOFError):
            return self._faulty(ask, self._ended(), started)
        except ValueError as error:
            self.end()
            return self._faulty(ask, Fault(kind="protocol", message=f"unreadable answer: {error}"), started)
        seconds = time.perf_counter() - started
        if "fault" in reply:
            return Answer(key=ask.key, fault=Fault.from_wire(reply["fault"]), seconds=seconds)
        memory = reply.get("memory")
        self.peak_memory = max(self.peak_memory, memory if isinstance(memory, int) else 0)
        return Answer(key=ask.key, result=reply["result"], seconds=seconds)

    def _threads(self, ask: Ask) -> int:
        """Threads by a fixed rule, so that a run repeats to the bit: half the processors, all for a pass of one side."""
        return cpus() if ask.alone else max(cpus() // 2, 1)

    def _faulty(self, ask: Ask, fault: Fault, started: float) -> Answer:
        return Answer(key=ask.key, fault=fault, seconds=time.perf_counter() - started)

    def _start(self) -> None:
        if self._stopped:
            raise SideError(Fault(kind="not-run", message="the run was stopped"))
        if self.restarts > MOST_RESTARTS:
            text = f"not run: the {self.settings.role} side had already ended {self.restarts} times"
            raise SideError(Fault(kind="not-run", message=text))
        self.restarts += 1
        self.server.wait_ready()
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        self.output.follow(read)
        try:
            self._pid = self.server.spawn(self.settings, theirs, write)
        finally:
            theirs.close()
            os.close(write)
        self._channel, self._pending = ours, b""

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._channel is not None
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            chunk = self._channel.recv(1 << 20)
            if not chunk:
                raise EOFError
            self._pending += chunk
            if len(self._pending) > LARGEST_ANSWER:
                raise ValueError(f"longer than {LARGEST_ANSWER} bytes")
        line, _, self._pending = self._pending.partition(b"\n")
        reply = json.loads(line)
        if not isinstance(reply, dict) or not isinstance(reply.get("result", reply.get("fault")), dict):
            raise ValueError("neither a result nor a fault")
        return reply

    def _ended(self) -> Fault:
        """Why the process is gone."""
        status = self.server.status(self._pid)
        self.end()
        tail = self.output.text()[-2000:]
        if status is None:
            return Fault(kind="exit", message="the process closed its channel", output=tail)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
            hint = "; the system may have run out of memory" if number == signal.SIGKILL else ""
            return Fault(kind="signal", type=name, message=f"the process was killed by {name}{hint}", output=tail)
        code = os.waitstatus_to_exitcode(status)
        return Fault(kind="exit", message=f"the process exited with code {code}", output=tail)

    def end(self) -> None:
        """Ends the process and whatever it started in its session. It is started anew by the next ask."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            self._pid = 0

    def stop(self) -> None:
        """Ends the process for good; asks that follow are answered 'not run'."""
        self._stopped = True
        self.end()


def interpreter(python: str | None, base: Path) -> str:
    """The interpreter of a side: this one by default; a relative path with a slash counts from the spec's folder."""
    if python is None:
        return sys.executable
    if os.sep in python and not os.path.isabs(python):
        return str(base / python)
    return python
