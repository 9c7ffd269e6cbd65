"""process.py and isolate.py: hostile programs, each shown harmless."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from entrypoint import process

ATTACK = """
import os, sys, socket, signal, ctypes, json, glob, subprocess
def attempt(name, action):
    try:
        got = action()
    except BaseException as error:
        print(name, "refused", type(error).__name__)
    else:
        print(name, "DONE", repr(got)[:200])
parent = os.getppid()
work = sys.argv[1]
"""

REFUSED = {
    "parent-environment": "open(f'/proc/{parent}/environ').read()",
    "parent-memory": "open(f'/proc/{parent}/mem', 'rb').read(1)",
    "parent-descriptors": "os.listdir(f'/proc/{parent}/fd')",
    "parent-signal": "os.kill(parent, signal.SIGTERM)",
    "parent-trace": "(lambda r: r == 0 or 1 / 0)(ctypes.CDLL(None).ptrace(16, parent, 0, 0))",
    "inet-socket": "socket.socket(socket.AF_INET)",
    "inet6-socket": "socket.socket(socket.AF_INET6)",
    "netlink-socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "packet-socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "name-lookup": "socket.create_connection(('127.0.0.1', 9))",
    "write-workspace": "open(work + '/owned', 'w')",
    "write-source": "open(work + '/llavavit/model.py', 'a')",
    "write-tmp": "open('/tmp/llavavit-verify-owned', 'w')",
    "read-root": "os.listdir('/root')",
    "read-var": "os.listdir('/var')",
    "read-run": "os.listdir('/run')",
    "git-token": "open(work + '/.git/config').read()",
    "nested-git-token": "open(work + '/sub/.git/config').read()",
    "become-root": "os.setuid(0)",
    "io-uring": "(lambda r: r >= 0 or 1 / 0)(ctypes.CDLL(None).syscall(425, 1, 0))",
    "raise-limit": "__import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (10**6, 10**6))",
    "core-pattern": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/x')",
    "chown": "os.chown(work, 0, 0)",
}
NEEDS_USER = {"git-token", "nested-git-token", "become-root", "raise-limit", "chown"}


@pytest.fixture
def launch(workspace: Path, python: str, isolated: bool):
    """Runs a program of a stranger's; gives the result and the lines that were shown."""

    def start(code: str, **options):
        shown: list[str] = []
        with process.scratch() as scratch, process.closed(workspace):
            result = process.run(
                [python, "-c", ATTACK + code, str(workspace)],
                folder=workspace,
                scratch=scratch,
                show=shown.append,
                **{"timeout": 60.0, **options},
            )
        return result, shown

    return start


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(launch, workspace, isolated, name):
    if name in NEEDS_USER and not isolated:
        pytest.skip("needs root and a Python that other users may run")
    for folder in (".git", "sub/.git"):
        (workspace / folder).mkdir(parents=True)
        (workspace / folder / "config").write_text("AUTHORIZATION: basic c2VjcmV0\n")
    result, shown = launch(f"attempt({name!r}, lambda: {REFUSED[name]})")
    assert shown, result
    assert shown[-1].startswith(f"{name} refused"), shown
    assert not (workspace / "owned").exists()


def test_what_held_is_reported(launch, isolated):
    result, _ = launch("print(1)")
    assert result.held["files"]
    assert result.held["network"]
    assert result.held["signals"]
    assert result.held["limits"]
    assert result.held["user"] is isolated


