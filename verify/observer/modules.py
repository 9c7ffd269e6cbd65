"""The second pass: fingerprints of what goes into and out of every module call, in execution order.

A fingerprint is small and made two ways: sums of powers, which do not depend on layout (a transposed or reshaped copy
has the same), and seeded random projections, which do.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn

from . import locate
from .arithmetic import exact
from .build import Builder
from .forward import call, load_inputs, prepared
from .values import flatten, project

PROJECTIONS = 4


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`, and optionally lines [[file, line]], of the side's own folder. Returns calls [{path, index,
    class, depth, inputs, outputs, location, own_location}] and ran: of each of these lines whether it ran.

    inputs and outputs: fingerprints of the tensors among them, see `fingerprint`. index counts the calls of one path.
    own_location is the nearest enclosing class in the side's own folder.
    """
    built = prepared(builder, args)
    inputs = load_inputs(args, built, builder)
    recorder = _Recorder(built.model, builder.settings["path"])
    try:
        with torch.no_grad(), exact(built.exact), _ran(builder.settings["path"], args.get("lines", [])) as ran:
            call(builder, built.model, inputs)
    finally:
        recorder.remove()
    return {"calls": recorder.calls, "ran": ran}


@contextlib.contextmanager
def _ran(root: str, lines: list[list[Any]]) -> Iterator[list[bool]]:
    """Within, notes which of some lines run, in this thread."""
    ran = [False] * len(lines)
    wanted: dict[str, dict[int, int]] = {}
    for place, (file, line) in enumerate(lines):
        wanted.setdefault(os.path.join(root, file), {})[line] = place
    if not lines:
        yield ran
        return

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        within = wanted.get(frame.f_code.co_filename)
        if within is None:
            return None

        def at(frame: FrameType, event: str, argument: Any) -> Any:
            if frame.f_lineno in within:
                ran[within[frame.f_lineno]] = True
            return at

        return at(frame, event, argument)

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        yield ran
    finally:
        sys.settrace(before)


class _Recorder:
    def __init__(self, model: nn.Module, root: str) -> None:
        self.calls: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self._count: dict[str, int] = {}
        self._handles = []
        owners = _owners(model, root)
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it takes no hooks
            self._handles += [
                module.register_forward_pre_hook(self._enter(path, module, root, owners[path]), with_kwargs=True),
                module.register_forward_hook(self._leave, with_kwargs=True, always_call=False),
            ]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, path: str, module: nn.Module, root: str, own: Any) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            index = self._count[path] = self._count.get(path, -1) + 1
            call = {
                "path": path,
                "index": index,
                "class": type(module).__name__,
                "parent": self._open[-1]["order"] if self._open else None,
                "order": len(self.calls),
                "inputs": fingerprints((args, kwargs)),
                "outputs": [],
                "location": locate.of_class(module, root),
                "own_location": own,
            }
            self.calls.append(call)
            self._open.append(call)

        return hook

    def _leave(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._open.pop()["outputs"] = fingerprints(output)


def _owners(model: nn.Module, root: str) -> dict[str, Any]:
    """For each module path, the location of the nearest enclosing module whose class lies under `root`."""
    owners: dict[str, Any] = {}
    for path, module in model.named_modules():
        place = locate.of_class(module, root)
        parent = path.rpartition(".")[0] if path else None
        owners[path] = place if place and place["own"] else owners.get(parent) if parent is not None else place
    return owners


def fingerprints(value: Any) -> list[dict[str, Any]]:
    return [fingerprint(leaf) for _, leaf in flatten(value) if isinstance(leaf, torch.Tensor)]


def fingerprint(tensor: torch.Tensor) -> dict[str, Any]:
    """shape; norm: root of the sum of squares; sums: [Σx, Σ|x|, Σx³]/scale, free of layout; projections: [4], not."""
    with torch.no_grad():
        x = tensor.detach().double().flatten()
        norm = x.norm().item()
        scale = norm if norm > 0 else 1.0
        unit = x / scale
        sums = [unit.sum(), unit.abs().sum(), (unit**3).sum() * len(x) ** 0.5]
        projections = project(unit, PROJECTIONS)
        return {
            "shape": list(tensor.shape),
            "norm": norm,
            "sums": [s.item() for s in sums],
            "projections": projections.tolist(),
        }
