"""Where modules, their plain settings and their buffers were made: the user's source lines, noted while a model is built."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from . import dispatched, locate
from .frames import OWN, frame_of, kind_of

MOST_FRAMES = 12
PLAIN = (bool, int, float, str)


class _Writes(TorchDispatchMode):  # type: ignore[misc]
    """Within, notes where tensors are written in place: of a buffer that is made empty and filled, the line that fills
    it says more than the one that registers it. last: by tensor, the stack of the last write by the user's own code."""

    def __init__(self, stack: Callable[[], list[list[Any]]]) -> None:
        super().__init__()
        self.last: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._stack = stack

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor):
            self.last[args[0]] = self._stack()
        return dispatched.run(func, args, kwargs)


class Origins:
    """For each module built under `recording`: the stack that made it, and those that set its attributes."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._made: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._set: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._filled: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._registered: WeakIdKeyDictionary = WeakIdKeyDictionary()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        make, assign, register = nn.Module.__init__, nn.Module.__setattr__, nn.Module.register_buffer
        parameter = nn.Module.register_parameter

        def made(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            self._made.setdefault(module, self._stack())
            make(module, *args, **kwargs)

        def assigned(module: nn.Module, name: str, value: Any) -> None:
            held = isinstance(value, torch.Tensor) and name not in module.__dict__.get("_buffers", {})
            if held or isinstance(value, (*PLAIN, nn.Module)) or callable(value):
                self._set.setdefault(module, {})[name] = self._stack()
            assign(module, name, value)

        def registered(module: nn.Module, name: str, *args: Any, **kwargs: Any) -> None:
            stack = self._set.setdefault(module, {})[name] = self._stack()
            self._registered.setdefault(module, {})[name] = stack
            register(module, name, *args, **kwargs)

        def parametrised(module: nn.Module, name: str, *args: Any, **kwargs: Any) -> None:
            self._set.setdefault(module, {})[name] = self._stack()
            parameter(module, name, *args, **kwargs)

        with (
            mock.patch.object(nn.Module, "__init__", made),
            mock.patch.object(nn.Module, "__setattr__", assigned),
            mock.patch.object(nn.Module, "register_buffer", registered),
            mock.patch.object(nn.Module, "register_parameter", parametrised),
            _Writes(self._stack) as writes,
        ):
            yield
        for module in list(self._made):
            for name, buffer in module.__dict__.get("_buffers", {}).items():
                if buffer is not None and (stack := writes.last.get(buffer)):
                    self._set.setdefault(module, {})[name] = stack
            for name, parameter in module.__dict__.get("_parameters", {}).items():
                if parameter is not None and (stack := writes.last.get(parameter)):
                    self._filled.setdefault(module, {})[name] = stack

    def _stack(self) -> list[list[Any]]:
        found: list[list[Any]] = []
        frame: Any = sys._getframe(2)  # what is not the side's own is passed over
        while frame is not None and len(found) < MOST_FRAMES:
            if kind_of(frame.f_code, self.root) == OWN:
                found.append(frame_of(frame.f_code, frame.f_lineno, frame.f_lasti, self.root))
            frame = frame.f_back
        return found

    def line(self, module: nn.Module, name: str) -> dict[str, Any] | None:
        """The user's line that last set what a module calls `name`; else the one that made the module."""
        return _innermost(self._set.get(module, {}).get(name) or self._made.get(module))

    def registered(self, module: nn.Module, name: str) -> dict[str, Any] | None:
        """The user's line that last registered a buffer; else the one that `line` gives."""
        return _innermost(self._registered.get(module, {}).get(name)) or self.line(module, name)

    def filled(self, module: nn.Module, name: str) -> dict[str, Any] | None:
        """The user's line that last wrote a parameter while the model was made; else the one that `line` gives."""
        return _innermost(self._filled.get(module, {}).get(name)) or self.line(module, name)

    def of(self, model: nn.Module) -> dict[str, Any]:
        """By module path: class, own (whether it is the side's own), compiled ("scripted" where no line of it is seen,
        "compiled" where torch.compile made it, or ""), made (stack, innermost first), set {attribute: [value or None,
        stack]}, holds (its own parameters), registered {buffer: stack}."""
        return {
            path: {
                "class": module.original_name if _scripted(module) else type(module).__name__,
                "own": _scripted(module) or bool((place := locate.of_class(module, self.root)) and place["own"]),
                "compiled": "scripted" if _scripted(module) else "compiled" if _compiled(module) else "",
                "made": self._made.get(module, []),
                "set": {
                    name: [_plain(module.__dict__.get(name)), stack]
                    for name, stack in self._set.get(module, {}).items()
                    if stack
                },
                "holds": [name for name, parameter in module.named_parameters(recurse=False)],
                "registered": {name: stack for name, stack in self._registered.get(module, {}).items() if stack},
            }
            for path, module in model.named_modules()
        }


def _innermost(stack: list[list[Any]] | None) -> dict[str, Any] | None:
    if not stack:
        return None
    file, line, function, *_ = stack[0]
    return {"file": file, "line": line, "name": function, "own": True}


def _scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _compiled(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None


def _plain(value: Any) -> Any:
    return value if isinstance(value, PLAIN) else None
