"""Faults of live modules, for the self-test: a model is made as ever, then one module works otherwise than it says.

What is changed lies outside the modules (in how `nn.Module.__call__` runs them) wherever it can, so that no attribute,
name or class tells of it. A fault is a JSON object: kind, path (of the module), name (of a parameter, buffer or
attribute), other (another path or name), value.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

Call = Callable[..., Any]
Around = Callable[[Call, nn.Module, tuple[Any, ...], dict[str, Any]], Any]
"""Runs a module: given how it runs by itself, the module, and its arguments."""

_around: WeakIdKeyDictionary = WeakIdKeyDictionary()
_original: Call = nn.Module.__call__


def apply(model: nn.Module, fault: Mapping[str, Any]) -> None:
    """Makes a fault in a model. Another model of the same code may not have the place, such as a fifth layer."""
    paths = dict(model.named_modules(remove_duplicate=False))
    module, other = paths.get(fault["path"]), fault.get("other", "")
    if module is None or (other and other not in paths and other.rpartition(".")[0] not in paths):
        return
    name = fault.get("name", "")
    if name and name not in (*module._parameters, *module._buffers, *vars(module)):
        return
    BY_KIND[fault["kind"]](model, module, fault)


def _run_through(module: nn.Module, around: Around) -> None:
    nn.Module.__call__ = _called
    _around[module] = around


def _called(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    around = _around.get(module)
    if around is None:
        return _original(module, *args, **kwargs)
    return around(_original, module, args, kwargs)


def _first(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with its first floating tensor changed."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, tuple) and value and not hasattr(value, "_fields"):
        return (_first(value[0], change), *value[1:])
    if isinstance(value, list) and value:
        return [_first(value[0], change), *value[1:]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = dataclasses.fields(value)[0].name
        setattr(value, name, _first(getattr(value, name), change))
    elif isinstance(value, dict) and value:
        name = next(iter(value))
        value[name] = _first(value[name], change)
    return value


def _tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first floating tensor among arguments."""
    return next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.is_floating_point()), None)


def _coarse(tensor: Tensor) -> Tensor:
    return tensor.bfloat16().to(tensor.dtype)


def _centred_rows(tensor: Tensor) -> Tensor:
    return tensor - 0.01 * tensor.mean(0, keepdim=True) if tensor.ndim and len(tensor) > 1 else tensor


OUTPUTS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "output-detached": lambda t, m: t.detach(),
    "output-coarse": lambda t, m: _coarse(t),
    "output-scaled": lambda t, m: t * (1 + 1e-4),
    "output-negated": lambda t, m: -t,
    "output-positions-rolled": lambda t, m: t.roll(1, 1) if t.ndim > 2 else t.roll(1, -1),
    "output-rows-rolled": lambda t, m: t.roll(1, 0),
    "output-features-rolled": lambda t, m: t.roll(1, -1),
    "output-clamped": lambda t, m: t.clamp(max=0.5 * float(t.detach().abs().amax())),
    "output-centred": lambda t, m: t - t.mean(-1, keepdim=True),
    "output-gradient-halved": lambda t, m: 0.5 * t + 0.5 * t.detach(),
    "output-dropped-in-training": lambda t, m: F.dropout(t, 0.1, m.training),
    "output-noisy": lambda t, m: t + 1e-5 * torch.randn_like(t),
    "output-leaks-across-batch": lambda t, m: _centred_rows(t),
}
"""What becomes of a module's first floating output."""

HARMLESS_OUTPUTS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "output-copied": lambda t, m: t.clone(),
    "output-other-strides": lambda t, m: t.transpose(0, -1).contiguous().transpose(0, -1) if t.ndim > 1 else t,
    "output-kept": lambda t, m: t,
}

INPUTS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "input-coarse": lambda t, m: _coarse(t),
    "input-scaled": lambda t, m: t * 1.01,
    "input-shifted": lambda t, m: t + 1e-3,
}

HARMLESS_INPUTS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {"input-copied": lambda t, m: t.clone()}


def _parameter_transposed(p: Tensor) -> Tensor:
    return p.transpose(0, 1)


PARAMETERS: dict[str, Callable[[Tensor], Tensor]] = {
    "parameter-scaled": lambda p: p * 1.001,
    "parameter-unused": lambda p: torch.zeros_like(p) if p.ndim == 1 else p * 0,
    "parameter-transposed": _parameter_transposed,
    "parameter-rolled": lambda p: p.roll(1, 0),
    "parameter-coarse": _coarse,
    "parameter-detached": lambda p: p.detach(),
    "parameter-one-value": lambda p: torch.cat([p.flatten()[:1] * 1.5, p.flatten()[1:]]).view(p.shape),
}
"""What a module computes with in place of a parameter that it holds unchanged."""

BUFFERS: dict[str, Callable[[Tensor], Tensor]] = {
    "buffer-coarse": _coarse,
    "buffer-scaled": lambda b: b * 1.001,
    "buffer-reversed": lambda b: b.flip(-1) if b.ndim else -b,
}


def _output(change: Callable[[Tensor, nn.Module], Tensor]) -> Around:
    return lambda call, module, args, kwargs: _first(call(module, *args, **kwargs), lambda t: change(t, module))


