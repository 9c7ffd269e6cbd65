"""Memory: the least of what the machine and the container leave."""

from __future__ import annotations

import pytest

from verify.memory import available

KIB = 1024


@pytest.fixture
def machine(tmp_path):
    def make(meminfo=None, limit=None, used=None):
        for name, text in (
            ("proc/meminfo", meminfo),
            ("sys/fs/cgroup/memory.max", limit),
            ("sys/fs/cgroup/memory.current", used),
        ):
            if text is not None:
                file = tmp_path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        return tmp_path

    return make


INFO = "MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable:    500 kB\n"


@pytest.mark.parametrize(
    ("meminfo", "limit", "used", "free"),
    [
        (None, None, None, None),
        (INFO, None, None, 500 * KIB),
        (INFO, "max\n", "7\n", 500 * KIB),
        (INFO, f"{300 * KIB}\n", f"{100 * KIB}\n", 200 * KIB),
        (INFO, f"{9000 * KIB}\n", "0\n", 500 * KIB),
        (INFO, "100", "200", 0),
        (None, "300", "100", 200),
        ("MemAvailable:\n", None, None, None),
        ("MemAvailable: many kB\n", "many", "100", None),
        (INFO, "300", None, 500 * KIB),
    ],
)
def test_available(machine, meminfo, limit, used, free):
    assert available(machine(meminfo, limit, used)) == free


def test_this_machine_tells():
    assert (available() or 0) > 2**20
