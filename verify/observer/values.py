"""Outputs and tensors as plain data."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

SMALL = 2**18
"""Up to this many elements the patterns of `project` are kept for the next tensor of that size."""

DEEPEST, MOST = 12, 4096
"""So deep are objects in an output looked into, and at so many of their attributes."""

CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
LEAVES = (*CODE, torch.Tensor, nn.Module, np.ndarray, np.generic, enum.Enum, torch.Generator)
"""What holds no outputs of its own, or is one."""


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


def access(output: Any) -> str:
    """How parts of an output are had, in words; empty for a tensor and for what is no container."""
    if isinstance(output, Mapping):
        return "keys, attributes and positions" if ordered(output) else "keys"
    if hasattr(output, "_fields"):
        return "attributes and positions"
    if isinstance(output, list | tuple):
        return f"positions ({'list' if isinstance(output, list) else 'tuple'})"
    return "attributes" if dataclasses.is_dataclass(output) and not isinstance(output, type) else ""


def containers(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted paths of nested containers, the outermost's empty, and how their parts are had."""
    if how := access(value):
        yield path, how
        for name, item in _items(value, [MOST]) or []:
            yield from containers(item, f"{path}.{name}" if path else name)


class Array(torch.Tensor):  # type: ignore[misc]
    """A numpy array of an output: its values as a tensor, and described as what it is."""


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested outputs with their dotted paths, in order. Fields that are None are leaves too.

    Of a plain object, such as a cache or a distribution, the attributes; see `_attributes`. One of which nothing can be
    read, that holds itself, or that lies deeper or is larger than DEEPEST and MOST allow, is a leaf.
    """
    yield from _leaves(value, path, (), [MOST])


def _leaves(value: Any, path: str, inside: tuple[int, ...], left: list[int]) -> Iterator[tuple[str, Any]]:
    """inside: ids of what encloses the value. left: how many attributes of objects may still be looked at."""
    items = None if id(value) in inside else _items(value, left if len(inside) < DEEPEST else [0])
    if items is None:
        yield path or "output", _leaf(value)
        return
    for name, item in items:
        yield from _leaves(item, f"{path}.{name}" if path else name, (*inside, id(value)), left)


def _items(value: Any, left: list[int]) -> list[tuple[str, Any]] | None:
    """What a value holds, by name; None of a leaf."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(str(k), v) for k, v in value.items()]
    if hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, list | tuple):
        return [(str(i), v) for i, v in enumerate(value)]
    found = _attributes(value)
    if len(found) > left[0]:
        return None
    left[0] -= len(found)
    return found or None


def _attributes(value: Any) -> list[tuple[str, Any]]:
    """What a plain object holds, in alphabetical order, read without running its code: private attributes only where
    the class is an installed one, since of their own each side may have others. Neither functions nor classes, nor what
    is kept of a property that was computed once: whether anybody asked for it is no part of the object."""
    if isinstance(value, LEAVES):
        return []
    kind = type(value)
    own = getattr(value, "__dict__", None)
    held = {n: v for n, v in own.items() if not hasattr(getattr(kind, n, None), "__get__")} if type(own) is dict else {}
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with contextlib.suppress(AttributeError):
                held[name] = object.__getattribute__(value, name)
    installed = not _users(kind)
    return [
        (name, held[name])
        for name in sorted(held)
        if (installed or not name.startswith("_")) and not isinstance(held[name], CODE)
    ]


def _users(kind: type) -> bool:
    """Whether a class is of no installed package."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return kind.__module__ != "builtins" and not {"site-packages", "dist-packages"} & set(file.split(os.sep))


def _leaf(value: Any) -> Any:
    """A leaf as a tensor or a plain value, where it is an array, a number or a name in another dress."""
    if isinstance(value, np.ndarray):
        with contextlib.suppress(TypeError):  # torch has no such dtype
            return torch.from_numpy(np.array(value)).as_subclass(Array)
    if isinstance(value, np.generic) and not isinstance(value, float):
        return _leaf(value.item())
    if isinstance(value, complex):
        return torch.tensor(value, dtype=torch.complex128)
    if isinstance(value, enum.Enum):
        return value.name
    return str(value) if isinstance(value, torch.dtype | torch.device) else value


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with every element written out, where its layout leaves some out."""
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Values as float64 or int64 (complex as [..., 2]), contiguous, on the CPU, apart from every other tensor."""
    tensor = dense(tensor)
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
    """A leaf without its values: kind, and shape and dtype (with a layout that is not the common one) or the plain value;
    and the class, if it is no tensor."""
    if isinstance(value, torch.Tensor):
        layout = "" if value.layout is torch.strided else f" {str(value.layout).removeprefix('torch.')}"
        found = {"kind": "tensor", "shape": list(value.shape), "dtype": dtype_name(value) + layout}
        return {**found, "class": "ndarray"} if isinstance(value, Array) else found
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


@contextlib.contextmanager
def empty_is_nan() -> Iterator[None]:
    """Within, `torch.empty` gives NaN, or the largest whole number: torch does so where it is to be deterministic."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
