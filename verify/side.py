"""The parent's end of a side: start it, ask it, limit it, end it.

Each side is a process of its own, forked from a warmed server of its interpreter (see `observer/server.py`). A side that
crashes, hangs or exits costs one answer; it is started again for the rest, a few times.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from verify import processes
from verify.answers import checked
from verify.trace import Answer, Ask, Fault, Role, Trace

OBSERVER = Path(__file__).parent / "observer" / "__main__.py"
MOST_RESTARTS = 3
LARGEST_ANSWER = 64 * 2**20
LARGEST_REQUEST = 60_000
MOST_FILES = 8
"""File descriptors that are taken with one piece of an answer; the system closes what is more. One is right."""
OUTPUT_KEPT = 16_384
START_SECONDS = 300.0
END_SECONDS = 1.0
"""Time in which a server ends by itself before it is killed."""
LOOK_SECONDS = 0.5
"""How often a side that says nothing is looked at: it may have ended and left its channel to a copy of itself."""
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
    fault: Mapping[str, Any] | None = None  # a fault of a live module, see `observer/perturb.py`
    watch: bool = False  # whether the lines that run are noted, see `observer/reached.py`


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
    """One warmed interpreter. `spawn` forks a side from it; `status` tells how a side ended.

    One that cannot be started, or whose imports fail, says so when it is first needed: `wait_ready` and `spawn` raise
    SideError. One that had been ready and was killed, by model code or by the system, is started again a few times.
    """

    def __init__(self, python: str, preload: Iterable[str], scratch: str) -> None:
        self._command = [python, str(OBSERVER)]
        self._preload = list(preload)
        self._scratch = scratch
        self._lock = threading.Condition()
        self._ids = itertools.count()
        self._lives = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._shut = False
        self._launch()

    def _launch(self) -> None:
        self._lives += 1
        self._ready: dict[str, Any] | None = None
        self._replies: dict[int, dict[str, Any]] = {}
        self._ended: dict[int, int] = {}
        self._closed = False
        self._output = Tail()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        read, write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), *self._preload],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                env=environment(self._scratch),
                cwd=self._scratch,
                start_new_session=True,
            )
        except OSError as error:
            os.close(read)
            text = f"it cannot be started: {error.strerror}; set `python` of the side to one that runs"
            fault = Fault(kind="import", type=type(error).__name__, message=text)
            self._ready, self._closed = {"failed": dataclasses.asdict(fault)}, True
            return
        finally:
            theirs.close()
            os.close(write)
        self._output.follow(read)
        threading.Thread(target=self._listen, args=(self._control,), daemon=True).start()

    def _listen(self, control: socket.socket) -> None:
        while True:
            try:
                data = control.recv(65_536)
                message = json.loads(data) if data else None
            except (OSError, ValueError):
                message = None
            with self._lock:
                if control is not self._control:
                    return
                if message is None:
                    self._closed = True
                elif "id" in message:
                    self._ended.pop(message.get("spawned"), None)  # an id that the system gives out a second time
                    self._replies[message["id"]] = message
                elif "ended" in message:
                    self._ended[message["ended"]] = message["status"]
                else:
                    self._ready = message
                self._lock.notify_all()
                if message is None:
                    return

    @property
    def pid(self) -> int:
        """Process id, 0 where it could not be started."""
        return self._process.pid if self._process else 0

    def wait_ready(self, seconds: float = START_SECONDS, given_up: Callable[[], bool] = lambda: False) -> float:
        """Seconds that the imports took. Raises SideError if they failed, or when `given_up` says so after a `wake`."""
        with self._lock:
            was_ready = self._ready is not None and "ready" in self._ready
            if self._closed and was_ready and not self._shut and self._lives <= MOST_RESTARTS:
                self._end_process()
                self._launch()
            self._lock.wait_for(lambda: self._ready is not None or self._closed or given_up(), seconds)
            if self._ready is not None and "failed" in self._ready:
                raise SideError(Fault.from_wire(self._ready["failed"]))
            if self._ready is None or self._closed:
                how = "ended" if self._closed else "was stopped" if given_up() else f"was not ready in {seconds:.0f} s"
                tail = self._output.text()[-2000:]
                raise SideError(Fault(kind="import", message=f"the observer {how}", output=tail))
            return float(self._ready["ready"])

    def wake(self) -> None:
        """Lets whoever waits look whether it still wants to."""
        with self._lock:
            self._lock.notify_all()

    def spawn(self, settings: Settings, channel: socket.socket, output: int) -> int:
        """Forks a side that speaks on `channel` and prints to `output`. Returns its process id."""
        plain = {k: v for k, v in vars(settings).items() if k != "python"}
        number = next(self._ids)
        message = json.dumps({"spawn": plain, "id": number}).encode()
        if len(message) > LARGEST_REQUEST:
            text = f"path and kwargs take {len(message)} bytes; the most is {LARGEST_REQUEST}"
            raise SideError(Fault(kind="setup", message=text))
        with self._lock:
            fds = array.array("i", [channel.fileno(), output])
            with contextlib.suppress(OSError):  # it ended: no reply comes
                self._control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            self._lock.wait_for(lambda: number in self._replies or self._closed, 30)
            reply = self._replies.pop(number, {"refused": "the observer ended before it started a side"})
        if "refused" in reply:
            raise SideError(Fault(kind="exit", message=str(reply["refused"])))
        return int(reply["spawned"])

    def status(self, pid: int, seconds: float = 2.0) -> int | None:
        """The wait status of an ended side, or None if it has not ended in time."""
        with self._lock:
            self._lock.wait_for(lambda: pid in self._ended or self._closed, seconds)
            return self._ended.get(pid)

    def gone(self, pid: int) -> bool:
        """Whether a side is known to have ended."""
        with self._lock:
            return pid in self._ended or self._closed

    def close(self) -> None:
        """Ends the server and with it every side that still runs, and what they started."""
        self._shut = True
        with self._lock:
            self._end_process()

    def _end_process(self) -> None:
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        if self._process.poll() is None:
            processes.end_tree(self._process.pid)
        self._process.wait()


class Servers:
    """Warmed interpreters, each started once. A context manager; several runs can share one.

    preload: what they import, instead of what each run guesses.
    """

    def __init__(self, preload: Iterable[str] | None = None) -> None:
        self._preload = None if preload is None else tuple(preload)
        self._running: dict[tuple[str, tuple[str, ...]], Server] = {}
        self._home: str | None = None

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, python: str, preload: Iterable[str]) -> Server:
        """The server of an interpreter, started if it is not yet."""
        key = (python, tuple(preload) if self._preload is None else self._preload)
        if key not in self._running:
            self._home = self._home or tempfile.mkdtemp(prefix="llavavit-verify-")
            self._running[key] = Server(python, key[1], self._home)
        return self._running[key]

    def close(self) -> None:
        """Ends them, and with them every side that still runs."""
        for server in self._running.values():
            server.close()
        self._running.clear()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None


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
    """One implementation under observation. Not thread-safe: one thread asks.

    others: the same under other interpreters, by the name that the spec gives them.
    """

    settings: Settings
    server: Server
    timeout: float
    trace: Trace = field(init=False)
    processors: int = field(default_factory=cpus)
    others: Mapping[str, Side] = field(default_factory=dict)
    restarts: int = 0
    peak_memory: int = 0  # bytes, as the side tells
    peak_device_memory: int = 0  # likewise, on the GPU
    output: Tail = field(default_factory=Tail)
    _pid: int = 0
    _channel: socket.socket | None = None
    _pending: bytearray = field(default_factory=bytearray)
    _files: list[int] = field(default_factory=list)
    _stopped: bool = False
    _last: Fault | None = None

    def __post_init__(self) -> None:
        self.trace = Trace(role=self.settings.role)

    def observe(self, asks: Iterable[Ask], progress: Callable[[Role, Ask], None]) -> None:
        """Asks everything that concerns this side, in order, and keeps the answers in its trace."""
        for ask in asks:
            if self.settings.role in ask.sides and ask.key not in self.trace.answers:
                progress(self.settings.role, ask)
                self.trace.add((self.others[ask.python] if ask.python else self).ask(ask))

    def ask(self, ask: Ask) -> Answer:
        """One answer. Never raises for what model code does: that is a fault in the answer."""
        started = time.perf_counter()
        if ask.fresh and self._channel is not None:
            self.end()
            self.restarts -= 1  # it did nothing wrong
        try:
            if self._channel is None:
                self._start()
            answer = self._asked(ask)
        except SideError as error:
            return Answer(key=ask.key, fault=error.fault)
        except TimeoutError:
            self.end()
            text = f"no answer within {self.timeout:g} s; --timeout SECONDS allows more"
            fault = self._last = Fault(kind="timeout", message=text)
        except (OSError, EOFError):
            fault = self._last = self._ended()
        except Exception as error:  # whatever else a hostile answer brings about
            self.end()
            text = f"unreadable answer: {type(error).__name__}: {error}"[:1000]
            fault = self._last = Fault(kind="protocol", message=text)
        else:
            return dataclasses.replace(answer, seconds=time.perf_counter() - started)
        finally:
            self._drop_files()
        return Answer(key=ask.key, fault=fault, seconds=time.perf_counter() - started)

    def _threads(self, ask: Ask) -> int:
        """Threads by a fixed rule, so that a run repeats to the bit: half the processors, all for a pass of one side.

        An ask for all gets two at least, so that they are more than one anywhere.
        """
        if ask.threads:
            return 1 if ask.threads == "one" else max(self.processors, 2)
        return self.processors if ask.alone else max(self.processors // 2, 1)

    def _asked(self, ask: Ask) -> Answer:
        """Sends an ask and reads its answer. An answer in good order but of the wrong content is a fault."""
        assert self._channel is not None
        wire = {"key": ask.key, "op": ask.op, "args": dict(ask.args), "threads": self._threads(ask)}
        message = json.dumps(wire).encode() + b"\n"
        deadline = time.monotonic() + self.timeout
        self._channel.settimeout(self.timeout)
        self._channel.sendall(message)
        reply = self._receive(deadline)
        if reply.get("key") != ask.key:
            raise ValueError(f"it is about {str(reply.get('key'))[:100]!r}; {ask.key!r} was asked")
        if "fault" in reply:
            return Answer(key=ask.key, fault=Fault.from_wire(reply["fault"]))
        self.peak_memory = max(self.peak_memory, _count(reply.get("memory")))
        self.peak_device_memory = max(self.peak_device_memory, _count(reply.get("device_memory")))
        try:
            result, arrays = checked(ask, reply["result"], self._files, configured=bool(self.settings.config))
            return Answer(key=ask.key, result=result, arrays=arrays)
        except Exception as error:
            fault = Fault(kind="protocol", message=f"an answer that cannot be used: {error}"[:1000])
            return Answer(key=ask.key, fault=fault)

    def _start(self) -> None:
        if self._stopped:
            raise SideError(Fault(kind="not-run", message="the run was stopped"))
        if self.restarts > MOST_RESTARTS:
            last = f"; the last time: {self._last}" if self._last else ""
            text = f"not run: the {self.settings.role} side had already ended {self.restarts} times{last}"
            raise SideError(Fault(kind="not-run", message=text[:2000]))
        read = write = -1
        ours, theirs = socket.socketpair()
        try:
            self.server.wait_ready(given_up=lambda: self._stopped)
            self.restarts += 1
            read, write = os.pipe()
            self.output.follow(read)
            self._pid = self.server.spawn(self.settings, theirs, write)
        except SideError as error:
            ours.close()
            text = f"the {self.settings.role} side's interpreter {self.settings.python}: {error.fault.message}"
            raise SideError(dataclasses.replace(error.fault, message=text)) from error
        finally:
            theirs.close()
            if write >= 0:
                os.close(write)
        self._channel, self._pending = ours, bytearray()
        if self._stopped:  # meanwhile, by another thread
            self.end()
            raise SideError(Fault(kind="not-run", message="the run was stopped"))

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._channel is not None
        seen = 0
        while (end := self._pending.find(b"\n", seen)) < 0:
            seen = len(self._pending)
            if seen > LARGEST_ANSWER:
                raise ValueError(f"longer than {LARGEST_ANSWER} bytes")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            gone = self.server.gone(self._pid)
            self._channel.settimeout(min(left, LOOK_SECONDS))
            try:
                chunk, files, _, _ = socket.recv_fds(self._channel, 1 << 20, MOST_FILES)
            except TimeoutError:
                if gone:
                    raise EOFError from None
                continue
            self._files += files
            if not chunk:
                raise EOFError
            self._pending += chunk
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        reply = json.loads(line)
        if not isinstance(reply, dict) or not isinstance(reply.get("result", reply.get("fault")), dict):
            raise ValueError("neither a result nor a fault")
        return reply

    def _drop_files(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def _ended(self) -> Fault:
        """Why the process is gone."""
        if self._stopped:
            return Fault(kind="not-run", message="the run was stopped")
        status = self.server.status(self._pid)
        self.end()
        tail = self.output.text()[-2000:]
        if status is None:
            return Fault(kind="exit", message="the process closed its channel", output=tail)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = _signal_name(number)
            hint = "; the system may have run out of memory" if number == signal.SIGKILL else ""
            return Fault(kind="signal", type=name, message=f"the process was killed by {name}{hint}", output=tail)
        code = os.waitstatus_to_exitcode(status)
        return Fault(kind="exit", message=f"the process exited with code {code}", output=tail)

    def end(self) -> None:
        """Ends the process and whatever it started, in its session or out of it. The next ask starts it anew."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._kill()

    def _kill(self) -> None:
        pid, self._pid = self._pid, 0
        if pid and processes.parents().get(pid) == self.server.pid:  # else it is gone, or its number is another's
            processes.end_tree(pid)

    def stop(self) -> None:
        """Ends the process for good; asks that follow are answered 'not run'. May come from another thread."""
        self._stopped = True
        for other in self.others.values():
            other.stop()
        self.server.wake()
        if (channel := self._channel) is not None:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)  # not closed: the other thread may be reading
        self._kill()


def _signal_name(number: int) -> str:
    """SIGSEGV and the like; a real-time signal has a number alone."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def interpreter(python: str | None, base: Path) -> str:
    """The interpreter of a side: this one by default; a relative path with a slash counts from the spec's folder."""
    if python is None:
        return sys.executable
    if os.sep in python and not os.path.isabs(python):
        return str(base / python)
    return python


def _count(value: Any) -> int:
    """A number of bytes as a side tells it; 0 for nonsense."""
    return value if type(value) is int and 0 <= value < 2**53 else 0
