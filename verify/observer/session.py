"""One side: answers asks on its channel until the parent closes it.

Wire: one JSON object a line. parent → side {"key", "op", "args", "threads"}; side → parent {"key", "result",
"memory", "device_memory"} or {"key", "fault"}. What an operation returns as "arrays" travels as a file descriptor beside the line.
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

from .. import processes
from . import (
    backward,
    code,
    configuration,
    copies,
    devices,
    environment,
    faults,
    forward,
    gradients,
    initialisation,
    mended,
    modules,
    operations,
    precision,
    preprocessing,
    reached,
    rounding,
    roundtrip,
    settings,
    signature,
    state,
    steps,
    structure,
    training,
)
from .build import Builder
from .values import pack

Operation = Callable[[Builder, dict[str, Any]], dict[str, Any]]

OPERATIONS: dict[str, Operation] = {
    "environment": environment.observe,
    "code": code.observe,
    "configuration": configuration.observe,
    "constructed": configuration.constructed,
    "structure": structure.observe,
    "remembered": structure.remembered,
    "moved": structure.moved,
    "making": structure.making,
    "settings": settings.observe,
    "signature": signature.observe,
    "initialisation": initialisation.observe,
    "forward": forward.observe,
    "copies": copies.observe,
    "devices": devices.observe,
    "modules": modules.observe,
    "gradients": gradients.observe,
    "training": training.observe,
    "precision": precision.observe,
    "preprocessing": preprocessing.observe,
    "save": roundtrip.save,
    "load": roundtrip.load,
    "lacking": roundtrip.lacking,
    "state": state.observe,
    "steps": steps.observe,
    "operations": operations.observe,
    "mended": mended.observe,
    "backward": backward.observe,
    "rounding": rounding.observe,
    "reached": reached.observe,
}


def serve(channel_fd: int, about: dict[str, Any]) -> None:
    """Runs one side. about: path, config, model, factory, kwargs, renames, seed, device, scratch; and for the
    self-test fault (see `perturb`) and watch (whether to note which lines run)."""
    pid = os.getpid()
    os.set_inheritable(channel_fd, False)
    channel = socket.socket(fileno=channel_fd)
    if about["device"] == "cpu" or not torch.cuda.is_available():  # a GPU's driver looks at /proc/self itself
        processes.keep_private()
    os.chdir(about["path"])
    sys.path.insert(0, about["path"])
    sys.argv = ["llavavit-verify"]
    _plain_arithmetic()
    roots = [about["path"]]
    builder = Builder(about)
    if about.get("watch"):
        reached.watch([about["path"], about["scratch"]])
    for line in _lines(channel):
        ask = json.loads(line)
        torch.set_num_threads(ask["threads"])
        fd = None
        try:
            result = OPERATIONS[ask["op"]](builder, ask["args"])
            arrays = result.pop("arrays", None)
            fd = None if arrays is None else pack(arrays)
            peaks = {"memory": environment.peak_memory(), "device_memory": environment.peak_device_memory()}
            line = _line({"key": ask["key"], "result": result, **peaks})
        except BaseException as error:
            line = _line({"key": ask["key"], "fault": faults.describe(error, roots)})
            with contextlib.suppress(BaseException):
                error.__traceback__ = None  # its frames hold tensors
            builder.release()  # a pass that was cut short may have left the model changed
        if os.getpid() != pid:
            os._exit(0)  # model code forked; the copy must not speak for the side
        _send(channel, line, fd)


def _plain_arithmetic() -> None:
    """On a GPU float32 means float32, not TF32 with its 10 bits, and a kernel is chosen alike each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _lines(channel: socket.socket) -> Iterator[bytes]:
    pending = b""
    while chunk := channel.recv(65_536):
        pending += chunk
        *lines, pending = pending.split(b"\n")
        yield from lines


def _send(channel: socket.socket, line: bytes, fd: int | None) -> None:
    """Sends an answer and, with its first byte, the file descriptor of its arrays, which is then closed."""
    if fd is not None:
        socket.send_fds(channel, [line[:1]], [fd])
        os.close(fd)
        line = line[1:]
    channel.sendall(line)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=str).encode() + b"\n"
