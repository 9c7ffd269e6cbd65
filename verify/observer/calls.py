"""One call of a model in eval mode, after which it is as it was.

What a model draws is injected, as in train mode (see `randomness`), so that two implementations that draw alike give the
same outputs; what it writes into its buffers is undone, so that no ask depends on those before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .build import Builder
from .randomness import Injected


def repeatable(builder: Builder, model: nn.Module, call: Callable[[], Any], *, again: bool = False) -> Any:
    """What `call`, which runs the model, gives. again: what it gives the second time in a row, if it draws anything or
    writes into its buffers; what else a model keeps lasts from one ask to the next."""
    buffers = _Buffers(model)
    before = _generators(builder.device)
    try:
        output = call()
        if not all(map(torch.equal, before, _generators(builder.device))):
            buffers.restore()
            with Injected(builder.settings["seed"], builder.settings["path"]):
                output = call()
                return call() if again else output
        return call() if again and buffers.changed() else output
    finally:
        buffers.restore()


def _generators(device: torch.device) -> list[torch.Tensor]:
    """The states of the generators that a model on this device draws from."""
    states: list[torch.Tensor] = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


class _Buffers:
    """What a model's buffers hold, and the tensors that they are."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module, name, buffer, buffer.clone())
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    def changed(self) -> bool:
        return any(module._buffers.get(n) is not b or not _same(b, values) for module, n, b, values in self._kept)

    def restore(self) -> None:
        with torch.no_grad():
            for module, name, buffer, values in self._kept:
                if not _same(buffer, values):
                    buffer.resize_(values.shape).copy_(values)
                if module._buffers.get(name) is not buffer:
                    module._buffers[name] = buffer


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in shape and every value, where NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
