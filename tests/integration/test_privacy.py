"""What runs beside model code keeps its environment, memory and open files to itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from verify import processes

NOBODY = 65_534
PR_SET_DUMPABLE = 4

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def child(work: Callable[[], None]) -> int:
    """Forks a process of an ordinary user that does `work`; its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        processes._prctl(PR_SET_DUMPABLE, 1)  # as an ordinary program is; changing the user has cleared it
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


def can_read(pid: int, what: str) -> bool:
    """Whether another process of the same user can read a file of process `pid`."""

    def read() -> None:
        with open(f"/proc/{pid}/{what}", "rb") as file:
            file.read(1)

    return os.waitpid(child(read), 0)[1] == 0


@pytest.mark.parametrize("what", ["environ", "maps", "auxv"])
@pytest.mark.parametrize("private", [False, True])
def test_a_private_process_cannot_be_read_by_others_of_its_user(what, private):
    ready, tell = os.pipe()

    def work() -> None:
        if private:
            processes.keep_private()
        os.write(tell, b"x")
        signal.pause()

    pid = child(work)
    try:
        os.read(ready, 1)
        assert can_read(pid, what) is not private
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(tell)


def test_a_side_is_private(duo):
    """The side itself is asked: model code runs in it."""
    check = "import ctypes\nif ctypes.CDLL(None).prctl(3, 0, 0, 0, 0): os._exit(9)"
    duo.write("right", head=check)
    assert duo.run().verdict == "equal"


def test_the_command_line_is_private(duo):
    """Model code looks at the process that started its server."""
    script = "import ctypes, os, sys\nsys.argv = ['llavavit-verify', '--version']\nfrom verify import cli\n"
    script += "try:\n    cli.main()\nexcept SystemExit:\n    pass\nos._exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", script]) == 0
