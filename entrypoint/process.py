"""A command that may run a stranger's code: started apart, its output shown harmlessly, ended for good.

The caller's token and the runner's files are out of its reach as far as the kernel allows (`isolate.py`), and `held` of
the result says how far that was.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entrypoint import text

ISOLATE = Path(__file__).with_name("isolate.py")
FIRST_USER = 64_000
"""The unprivileged user's number is this plus a little: in no group, owner of nothing, in no image's list of users."""
MEMORY_SHARE = 0.9
LEAST_DISK = 512 * 2**20
MOST_SHOWN = 2 * 2**20
LONGEST_LINE = 2000
TAIL = 40
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
LOOK_EVERY = 0.5

PASSED_ON = (
    "PATH",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_",
    "NVIDIA_",
    "OMP_",
    "MKL_",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
)
"""Environment variables, or their beginnings, that the command gets. A list of what may pass, so that no secret does."""

SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys", "/dev")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/shm")
SECRET = ("/github/home", "/github/workflow", "/github/file_commands", "/github/runner_temp", "/__w/_temp")
"""Folders of the runner that a stranger's code has no business in; closed to it while it runs."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended. reason: why it was ended, where it did not end by itself."""

    code: int
    seconds: float
    reason: str = ""
    tail: tuple[str, ...] = ()
    held: Mapping[str, bool] = field(default_factory=dict)


def user() -> int:
    """The number of the user that commands run as; 0 where there is no other to be had. Runs at once differ in it."""
    return FIRST_USER + os.getpid() % 1000 if os.geteuid() == 0 else 0


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the unprivileged user; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="llavavit-verify-"))
    try:
        if user():
            os.chown(folder, user(), user())
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def closed(workspace: Path) -> Iterator[bool]:
    """Takes other users' access to git folders (checkout leaves its token there) and the runner's own folders.

    Yields whether that can hold: only root can stand in for another user. Permissions are as before afterwards.
    """
    if os.geteuid() != 0:
        yield False
        return
    before: list[tuple[int, int]] = []
    try:
        for path in (*_git_folders(workspace), *map(Path, SECRET)):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            try:
                os.fchmod(fd, mode & 0o700)
            except OSError:
                os.close(fd)
                continue
            before.append((fd, mode))
        yield True
    finally:
        for fd, mode in before:
            with contextlib.suppress(OSError):
                os.fchmod(fd, mode)
            os.close(fd)


def _git_folders(workspace: Path, deepest: int = 4) -> Iterator[Path]:
    for at, folders, names in os.walk(workspace):
        if ".git" in folders or ".git" in names:
            yield Path(at, ".git")
        depth = len(Path(at).relative_to(workspace).parts)
        folders[:] = [] if depth >= deepest else [f for f in folders if f not in (".git", "node_modules")]


def memory_limit() -> int:
    """Bytes that the command and all it starts may take: most of what this machine or container has."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return int(min(found) * MEMORY_SHARE)


def run(
    command: Sequence[str],
    *,
    folder: Path,
    scratch: Path,
    timeout: float,
    show: Callable[[str], None],
    readable: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    network: bool = False,
    memory: int | None = None,
) -> Result:
    """Runs a command to its end or to `timeout` seconds; nothing that it started lives on.

    folder: where it starts; it may read that and `readable`, and write only in `scratch`. show: gets each line of its
    output, harmless, up to MOST_SHOWN bytes.
    """
    most = memory or memory_limit()
    others = _children()
    limits = {"CORE": 0, "NPROC": 1024 + 32 * (os.cpu_count() or 1), "NOFILE": 8192, "FSIZE": 32 * 2**30}
    if not _gpus():  # a GPU's driver maps far more than it takes
        limits["DATA"] = most
    _harden()
    plan = json.dumps(
        {
            "folder": str(folder),
            "environment": _environment(scratch, environment or {}),
            "user": user(),
            "network": network,
            "limits": limits,
            "read": [*SYSTEM, sys.prefix, sys.base_prefix, *map(str, (folder, *readable))],
            "write": [str(scratch), *DEVICES, *_gpus()],
        }
    ).encode()
    started = time.monotonic()
    with _pipe() as (plan_read, plan_write), _pipe() as (held_read, held_write), _pipe() as (read, write):
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(ISOLATE), str(plan_read), str(held_write), *command],
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            env={},
            cwd="/",
            pass_fds=[plan_read, held_write],
        )
        for fd in (plan_read, held_write, write):
            os.close(fd)
        with open(plan_write, "wb", closefd=False) as stream:
            stream.write(plan)
        os.close(plan_write)
        output = _Output(read, show)
        try:
            reason = _watch(child, output, started + timeout, timeout, most, scratch, others)
        finally:
            _end(child, others)
        output.drain()
        held = _held(held_read)
    return Result(
        code=child.returncode,
        seconds=time.monotonic() - started,
        reason=reason,
        tail=output.tail,
        held=held,
    )


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for fd in ends:
            with contextlib.suppress(OSError):
                os.close(fd)


def _harden() -> None:
    """Nobody may look into this process or trace it, and orphans of the command come back to it."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _environment(scratch: Path, more: Mapping[str, str]) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if any(k == p or (p.endswith("_") and k.startswith(p)) for p in PASSED_ON)
    }
    return {
        "LANG": "C.UTF-8",
        **kept,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "160",
        **more,
    }


