"""Handing an operation on from a dispatch mode, so that it does what it does without one."""

from __future__ import annotations

import functools
from typing import Any

import torch

WIDEST = {bool: torch.bool, int: torch.int64, float: torch.float64, complex: torch.complex128}
"""What torch makes a number of Python of."""


def run(func: Any, args: Any, kwargs: Any = None) -> Any:
    """What the operation gives.

    A number among tensors, such as a constant of a traced graph, is a tensor to torch, and reaches a mode as a number.
    Most operations take none in a tensor's place: it becomes a tensor again.
    """
    places = _tensors(func)
    if any(place < len(args) and type(args[place]) in WIDEST for place in places):
        args = tuple(_tensor(value) if place in places else value for place, value in enumerate(args))
    return func(*args, **(kwargs or {}))


@functools.cache
def _tensors(func: Any) -> tuple[int, ...]:
    """Where an operation takes a tensor and no number in its place."""
    if torch._C._should_allow_numbers_as_tensors(func._schema.name.partition("::")[2]):
        return ()
    return tuple(n for n, argument in enumerate(func._schema.arguments) if str(argument.type) == "Tensor")


def _tensor(value: Any) -> Any:
    made_of = WIDEST.get(type(value))
    return value if made_of is None else torch.scalar_tensor(value, dtype=made_of)
