"""Exact arithmetic: float32 islands in model code, lifted to float64.

Model code often computes parts in float32 on purpose (`.float()`, `softmax(dtype=torch.float32)`, float32 buffers). In
a float64 run these leave a floor near 1e-7 that hides small faults and flags harmless rewrites. Under `exact()` every
operation that would make a narrower float makes a float64 instead, in construction and in forward, and the count of
such operations is reported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from . import dispatched

WIDE = {
    **dict.fromkeys((torch.float32, torch.float16, torch.bfloat16), torch.float64),
    **dict.fromkeys((torch.complex64, torch.complex32), torch.complex128),
}
"""What a narrower type becomes."""


@dataclass
class Lifted:
    """How many operations were lifted to float64."""

    count: int = 0


class _LiftOperations(TorchDispatchMode):  # type: ignore[misc]
    def __init__(self, lifted: Lifted) -> None:
        super().__init__()
        self.lifted = lifted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("dtype") in WIDE:
            kwargs = {**kwargs, "dtype": WIDE[kwargs["dtype"]]}
            self.lifted.count += 1
        if not func._schema.is_mutable and (_has_narrow(args) or _has_narrow(kwargs.values())):
            args, kwargs = tree_map_only(torch.Tensor, self._widen, (args, kwargs))
        return dispatched.run(func, args, kwargs)

    def _widen(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype in WIDE:
            self.lifted.count += 1
            return tensor.to(WIDE[tensor.dtype])
        return tensor


def _has_narrow(values: Iterable[Any]) -> bool:
    """Whether a narrower float tensor is among an operation's arguments. Most have none, and this runs for each one."""
    return any(
        value.dtype in WIDE
        if isinstance(value, torch.Tensor)
        else isinstance(value, list | tuple) and _has_narrow(value)
        for value in values
    )


class _LiftLiterals(TorchFunctionMode):  # type: ignore[misc]
    """`torch.tensor([0.1], dtype=torch.float32)` rounds before any operation is dispatched; this is where it is seen."""

    def __init__(self, lifted: Lifted) -> None:
        super().__init__()
        self._lifted = lifted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kwargs and func in (torch.tensor, torch.as_tensor) and kwargs.get("dtype") in WIDE:
            kwargs = {**kwargs, "dtype": WIDE[kwargs["dtype"]]}
            self._lifted.count += 1
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def exact(enabled: bool) -> Iterator[Lifted]:
    """Within, narrower floats become float64. Yields the running count."""
    lifted = Lifted()
    if not enabled:
        yield lifted
        return
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _LiftLiterals(lifted), _LiftOperations(lifted):
            yield lifted
    finally:
        torch.set_default_dtype(default)


def nudge(tensor: torch.Tensor, seed: int, sign: int = 1) -> None:
    """Moves every element by one unit in the last place, in place, up or down by a seeded pattern.

    tensor: float64 or float32, any shape. Zeros stay zero. A second call with sign=-1 restores it to the
    bit, but for the smallest number of the dtype, which one step down makes a zero like any other; drawn weights are
    far above that.
    """
    bits = tensor.view(torch.int64 if tensor.dtype == torch.float64 else torch.int32)
    generator = torch.Generator().manual_seed(seed)
    rows, rest = torch.ones((), dtype=bits.dtype), torch.ones((), dtype=bits.dtype)
    for axis, size in enumerate(bits.shape):
        signs = torch.randint(0, 2, (size,), generator=generator, dtype=bits.dtype) * 2 - 1
        if axis:
            rest = rest.unsqueeze(-1) * signs
        else:
            rows = signs.reshape(-1, *[1] * (bits.ndim - 1))
    zeros = tensor == 0 if torch.count_nonzero(tensor) < tensor.numel() else None
    kept = None if zeros is None else tensor[zeros]  # zeros have a sign
    # One pass over a tensor that can be as large as the model: outer product and sum at once.
    bits.addcmul_(rows.to(bits.device), rest.to(bits.device), value=sign)
    if zeros is not None:
        tensor[zeros] = kept
