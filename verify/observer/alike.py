"""Functions that devices do in different steps: what is recorded of them is the same wherever a model runs.

Attention is one operation on a CPU, and in float64 on a GPU the arithmetic that it stands for; an RMS norm is the other way
round. A record in which a line's operations depend on the device would place a fault on one and not on the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
TAKEN = frozenset({functional.scaled_dot_product_attention, functional.rms_norm, torch.rms_norm})
ROUNDED = 1e-15
"""Relative difference between two ways of writing the usual scale, such as `d**-0.5` and `1 / sqrt(d)`."""
Whole = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""Runs an operation, by its arguments, and records it without the operations that it is made of."""


class Alike(TorchFunctionMode):  # type: ignore[misc]
    """Within, attention is handed to `whole`, and an RMS norm in float64 is done in its parts."""

    def __init__(self, whole: Whole) -> None:
        super().__init__()
        self._whole = whole

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in TAKEN or any(map(_wrapped, (*args, *kwargs.values()))):
            return func(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return self._whole(ATTENTION, *_attention(*args, **kwargs))
        parts = _norm(*args, **kwargs)
        return func(*args, **kwargs) if parts is None else parts


def _wrapped(value: Any) -> bool:
    """Whether a tensor is one that a transform such as `vmap` looks through: what it holds is seen further down alone."""
    return isinstance(value, torch.Tensor) and bool(torch._C._functorch.is_functorch_wrapped_tensor(value))


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of attention with all that a caller left out, so that two calls that ask for the same read the same."""
    usual = 1 / math.sqrt(max(query.shape[-1], 1))
    scale = usual if scale is None or math.isclose(scale, usual, rel_tol=ROUNDED) else scale
    return (query, key, value, attn_mask, dropout_p, is_causal), {"scale": scale, "enable_gqa": enable_gqa}


def _norm(
    input: torch.Tensor,
    normalized_shape: list[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor | None:
    """An RMS norm in the steps in which a CPU does it; None for another dtype than float64, whose rounding would be another."""
    if input.dtype != torch.float64 or (weight is not None and weight.dtype != torch.float64):
        return None
    axes = list(range(input.ndim - len(normalized_shape), input.ndim))
    mean = input.pow(2).mean(axes, keepdim=True)
    scaled = input * (mean + (torch.finfo(input.dtype).eps if eps is None else eps)).rsqrt()
    return scaled if weight is None else scaled * weight