def test_it_gets_no_secret(launch, monkeypatch):
    for name in ("INPUT_GITHUB-TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_TOKEN", "GITHUB_ENV",
                 "GITHUB_OUTPUT", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DOCKER_HOST"):  # fmt: skip
        monkeypatch.setenv(name, "hunter2")
    _, shown = launch(
        "print(dict(os.environ)); print([os.readlink(f) for f in glob.glob('/proc/self/fd/*') if os.path.exists(f)])"
    )
    assert "hunter2" not in "".join(shown)
    assert "socket" not in shown[1]


def test_permissions_are_as_before_afterwards(launch, workspace):
    (workspace / ".git").mkdir(mode=0o755)
    launch("print(1)")
    assert (workspace / ".git").stat().st_mode & 0o777 == 0o755


def test_a_link_named_git_is_left_alone(workspace, tmp_path):
    (workspace / ".git").symlink_to(tmp_path)
    mode = tmp_path.stat().st_mode
    with process.closed(workspace):
        assert tmp_path.stat().st_mode == mode


def test_a_hang_is_ended_with_all_that_it_started(launch):
    started = time.monotonic()
    result, _ = launch(
        "import time\nfor n in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        signal.signal(15, signal.SIG_IGN)\n"
        "        time.sleep(1000)\ntime.sleep(1000)",
        timeout=1.5,
    )
    assert "did not finish" in result.reason
    assert time.monotonic() - started < 10
    assert not _left_over()


def test_what_it_leaves_behind_is_ended(launch):
    result, _ = launch("if os.fork() == 0:\n    os.setsid()\n    __import__('time').sleep(1000)")
    assert result.code == 0
    assert not result.reason
    assert not _left_over()


def test_a_fork_bomb_is_held_and_ended(launch, isolated):
    if not isolated:
        pytest.skip("the limit on processes is per user, and there is no other user here")
    result, _ = launch(
        "n = 0\nwhile True:\n    try:\n        if os.fork() == 0: __import__('time').sleep(1000)\n        n += 1\n"
        "    except OSError:\n        print('held at', n, flush=True); os._exit(3)",
        timeout=120.0,
    )
    assert result.code == 3
    assert any(line.startswith("held at") for line in result.tail)
    assert not _left_over()


def test_a_memory_bomb_is_held(launch):
    result, shown = launch("x = []\nwhile True: x.append(bytearray(50_000_000))", memory=400_000_000)
    assert result.code != 0
    assert result.reason or any("MemoryError" in line for line in shown)


def test_a_memory_bomb_of_many_processes_is_ended(launch):
    result, _ = launch(
        "for n in range(6):\n    if os.fork() == 0:\n        x = bytearray(os.urandom(100_000_000)); __import__('time').sleep(1000)\n"
        "__import__('time').sleep(1000)",
        memory=350_000_000,
    )
    assert "memory" in result.reason
    assert not _left_over()


COMMANDS = [
    "::error::x",
    "  ::set-output name=a::b",
    "##[error]x",
    "text ##[set-env name=a]b",
    "::add-mask::a",
    "::stop-commands::x",
    "\\u2028::error::x",
    "a\\r::error::x",
    "\\x1b[2K::error::x",
    "::resume-logging::",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_no_runner_reads_a_command_in_its_output(launch, command, stream):
    _, shown = launch(f"sys.{stream}.buffer.write('{command}\\n'.encode()) if True else 0")
    assert shown
    for line in shown:
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert all(c.isprintable() or c == "\t" for c in line)


def test_megabytes_are_cut(launch):
    result, shown = launch("for n in range(200_000): print('A' * 100)")
    assert result.code == 0
    assert sum(map(len, shown)) < process.MOST_SHOWN + 10_000
    assert "not shown" in shown[-1]


def test_a_line_without_end_is_cut(launch):
    _, shown = launch("sys.stdout.write('B' * 5_000_000)")
    assert max(map(len, shown)) < process.LONGEST_LINE + 100


def test_bytes_that_are_no_text_are_shown(launch):
    _, shown = launch("sys.stdout.buffer.write(bytes(range(256)))")
    assert shown
    "".join(shown).encode()


def test_a_crash_and_an_exit_are_told(launch):
    assert launch("os.kill(os.getpid(), signal.SIGSEGV)")[0].code == -11
    assert launch("sys.exit(7)")[0].code == 7


def test_output_that_is_kept_open_does_not_hang(launch):
    started = time.monotonic()
    launch("if os.fork() == 0:\n    os.setsid()\n    __import__('time').sleep(1000)\nos._exit(0)")
    assert time.monotonic() - started < 10


def test_the_scratch_folder_goes(launch):
    seen: list[Path] = []
    with process.scratch() as folder:
        (folder / "x").write_text("x")
        seen.append(folder)
    assert not seen[0].exists()


def _left_over() -> list[str]:
    """Processes of the unprivileged user, or of ours that run the attack."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                owner = os.stat(f"/proc/{entry}").st_uid
                line = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            mine = process.user() and owner == process.user()
            if mine or (b"parent = os.getppid()" in line and str(os.getpid()).encode() == _parent(entry)):
                found.append(entry)
    return found


def _parent(entry: str) -> bytes:
    try:
        return Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[1]
    except (OSError, IndexError):
        return b""
