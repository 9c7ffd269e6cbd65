"""Side: its environment, its interpreter, and how each end of a process reads as a fault. The server is a stub."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from verify import side as sides
from verify.side import Server, Settings, Side, SideError, Tail, environment, interpreter
from verify.trace import Ask, Fault


@pytest.mark.parametrize(
    "name",
    [
        *(
            "GITHUB_TOKEN",
            "ACTIONS_RUNTIME_TOKEN",
            "HF_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "INPUT_GITHUB-TOKEN",
            "MY_PATH",
        ),
        *("PATH_TOKEN", "SSH_AUTH_SOCK", "LANGUAGE_TOKEN", "XLC_ALL", "LD_PRELOAD", "PYTHONSTARTUP"),
    ],
)
def test_no_secret_passes(monkeypatch, name):
    monkeypatch.setenv(name, "secret")
    assert "secret" not in environment("/s").values()


@pytest.mark.parametrize("name", ["PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "VIRTUAL_ENV"])
def test_what_torch_needs_passes(monkeypatch, name):
    monkeypatch.setenv(name, "kept")
    assert environment("/s")[name] == "kept"


def test_a_side_is_offline_and_at_home_in_its_scratch(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HOME", "/root")
    found = environment("/s")
    assert found["HF_HUB_OFFLINE"] == found["TRANSFORMERS_OFFLINE"] == "1"
    assert {found["HOME"], found["TMPDIR"]} == {"/s"}
    assert found["HF_HOME"].startswith("/s/")


def test_interpreters():
    import sys

    base = Path("/base")
    assert interpreter(None, base) == sys.executable
    assert interpreter("python3", base) == "python3"
    assert interpreter("/usr/bin/python3", base) == "/usr/bin/python3"
    assert interpreter(".venv/bin/python", base) == "/base/.venv/bin/python"


def test_an_interpreter_that_does_not_exist_is_told(tmp_path):
    server = Server("/no/python", (), str(tmp_path))
    with pytest.raises(SideError, match=r"it cannot be started: No such file.*set `python` of the side") as e:
        server.wait_ready()
    assert (e.value.fault.kind, server.pid) == ("import", 0)
    server.close()


def tail_of(*chunks: bytes) -> Tail:
    tail, (read, write) = Tail(), os.pipe()
    tail.follow(read)
    for chunk in chunks:
        os.write(write, chunk)
    os.close(write)
    deadline = time.monotonic() + 10
    while tail.total < sum(map(len, chunks)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return tail


def test_a_tail_keeps_the_end():
    assert tail_of(b"hello\n", b"\xff\n").text() == "hello\n\ufffd\n"
    long = tail_of(*[b"x" * 10_000] * 5, b"end")
    text = long.text()
    assert text.startswith(f"[{50_003 - sides.OUTPUT_KEPT} bytes before this]\n")
    assert text.endswith("xend")


class StubServer:
    """Hands each spawned side's channel to a function that plays the side."""

    pid = 0

    def __init__(self, play, status=None):
        self.play, self.wait_status, self.spawned = play, status, 0

    def wait_ready(self, seconds=0.0, given_up=lambda: False):
        return 0.0

    def wake(self): ...

    def gone(self, pid):
        return False

    def spawn(self, settings, channel, output):
        self.spawned += 1
        theirs, out = channel.dup(), os.dup(output)
        threading.Thread(target=self._run, args=(theirs, out), daemon=True).start()
        return 0

    def _run(self, channel, out):
        with channel, os.fdopen(out, "wb", buffering=0) as printed, contextlib.suppress(OSError):
            self.play(channel, printed)

    def status(self, pid, seconds=0.0):
        return self.wait_status


def side_of(play, status=None, timeout=5.0) -> Side:
    settings = Settings(
        role="candidate", python="p", path=".", config=None, model="a:B", factory=None, kwargs={}, renames={}, seed=0,
        device="cpu", scratch="/s",
    )  # fmt: skip
    return Side(settings=settings, server=StubServer(play, status), timeout=timeout)


def replying(*lines: bytes):
    def play(channel: socket.socket, printed):
        for line in lines:
            channel.recv(65_536)
            channel.sendall(line)

    return play


ASK = Ask(key="k", op="o", args={"a": 1})


def test_an_answer_is_a_result_or_a_fault():
    side = side_of(
        replying(b'{"key": "k", "result": {"x": 1}}\n', b'{"key": "k", "fault": {"kind": "raised", "type": "E"}}\n')
    )
    first, second = side.ask(ASK), side.ask(ASK)
    assert first.result == {"x": 1}
    assert first.fault is None
    assert second.fault == Fault(kind="raised", type="E")
    assert side.restarts == 1
    side.end()


