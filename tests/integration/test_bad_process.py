"""Sides that misbehave as processes, and a run that is ended from outside. No process of a run outlives it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from verify.side import Servers

HANG = "time.sleep(600)"
LEAVE = """
import os, time
def leave(file):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with open(file, "a") as out:
                print(os.getpid(), file=out)
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not os.path.exists(file):
        time.sleep(0.01)
"""


def running(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends(pids: list[int], seconds: float = 10.0) -> bool:
    """Whether all of them end within some seconds."""
    until = time.monotonic() + seconds
    while any(running(p) for p in pids) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(running(p) for p in pids)


def tree(root: int) -> list[int]:
    """Every process below one, as the system sees it."""
    found = [root]
    for pid in found:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(stat.parent.name))
            except OSError:
                continue
    return found[1:]


@pytest.mark.parametrize(
    ("trap", "text"),
    [
        ("sys.exit(3)", "the code called sys.exit(3)"),
        ("print('last words', flush=True); os._exit(7)", "exited with code 7; its last words: last words"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
        ("os.abort()", "killed by SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL; the system may have run out of memory"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed by SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGRTMIN)", "killed by"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise MemoryError", "MemoryError"),
        ("torch.empty(2**46)", "memory"),
        (
            "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**20, -1))\n"
            "try: torch.ones(2**28)\nfinally: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
            "memory",
        ),
        ("os.fork() and os._exit(0); time.sleep(600)", "exited with code 0"),
        ("os.closerange(3, 256)", "exited with code 70; its last words: OSError: [Errno 9]"),
        ("os.closerange(3, 256); time.sleep(600)", "the process closed its channel"),
    ],
)
def test_a_side_that_ends_costs_one_answer(duo, trap, text):
    duo.write("right", trap=trap)
    report = duo.run()
    verdicts = {g.name: g.verdict.value for g in report.checks[-1].groups}
    decided = "different" if trap == "raise KeyboardInterrupt" else "error"
    assert verdicts["trap"] == decided
    assert report.verdict == decided
    assert [c.verdict for c in report.checks[:3]] == ["equal"] * 3
    assert verdicts == {"one": "equal", "trap": decided, "after": "equal"}
    assert len(report.findings) == 1
    assert text in report.findings[0].message


def test_a_side_that_kills_what_both_share_keeps_the_other_checks(duo):
    duo.quick_spec()
    duo.write("right", trap="os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)")
    with Servers() as own:
        report = duo.run(servers=own)
    assert [c.verdict for c in report.checks] == ["equal", "equal", "equal", "error"]
    assert {g.name: g.verdict.value for g in report.checks[-1].groups}["trap"] == "error"


def test_a_side_that_hangs_costs_one_answer_and_its_time(duo, kept):
    duo.write("right", trap=HANG)
    started = time.monotonic()
    report = duo.run(timeout=6.0)
    assert time.monotonic() - started < 30
    assert "no answer within 6 s; --timeout SECONDS allows more" in kept(report, "error").message


def test_a_side_that_hangs_and_cannot_be_asked_to_stop_is_ended(duo, kept):
    trap = "for n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
    duo.write("right", trap=trap + "os.kill(os.getpid(), signal.SIGSTOP)")
    assert "no answer within" in kept(duo.run(timeout=6.0), "error").message


def test_a_side_that_ends_every_time_is_not_started_forever(duo):
    duo.spec(cases={f"c{n}": {"inputs": {"x": {"shape": [3, "width"]}}} for n in range(8)})
    duo.write("right", trap="os._exit(9)")
    report = duo.run()
    messages = {f.case: f.message for f in report.findings}
    assert "exited with code 9" in messages["c0"]
    last = max(messages)
    assert "had already ended 4 times; the last time: the process exited with code 9" in messages[last]
    later = [g for g in report.checks[-1].groups if g.name > last]
    assert later[-1].name == "c7"
    assert {(g.verdict.value, g.reason) for g in later} == {("error", f"not compared: see forward tiny/{last}")}
    assert [c.verdict for c in report.checks[:3]] == ["equal"] * 3


@pytest.mark.parametrize(
    "trap",
    [
        "sys.stdout.write('x' * 20_000_000); sys.stderr.write('y' * 20_000_000)",
        'os.write(1, b\'{"key": "tiny/forward/trap", "result": {}}\\n\'); print(\'{}\', file=sys.stderr)',
        "sys.stdout.close(); sys.stderr.close()",
        "os.close(0); os.close(1); os.close(2)",
        "print('\\x1b]0;title\\x07')",
        "if os.fork() == 0: pass\nelse: os.wait()",
        "if os.fork() == 0: raise ValueError\nelse: os.wait()",
        "import subprocess; subprocess.run(['true'], check=True)",
        "os.chdir('/'); os.environ.clear(); sys.argv.clear(); sys.path.clear()",
    ],
)
def test_what_a_side_prints_or_forks_changes_nothing(duo, kept, trap):
    duo.write("right", trap=trap)
    report = duo.run()
    assert report.verdict == "equal", report.findings
    assert {g.verdict for c in report.checks for g in c.groups} == {"equal"}


@pytest.mark.parametrize("how", ["pass", "os._exit(1)", HANG])
def test_what_a_side_started_ends_with_it(duo, how):
    file = duo.folder / "pids"
    duo.write("right", head=LEAVE, trap=f"leave({str(file)!r})\n{how}")
    report = duo.run(timeout=6.0)
    assert report.checks[-1].groups[1].verdict == ("equal" if how == "pass" else "error")
    pids = [int(line) for line in file.read_text().split()]
    assert pids
    assert ends(pids), "a grandchild in a session of its own outlived the run"


def started(duo, side: str = "right") -> tuple[subprocess.Popen[str], list[int]]:
    """The command line on a side that has reached its trap and hangs there with a grandchild; and all process ids."""
    file = duo.folder / "pids"
    duo.write(side, head=LEAVE, trap=f"leave({str(file)!r})\n{HANG}")
    duo.quick_spec()
    (duo.folder / "tmp").mkdir()
    reports = ("--json", "out.json", "--junit", "out.xml", "--markdown", "out.md")
    process = duo.start("--spec", "spec.yml", *reports, env={"TMPDIR": str(duo.folder / "tmp")})
    until = time.monotonic() + 100
    while not file.exists() or not file.read_text().strip():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1.0)  # the other side answers meanwhile
    return process, [*tree(process.pid), *(int(line) for line in file.read_text().split())]


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [(signal.SIGINT, 130, "interrupted by Ctrl-C"), (signal.SIGTERM, 143, "interrupted by SIGTERM")],
)
def test_an_interrupted_run_keeps_what_it_found_and_leaves_no_process(duo, number, code, text):
    process, pids = started(duo)
    assert len(pids) >= 4
    begun = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert time.monotonic() - begun < 15
    assert process.returncode == code, output + errors
    assert text in errors
    assert "Traceback" not in errors
    assert ends(pids)
    report = duo.read()
    assert report["verdict"] == "error"
    verdicts = {c["name"]: c["verdict"] for c in report["checks"]}
    assert verdicts == {
        "configuration": "equal", "structure": "equal", "buffers": "equal", "forward": "error", "run": "error",
    }  # fmt: skip
    assert text in report["checks"][-1]["reason"]
    assert {g["name"]: g["verdict"] for g in report["checks"][3]["groups"]}["trap"] == "error"
    for name in ("out.xml", "out.md"):
        assert text.split()[-1] in (duo.folder / name).read_text().replace("\\", "")
    assert not list((duo.folder / "tmp").iterdir()), "a scratch folder outlived the run"


def test_a_proven_difference_outlasts_the_interrupt(duo):
    duo.write("left", init="config.width = 5")
    process, _ = started(duo)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert duo.read()["verdict"] == "different"


def test_a_run_that_is_killed_outright_leaves_no_process(duo):
    process, pids = started(duo)
    process.kill()
    process.communicate(timeout=30)
    assert ends(pids)


def test_an_interrupt_while_the_sides_import_is_heeded_at_once(duo):
    slow = duo.folder / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    duo.spec(candidate={"path": "right", "model": "model:Model", "config": "model:Config", "python": "./slow"})
    process = duo.start("--spec", "spec.yml", "--json", "out.json")
    until = time.monotonic() + 60
    while not any("sleep" in Path(f"/proc/{p}/cmdline").read_text() for p in tree(process.pid) if running(p)):
        assert time.monotonic() < until
        time.sleep(0.1)
    pids = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert ends(pids)
    assert duo.read()["verdict"] == "error"


def test_the_guides_command_heeds_an_interrupt(duo):
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, str(root / "verify_architecture_alignment.py"), "--variant", "small"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "structure" in line:
            break
    pids = tree(process.pid)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "interrupted by Ctrl-C" in errors
    assert "ERROR" in output
    assert ends(pids)
