"""Starts a command that may run a stranger's code: `python isolate.py PLAN_FD HELD_FD COMMAND...`.

Reads a plan (JSON) from PLAN_FD, takes away what the kernel lets it take away, writes what held to HELD_FD and becomes
the command. A file of its own with the standard library only: nothing of the caller is in its memory.

Layers, each on its own: another user, no way to new privileges, limits, Landlock (what may be read, written, signalled),
seccomp (no inet, netlink or packet socket, no ptrace, no io_uring).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
SIGKILL = 9

# Landlock: system calls are the same on every architecture
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
SCOPE_ABSTRACT_SOCKET, SCOPE_SIGNAL = 1, 2

# seccomp: classic BPF over struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}
LOAD, EQUAL, ABOVE, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (0xC000003E, {"socket": 41, "ptrace": 101, "vm_readv": 310, "vm_writev": 311, "io_uring": 425}),
    "aarch64": (0xC00000B7, {"socket": 198, "ptrace": 117, "vm_readv": 270, "vm_writev": 271, "io_uring": 425}),
}
AF_UNIX = 1


def main() -> None:
    plan_fd, held_fd, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    with open(plan_fd, "rb") as stream:
        plan = json.loads(stream.read())
    held = apply(plan)
    with open(held_fd, "w") as stream:
        json.dump(held, stream)
    try:
        os.chdir(plan["folder"])
    except OSError as error:
        sys.exit(f"{plan['folder']}: {error.strerror}; model code runs as another user: `chmod -R a+rX` lets it read")
    os.execve(command[0], command, plan["environment"])


def apply(plan: dict[str, Any]) -> dict[str, bool]:
    """Takes everything away that can be; says what held."""
    os.setsid()
    os.umask(0o022)
    _try(lambda: _write("/proc/self/oom_score_adj", "1000"))
    held = {"limits": all(_try(lambda n=n, v=v: _limit(n, v)) for n, v in plan["limits"].items())}
    held["user"] = _try(lambda: _user(plan["user"])) if plan["user"] else False
    LIBC.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # again: a change of user clears it
    held["privileges"] = LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    abi = LIBC.syscall(CREATE_RULESET, None, 0, 1)
    held["files"] = abi >= 1 and _try(lambda: _landlock(abi, plan["read"], plan["write"]))
    held["signals"] = held["user"] or (held["files"] and abi >= 6)
    held["network"] = False if plan["network"] else _try(_seccomp)
    return held


def _try(step: Any) -> bool:
    try:
        step()
    except (OSError, ValueError, KeyError):
        return False
    return True


def _write(file: str, content: str) -> None:
    with open(file, "w") as stream:
        stream.write(content)


def _limit(name: str, value: int) -> None:
    which = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _user(number: int) -> None:
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise OSError(errno.EPERM, "root came back")


def _landlock(abi: int, read: list[str], write: list[str]) -> None:
    rights = (1 << 13) - 1
    rights |= (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0) | (IOCTL_DEV if abi >= 5 else 0)
    attributes = struct.pack("=Q", rights)
    if abi >= 4:
        attributes += struct.pack("=Q", 0)
    if abi >= 6:
        attributes += struct.pack("=Q", SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL)
    ruleset = _check(LIBC.syscall(CREATE_RULESET, attributes, len(attributes), 0))
    for paths, allowed in ((read, EXECUTE | READ_FILE | READ_DIR), (write, rights)):
        for path in paths:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            mask = allowed & rights & (~0 if os.path.isdir(path) else FILE_RIGHTS)
            _check(LIBC.syscall(ADD_RULE, ruleset, 1, struct.pack("=Qi", mask, fd), 0))
            os.close(fd)
    _check(LIBC.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused by the kernel")
    return result


def _seccomp() -> None:
    arch, numbers = MACHINES[platform.machine()]
    refused = [n for name, n in numbers.items() if name != "socket"]
    # each test jumps to REFUSE (the last line) or falls through
    tests = [(EQUAL, n) for n in refused]
    program = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, arch), (RETURN, 0, 0, REFUSE), (LOAD, 0, 0, 0)]
    if arch == 0xC000003E:
        program += [(ABOVE, 0, 1, 0x40000000), (RETURN, 0, 0, REFUSE)]  # the x32 ABI numbers its calls apart
    for code, number in tests:
        program += [(code, 0, 1, number), (RETURN, 0, 0, REFUSE)]
    program += [
        (EQUAL, 0, 3, numbers["socket"]),
        (LOAD, 0, 0, 16),
        (EQUAL, 1, 0, AF_UNIX),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    filter_ = struct.pack("=H6xQ", len(program), ctypes.addressof(buffer))
    if LIBC.prctl(PR_SET_SECCOMP, 2, filter_, 0, 0):
        raise OSError(ctypes.get_errno(), "refused by the kernel")


if __name__ == "__main__":
    main()
