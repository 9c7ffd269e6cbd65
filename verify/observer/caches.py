"""What a side's own modules remember between calls.

One process runs a model in several arithmetics. A table that was made in one of them and is kept at the level of a module,
by `functools.lru_cache` or in a dictionary, would be used in the next one: there it is rounded, or is exact, as no run of
the model by itself would have it. So what is kept of tensors is forgotten wherever a model is made.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from . import locate

KEPT = (torch.Tensor, np.ndarray, nn.Module)
"""What is forgotten. A module is a method's `self`: no model may outlive the next one's making."""

DEEPEST = 6
"""How far in a cache's containers tensors are looked for."""


class Caches:
    """Caches in the modules under `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._first: dict[int, set[Any]] = {}

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Within and after, nothing that was kept before; after, nothing that was kept within."""
        self._forget()
        try:
            yield
        finally:
            self._forget()

    def _forget(self) -> None:
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType) and self._own(module):
                for value in list(vars(module).values()):
                    self._forget_in(value)

    def _own(self, module: ModuleType | None) -> bool:
        return locate.is_own(getattr(module, "__file__", None) or "", self._root)

    def _forget_in(self, value: Any) -> None:
        if inspect.isclass(value) and self._own(sys.modules.get(value.__module__)):
            for attribute in vars(value).values():
                _cleared(getattr(attribute, "__func__", attribute))
        elif type(value) is dict:
            # What stands there before anything was made is the code's own and no cache.
            first = self._first.setdefault(id(value), set(value))
            for key in [k for k, kept in value.items() if k not in first and _holds(kept, DEEPEST)]:
                del value[key]
        else:
            _cleared(value)


def _cleared(function: Any) -> None:
    """Empties a function of `functools.lru_cache` or `functools.cache` that keeps tensors."""
    clear = getattr(function, "cache_clear", None)
    if callable(clear) and any(_holds(kept, DEEPEST) for kept in gc.get_referents(function)):
        clear()


def _holds(value: Any, depth: int) -> bool:
    """Whether it is a tensor or holds one in nested containers."""
    if isinstance(value, KEPT):
        return True
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return depth > 0 and any(_holds(item, depth - 1) for item in inside)
