"""Functions that devices do in different steps: what is recorded of them is the same wherever a model runs.

Attention is one operation on a CPU, and in float64 on a GPU the arithmetic that it stands for; an RMS norm is the other way
round. A record in which a line's operations depend on the device would place a fault on one and not on the other. Scripted
code is not reached: there no function is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
GROUPED = any(argument.name == "enable_gqa" for argument in ATTENTION._schema.arguments)
"""Whether this torch has attention of grouped queries, which 2.4 has not."""
NORMS = frozenset({functional.rms_norm, torch.rms_norm})
TAKEN = NORMS | {functional.scaled_dot_product_attention, functional.multi_head_attention_forward}
PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
"""Classes of tensors that do nothing in ways of their own."""
ROUNDED = 1e-15
"""Relative difference between two ways of writing the usual scale, such as `d**-0.5` and `1 / sqrt(d)`."""
Whole = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""Runs an operation, by its arguments, and records it without the operations that it is made of."""


class Alike(TorchFunctionMode):  # type: ignore[misc]
    """Within, attention is handed to `whole`, and, with `parts`, an RMS norm in float64 is done in its parts."""

    def __init__(self, whole: Whole, *, parts: bool = True) -> None:
        super().__init__()
        self._whole, self._parts = whole, parts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in TAKEN or not PLAIN.issuperset(types) or any(map(_wrapped, (*args, *kwargs.values()))):
            return func(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            return self._heads(*args, **kwargs)
        parts = _norm(*args, **kwargs) if self._parts else None
        return func(*args, **kwargs) if parts is None else parts

    def _attention(self, *args: Any, **kwargs: Any) -> Any:
        return self._whole(ATTENTION, *_asked(*args, **kwargs))

    def _heads(self, *args: Any, **kwargs: Any) -> Any:
        """A mode is off while it handles a call, so that the attention in this one is reached by its name."""
        before = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = self._attention
        try:
            return functional.multi_head_attention_forward(*args, **kwargs)
        finally:
            functional.scaled_dot_product_attention = before


def _wrapped(value: Any) -> bool:
    """Whether a tensor is one that a transform such as `vmap` looks through: what it holds is seen further down alone."""
    return isinstance(value, torch.Tensor) and bool(torch._C._functorch.is_functorch_wrapped_tensor(value))


def _asked(
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
    more = {"enable_gqa": enable_gqa} if GROUPED else {}
    return (query, key, value, attn_mask, dropout_p, is_causal), {"scale": scale, **more}


def _norm(
    input: torch.Tensor,
    normalized_shape: list[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor | None:
    """An RMS norm in the steps in which a CPU does it.

    None for another dtype than float64, whose rounding would be another, and for what torch refuses.
    """
    shape = tuple(normalized_shape)
    fits = bool(shape) and tuple(input.shape[-len(shape) :]) == shape and (weight is None or weight.shape == shape)
    if not fits or any(t is not None and t.dtype != torch.float64 for t in (input, weight)):
        return None
    mean = input.pow(2).mean(list(range(input.ndim - len(shape), input.ndim)), keepdim=True)
    scale = torch.ops.aten.add_.Scalar(mean, torch.finfo(input.dtype).eps if eps is None else eps).rsqrt()
    return input * scale if weight is None else input * scale * weight