def test_an_answer_may_come_in_pieces():
    def play(channel, printed):
        asked = json.loads(channel.recv(65_536))
        assert asked == {"key": "k", "op": "o", "args": {"a": 1}, "threads": max(sides.cpus() // 2, 1)}
        for piece in (b'{"key": "k", "resu', b'lt": {}', b"}\n"):
            channel.sendall(piece)
            time.sleep(0.01)

    assert side_of(play).ask(ASK).result == {}


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b"{}\n", b'{"result": 3}\n', b'{"fault": []}\n', b"\xff\n", b"1" * 5000 + b"\n"]
)
def test_nonsense_is_a_protocol_fault(line):
    fault = side_of(replying(line)).ask(ASK).fault
    assert fault is not None
    assert fault.kind == "protocol"


@pytest.mark.parametrize(
    "line",
    [
        b'{"result": ' + b"[" * 200_000,
        b'{"key": "k", "result": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"key": ' + b"[" * 900 + b"]" * 900 + b', "result": {}}',
    ],
)
def test_deep_nesting_is_a_protocol_fault(line):
    fault = side_of(replying(line + b"\n")).ask(ASK).fault
    assert fault is not None
    assert fault.kind == "protocol"


def test_an_endless_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(sides, "LARGEST_ANSWER", 1000)
    fault = side_of(replying(b"x" * 5000)).ask(ASK).fault
    assert fault is not None
    assert "longer than 1000 bytes" in fault.message


def test_a_hang_is_a_timeout():
    side = side_of(lambda channel, printed: (channel.recv(9999), channel.recv(1)), timeout=0.1)
    fault = side.ask(ASK).fault
    assert fault is not None
    assert (fault.kind, "--timeout SECONDS" in fault.message) == ("timeout", True)


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (None, "exit", "closed its channel"),
        (3 << 8, "exit", "exited with code 3"),
        (signal.SIGSEGV, "signal", "killed by SIGSEGV"),
        (signal.SIGKILL, "signal", "killed by SIGKILL; the system may have run out of memory"),
        (signal.SIGRTMIN + 5, "signal", f"killed by signal {signal.SIGRTMIN + 5}"),
    ],
)
def test_how_a_process_ended_is_told(status, kind, told):
    def play(channel, printed):
        channel.recv(9999)
        printed.write(b"last words\n")
        time.sleep(0.05)

    fault = side_of(play, None if status is None else int(status)).ask(ASK).fault
    assert fault is not None
    assert fault.kind == kind
    assert told in fault.message
    assert fault.output == "last words\n"


def test_a_side_is_started_again_a_few_times_only():
    side = side_of(lambda channel, printed: channel.recv(9999))
    kinds = [(side.ask(ASK).fault or Fault(kind="raised")).kind for _ in range(sides.MOST_RESTARTS + 3)]
    assert kinds == ["exit"] * (sides.MOST_RESTARTS + 1) + ["not-run"] * 2
    assert side.server.spawned == sides.MOST_RESTARTS + 1


def test_an_answer_to_another_question_is_a_protocol_fault():
    fault = side_of(replying(b'{"key": "j", "result": {}}\n')).ask(ASK).fault
    assert fault is not None
    assert (fault.kind, "'k' was asked" in fault.message) == ("protocol", True)


def test_a_side_that_cannot_start_is_a_fault_of_the_side(tmp_path):
    side = side_of(replying())
    side.server = Server("/no/python", (), str(tmp_path))
    fault = side.ask(ASK).fault
    assert fault is not None
    assert fault.kind == "import"
    assert fault.message.startswith("the candidate side's interpreter p: it cannot be started: No such file")
    side.server.close()


def test_a_pass_of_one_side_gets_all_processors():
    seen = []

    def play(channel, printed):
        for _ in range(2):
            asked = json.loads(channel.recv(65_536))
            seen.append(asked["threads"])
            channel.sendall(json.dumps({"key": asked["key"], "result": {}}).encode() + b"\n")

    side = side_of(play)
    side.processors = 6
    side.observe([Ask(key="a", op="o"), Ask(key="b", op="o", sides=("candidate",))], lambda role, ask: None)
    assert seen == [3, 6]
    side.end()


def test_a_stopped_side_answers_not_run():
    side = side_of(replying())
    side.stop()
    fault = side.ask(ASK).fault
    assert fault is not None
    assert (fault.kind, side.server.spawned) == ("not-run", 0)


def test_observe_asks_each_question_once_and_only_its_own():
    side = side_of(replying(b'{"key": "a", "result": {}}\n', b'{"key": "c", "result": {}}\n'))
    seen = []
    asks = [Ask(key="a", op="o"), Ask(key="b", op="o", sides=("reference",)), Ask(key="c", op="o")]
    for _ in range(2):
        side.observe(asks, lambda role, ask: seen.append((role, ask.key)))
    assert seen == [("candidate", "a"), ("candidate", "c")]
    assert list(side.trace.answers) == ["a", "c"]
    side.end()