def _input(change: Callable[[Tensor, nn.Module], Tensor]) -> Around:
    def around(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = _tensor(args, kwargs)
        given = [change(a, module) if a is first else a for a in args]
        named = {k: change(v, module) if v is first else v for k, v in kwargs.items()}
        return call(module, *given, **named)

    return around


def _residual(sign: int) -> Around:
    """The module's input is added to its output once more, or taken from it."""

    def around(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = _tensor(args, kwargs)
        output = call(module, *args, **kwargs)
        if given is None:
            return output
        return _first(output, lambda t: t + sign * given if t.shape == given.shape else t)

    return around


def _skipped(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = _tensor(args, kwargs)
    return _first(call(module, *args, **kwargs), lambda t: given if given is not None and t.shape == given.shape else t)


def _twice(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    once = call(module, *args, **kwargs)
    first = _tensor((once,) if isinstance(once, Tensor) else tuple(once), {})
    given = _tensor(args, kwargs)
    if first is None or given is None or first.shape != given.shape:
        return once
    return call(
        module,
        *[first if a is given else a for a in args],
        **{k: first if v is given else v for k, v in kwargs.items()},
    )


def _stale() -> Around:
    """The first output of each shape is kept and given again."""
    kept: dict[Any, Tensor] = {}
    return _output(lambda t, m: kept.setdefault((tuple(t.shape), t.dtype, m.training), t.detach()))


def _drifting() -> Around:
    """Every call gives a little more than the one before."""
    count = [0]

    def change(tensor: Tensor, module: nn.Module) -> Tensor:
        count[0] += 1
        return tensor * (1 + 1e-6 * count[0])

    return _output(change)


def _in_mode(training: bool) -> Around:
    """The module and all in it run in one mode, whatever the model's."""

    def around(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        modes = {m: m.training for m in module.modules()}
        module.train(training)
        try:
            return call(module, *args, **kwargs)
        finally:
            for inner, mode in modes.items():
                inner.training = mode

    return around


def _as(other: nn.Module) -> Around:
    return lambda call, module, args, kwargs: call(other, *args, **kwargs)


@contextlib.contextmanager
def _holding(module: nn.Module, place: str, name: str, value: Any) -> Iterator[None]:
    held = getattr(module, place) if place else vars(module)
    kept = held[name]
    held[name] = value
    try:
        yield
    finally:
        held[name] = kept


def _computing_with(place: str, name: str, change: Callable[[Any], Any]) -> Around:
    """While the module runs, what it holds under a name is another. place: its dictionary of parameters, or ""."""

    def around(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        held = (getattr(module, place) if place else vars(module))[name]
        with _holding(module, place, name, change(held)):
            return call(module, *args, **kwargs)

    return around


def _setting(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    setattr(module, fault["name"], fault["value"])


def _hidden_setting(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    _run_through(module, _computing_with("", fault["name"], lambda _: fault["value"]))


def _buffer(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, nn.Module, Mapping[str, Any]], None]:
    def make(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
        module._buffers[fault["name"]] = change(module._buffers[fault["name"]])

    return make


def _hidden_buffer(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    _run_through(module, _computing_with("_buffers", fault["name"], lambda b: b * 1.001))


def _buffer_drifts(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    def around(call: Call, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if module.training:
            with torch.no_grad():
                module._buffers[fault["name"]].mul_(1.01)
        return call(module, *args, **kwargs)

    _run_through(module, around)


def _persistence(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    module._non_persistent_buffers_set ^= {fault["name"]}


def _tied(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    owner, _, name = fault["other"].rpartition(".")
    module._parameters[fault["name"]] = model.get_submodule(owner)._parameters[name]


def _untied(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    parameter = module._parameters[fault["name"]]
    module._parameters[fault["name"]] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)


def _frozen(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    module._parameters[fault["name"]].requires_grad_(False)


def _swapped(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    other = model.get_submodule(fault["other"])
    _run_through(module, _as(other))
    _run_through(other, _as(module))


def _shared(model: nn.Module, module: nn.Module, fault: Mapping[str, Any]) -> None:
    _run_through(module, _as(model.get_submodule(fault["other"])))


Maker = Callable[[nn.Module, nn.Module, Mapping[str, Any]], None]


def _running(make: Callable[[], Around]) -> Maker:
    return lambda model, module, fault: _run_through(module, make())


def _with_parameter(change: Callable[[Tensor], Tensor]) -> Maker:
    return lambda model, module, fault: _run_through(module, _computing_with("_parameters", fault["name"], change))


BY_KIND: dict[str, Maker] = {
    **{k: _running(lambda c=c: _output(c)) for k, c in {**OUTPUTS, **HARMLESS_OUTPUTS}.items()},  # type: ignore[misc]
    **{k: _running(lambda c=c: _input(c)) for k, c in {**INPUTS, **HARMLESS_INPUTS}.items()},  # type: ignore[misc]
    **{k: _with_parameter(c) for k, c in PARAMETERS.items()},
    **{k: _buffer(c) for k, c in BUFFERS.items()},
    "output-stale": _running(_stale),
    "output-drifting": _running(_drifting),
    "residual-lost": _running(lambda: _residual(-1)),
    "residual-doubled": _running(lambda: _residual(1)),
    "module-skipped": _running(lambda: _skipped),
    "module-twice": _running(lambda: _twice),
    "always-evaluating": _running(lambda: _in_mode(False)),
    "always-training": _running(lambda: _in_mode(True)),
    "modules-swapped": _swapped,
    "layer-shared": _shared,
    "setting-changed": _setting,
    "setting-hidden": _hidden_setting,
    "buffer-hidden": _hidden_buffer,
    "buffer-drifts": _buffer_drifts,
    "buffer-persistence": _persistence,
    "parameters-tied": _tied,
    "parameter-untied": _untied,
    "parameter-frozen-live": _frozen,
}
"""How each kind is made. `verify/selftest/modules.py` chooses the places."""
