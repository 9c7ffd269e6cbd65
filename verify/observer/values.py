"""Outputs and tensors as plain data."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from safetensors.torch import save

SMALL = 2**18
"""Up to this many elements the patterns of `project` are kept for the next tensor of that size."""


def container(output: Any) -> str:
    """The kind of thing that forward returned: tensor, mapping (a ModelOutput is one), sequence, dataclass, other."""
    if isinstance(output, torch.Tensor):
        return "tensor"
    if isinstance(output, Mapping):
        return "mapping"
    if isinstance(output, list | tuple):
        return "mapping" if hasattr(output, "_fields") else "sequence"
    return "dataclass" if dataclasses.is_dataclass(output) else type(output).__name__


def ordered(output: Any) -> bool:
    """Whether fields can be had by number: a sequence, a named tuple, a ModelOutput."""
    return isinstance(output, list | tuple) or hasattr(output, "to_tuple")


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested outputs with their dotted paths, in order. Fields that are None are leaves too."""
    items: list[tuple[str, Any]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        items = [(str(k), v) for k, v in value.items()]
    elif hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif isinstance(value, list | tuple):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        yield path or "output", value
        return
    for name, item in items:
        yield from flatten(item, f"{path}.{name}" if path else name)


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Values as float64 or int64 (complex as [..., 2]), contiguous, on the CPU, apart from every other tensor."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    wide = torch.float64 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to("cpu", wide, copy=True).contiguous()


def pack(tensors: dict[str, torch.Tensor]) -> int:
    """A file descriptor of anonymous memory with the tensors as safetensors, see `plain`.

    No name leads to it, so that no other process finds it, and it needs no room on a disk.
    """
    data = save({name: plain(tensor) for name, tensor in tensors.items()})
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("arrays")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
    except BaseException:
        os.close(fd)
        raise
    return fd


def describe(value: Any) -> dict[str, Any]:
    """A leaf without its values: kind, and shape and dtype or the plain value."""
    if isinstance(value, torch.Tensor):
        return {"kind": "tensor", "shape": list(value.shape), "dtype": dtype_name(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return {"kind": "value", "value": value}
    return {"kind": "other", "value": type(value).__name__}


def dtype_name(tensor: torch.Tensor) -> str:
    """float32 for torch.float32."""
    return str(tensor.dtype).removeprefix("torch.")


def project(x: torch.Tensor, count: int) -> torch.Tensor:
    """Products of x [N] with `count` seeded patterns of signs, float64 [count]. One N has the same patterns anywhere."""
    signs = (_signs if len(x) <= SMALL else _signs.__wrapped__)(len(x), count)
    return torch.stack([row.to(x.device, torch.float64) @ x for row in signs])


@lru_cache(maxsize=64)
def _signs(size: int, count: int) -> torch.Tensor:
    """Seeded random signs [count, size], int8."""
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 2, (count, size), generator=generator, dtype=torch.int8) * 2 - 1