def _gpus() -> list[str]:
    return [str(path) for path in Path("/dev").glob("nvidia*")]


def _watch(
    child: subprocess.Popen[bytes],
    output: _Output,
    deadline: float,
    timeout: float,
    most: int,
    scratch: Path,
    others: frozenset[int],
) -> str:
    """Waits for the end. Returns why the command has to be ended before it, or ""."""
    look = time.monotonic() + LOOK_EVERY
    while child.poll() is None:
        now = time.monotonic()
        if now >= deadline:
            return f"it did not finish in {timeout / 60:g} minutes"
        output.take(min(deadline - now, 0.1))
        if now >= look:
            look = now + LOOK_EVERY
            if _memory(child.pid, others) > most:
                return f"it took more than {most / 2**30:.1f} GiB of memory"
            if shutil.disk_usage(scratch).free < LEAST_DISK:
                return "it filled the disk"
    return ""


class _Output:
    """What a command prints: shown line by line, harmless, up to a limit; the last lines kept."""

    def __init__(self, fd: int, show: Callable[[str], None]) -> None:
        self._fd = fd
        self._show = show
        self._pending = b""
        self._left = MOST_SHOWN
        self._open = True
        self._last: deque[bytes] = deque(maxlen=TAIL)
        os.set_blocking(fd, False)

    def take(self, seconds: float) -> bool:
        """What has come, within so many seconds; False if nothing has."""
        if not self._open:
            time.sleep(seconds)
            return False
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self._fd, 65_536)
        except BlockingIOError:
            return False
        if not chunk:
            self._open = False
            return False
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        if len(self._pending) > 65_536:
            lines.append(self._pending)
            self._pending = b""
        for one in lines:
            self._line(one)
        return True

    def drain(self) -> None:
        """What is left once everybody who could write has ended."""
        while self.take(0):
            pass
        if self._pending:
            self._line(self._pending)

    def _line(self, data: bytes) -> None:
        self._last.append(data[: 4 * LONGEST_LINE])
        if self._left > 0:
            shown = _harmless(self._last[-1])
            self._left -= len(shown) + 1
            self._show(shown if self._left > 0 else "[more output is not shown]")

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(map(_harmless, self._last))


def _harmless(line: bytes) -> str:
    return text.log(line.decode("utf-8", "replace").rstrip("\r"), LONGEST_LINE)


def _held(fd: int) -> dict[str, bool]:
    """What isolate.py reported before it became the command, and nothing that came later."""
    os.set_blocking(fd, False)
    try:
        data = json.loads(os.read(fd, 65_536))
        return {str(k): v is True for k, v in data.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _parents() -> dict[int, list[int]]:
    """The running processes by their parent."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                after = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
                if after[0] != "Z":
                    parents.setdefault(int(after[1]), []).append(int(entry))
    return parents


def _children() -> frozenset[int]:
    return frozenset(_parents().get(os.getpid(), []))


def _descendants(pid: int, others: frozenset[int]) -> list[int]:
    """A process and all below it, with those that were orphaned and came to this one; not `others` of this one."""
    parents = _parents()
    found: list[int] = []
    todo = [pid, *(p for p in parents.get(os.getpid(), []) if p not in others)]
    while todo:
        one = todo.pop()
        if one not in found:
            found.append(one)
            todo += parents.get(one, [])
    return found


def _memory(pid: int, others: frozenset[int]) -> int:
    """Bytes that a process and all below it hold, shared pages counted once."""
    total = 0
    for one in _descendants(pid, others):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


def _end(child: subprocess.Popen[bytes], others: frozenset[int]) -> None:
    """Ends the command and everything that it started, wherever that has moved to."""
    if user():
        _end_user(user())
    for _ in range(500):
        left = [p for p in _descendants(child.pid, others) if p != child.pid or child.poll() is None]
        for one in left:
            with contextlib.suppress(OSError):
                os.kill(one, signal.SIGKILL)
        _reap(child, others)
        if not left:
            break
        time.sleep(0.01)
    child.wait()


def _end_user(number: int) -> None:
    """As the unprivileged user, ends all of its processes at once: a fork bomb has no time to fork."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _reap(child: subprocess.Popen[bytes], others: frozenset[int]) -> None:
    """Takes the exit codes of orphans; the command's own is `child`'s to take."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in others and int(entry) != child.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(entry), os.WNOHANG)
