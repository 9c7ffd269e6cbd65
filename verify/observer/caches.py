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
        self._seen: set[str] = set()
        self._others: dict[str, ModuleType] = {}
        """Modules that are not the side's own: there are thousands, and each making of a model would ask again."""
        self._kept = False

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Within and after, nothing that was kept before; after, nothing that was kept within."""
        if self._kept:
            yield
            return
        self._forget()
        try:
            yield
        finally:
            self._forget()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Within, what is kept stays from one model to the next, as where nobody looks; before and after, see `apart`."""
        with self.apart():
            self._kept = True
            try:
                yield
            finally:
                self._kept = False

    def _forget(self) -> None:
        for name, module in list(sys.modules.items()):
            if self._others.get(name) is module:
                continue
            if not isinstance(module, ModuleType) or not self._own(module):
                self._others[name] = module
                continue
            for value in list(vars(module).values()):
                self._forget_in(value, new=name not in self._seen)
            self._seen.add(name)

    def _own(self, module: ModuleType | None) -> bool:
        return locate.is_own(getattr(module, "__file__", None) or "", self._root)

    def _forget_in(self, value: Any, *, new: bool) -> None:
        """Forgets what a module's attribute keeps, or an attribute of its class. new: the module was not looked at before."""
        inside = inspect.isclass(value) and self._own(sys.modules.get(value.__module__))
        for kept in list(vars(value).values()) if inside else [value]:
            if type(kept) is dict:
                self._emptied(kept, new=new)
            else:
                _cleared(getattr(kept, "__func__", kept))

    def _emptied(self, held: dict[Any, Any], *, new: bool) -> None:
        """Takes tensors out of a dictionary, but for those that stood there when its module was first looked at: they are
        the code's own and no cache. A dictionary that a module got later is one from the start."""
        first = self._first.setdefault(id(held), set(held) if new else set())
        for key in [k for k, kept in held.items() if k not in first and _holds(kept, DEEPEST)]:
            del held[key]


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
