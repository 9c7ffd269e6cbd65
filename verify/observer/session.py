"""One side: answers asks on its channel until the parent closes it.

Wire: one JSON object a line. parent → side {"key", "op", "args", "threads"}; side → parent {"key", "result",
"memory"} or {"key", "fault"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import configuration, environment, faults, forward, modules, structure
from .build import Builder

Operation = Callable[[Builder, dict[str, Any]], dict[str, Any]]

OPERATIONS: dict[str, Operation] = {
    "environment": environment.observe,
    "configuration": configuration.observe,
    "structure": structure.observe,
    "forward": forward.observe,
    "modules": modules.observe,
}


def serve(channel_fd: int, settings: dict[str, Any]) -> None:
    """Runs one side. settings: path, config, model, factory, kwargs, renames, seed, device, scratch."""
    pid = os.getpid()
    os.set_inheritable(channel_fd, False)
    channel = socket.socket(fileno=channel_fd)
    os.chdir(settings["path"])
    sys.path.insert(0, settings["path"])
    sys.argv = ["llavavit-verify"]
    roots = [settings["path"]]
    builder = Builder(settings)
    for line in _lines(channel):
        ask = json.loads(line)
        torch.set_num_threads(ask["threads"])
        try:
            answer = {"result": OPERATIONS[ask["op"]](builder, ask["args"])}
            line = _line({"key": ask["key"], **answer, "memory": environment.peak_memory()})
        except BaseException as error:
            line = _line({"key": ask["key"], "fault": faults.describe(error, roots)})
            with contextlib.suppress(BaseException):
                error.__traceback__ = None  # its frames hold tensors
            builder.release()  # a pass that was cut short may have left the model changed
        if os.getpid() != pid:
            os._exit(0)  # model code forked; the copy must not speak for the side
        channel.sendall(line)


def _lines(channel: socket.socket) -> Iterator[bytes]:
    pending = b""
    while chunk := channel.recv(65_536):
        pending += chunk
        *lines, pending = pending.split(b"\n")
        yield from lines


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=str).encode() + b"\n"
