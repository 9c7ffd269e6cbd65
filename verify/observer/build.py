"""Builds a side's model: on the meta device first, then one drawn float64 (or float32) copy of its parameters."""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from ..weights import compose, draw
from . import leftover, perturb
from .arithmetic import exact
from .caches import Caches
from .faults import ImportFailed, Unresolved, Unusable
from .origins import Origins

NOTED = frozenset({"dtype", "torch_dtype", "architectures", "transformers_version", "auto_map", "attn_implementation"})
"""What transformers notes in a configuration while it makes a model."""

DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve(target: str, root: str, key: str) -> Any:
    """The object that "package.module:Name" names. root: the side's folder; key: the spec's key, for messages.

    Raises Unresolved where there is no such module or name, ImportFailed where importing it raised.
    """
    module_name, _, attribute = target.partition(":")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ImportFailed(target) from error
        near = _near(error.name.rpartition(".")[2], _modules(os.path.join(root, *error.name.split(".")[:-1])))
        text = f"`{key}: {target}`: there is no module {error.name!r}, neither in {root} nor installed{near}"
        raise Unresolved(text) from None
    except Exception as error:
        raise ImportFailed(target) from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [n for n in dir(found) if not n.startswith("_")]
            raise Unresolved(f"`{key}: {target}`: {module_name} has no {attribute!r}{_near(part, public)}") from None
    return found


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)[:5]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _modules(folder: str) -> list[str]:
    """Names that can be imported from a folder."""
    with contextlib.suppress(OSError):
        names = [n.removesuffix(".py") for n in os.listdir(folder) if n.endswith(".py") or "." not in n]
        return [n for n in names if n.isidentifier() and n != "__init__"]
    return []


@contextlib.contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Within, modules keep their parameters on the meta device (no memory, no initialisation) and buffers real."""
    register = nn.Module.register_parameter
    seen = WeakIdKeyDictionary()  # one that another object had to stand for; registered twice it stays one parameter

    def register_on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and not parameter.is_meta and not is_lazy(parameter):
            if parameter not in seen:
                meta = holding(parameter, parameter.detach().to("meta"))
                if meta is not parameter:
                    seen[parameter] = meta
            parameter = seen.get(parameter, parameter)
        register(module, name, parameter)

    with mock.patch.object(nn.Module, "register_parameter", register_on_meta):
        yield


def holding(parameter: nn.Parameter, values: torch.Tensor) -> nn.Parameter:
    """`parameter` with other values of its shape, of any dtype and device: the same object, so that lists, closures and
    hooks that hold it hold what the model holds. Another object with its hooks and attributes where torch exchanges no
    values, as with one that its own recurrent layers refer to weakly."""
    new = values.as_subclass(type(parameter)).requires_grad_(parameter.requires_grad)
    new.__dict__.update(parameter.__dict__)
    hooks = parameter._backward_hooks, parameter._post_accumulate_grad_hooks
    with contextlib.suppress(RuntimeError):
        torch.utils.swap_tensors(parameter, new)
        new = parameter
    new._backward_hooks, new._post_accumulate_grad_hooks = hooks  # they are the values' and not the object's
    return new


@dataclass
class Built:
    """A model ready to run: eval mode, weights drawn, on its device.

    exact: whether it was built, and is to run, in exact arithmetic. note: why not, and why it has real parameters.
    lifted: operations in a narrower type that were computed in float64 while it was built.
    """

    model: nn.Module
    dtype: torch.dtype
    exact: bool
    note: str = ""
    nudged: bool = False
    lifted: int = 0


@dataclass(frozen=True)
class _Casts:
    """What parameters and float buffers are made: parameters by way of `through`; buffers as they are if None."""

    parameters: torch.dtype
    through: torch.dtype
    buffers: torch.dtype | None


class Builder:
    """Makes this side's configuration and model. Holds one built model at a time."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.origins = Origins(settings["path"])
        self.caches = Caches(settings["path"])
        self._changed: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._key = ""
        self._built: Built | None = None
        self._outlined: tuple[str, nn.Module, str] | None = None
        self.made: type[nn.Module] | None = None
        """The class of the last model that was made."""
        self.left: dict[str, dict[str, str]] = {"import": {}, "construction": {}}
        """What imports, and constructors, left changed of the process; see `leftover`."""

    @property
    def device(self) -> torch.device:
        """Where forward passes run. Raises Unusable where this machine has no such device."""
        return _device(self.settings["device"])

    def config_class(self) -> Any:
        return self._resolve("config") if self.settings["config"] else None

    def _resolve(self, key: str) -> Any:
        with leftover.noting(self.left["import"]):
            return resolve(self.settings[key], self.settings["path"], f"{self.settings['role']}.{key}")

    def config_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """A variant's configuration in this side's own words."""
        names = self.settings["renames"]["config"]
        return {names.get(key, key): value for key, value in values.items()}

    def construct(self, values: dict[str, Any], *, traced: bool = False) -> nn.Module:
        """A fresh model for configuration `values`, as the spec says it is made. traced: `origins` notes the lines that
        make it, which costs time, and few asks want to know them."""
        with self.origins.recording() if traced else contextlib.nullcontext():
            return self._constructed(values)

    def _constructed(self, values: dict[str, Any]) -> nn.Module:
        kwargs = self.settings["kwargs"]
        key = "model" if self.settings["model"] else "factory"
        make = self._resolve(key)
        config_class = self.config_class()
        values = self.config_values(values)
        config = config_class(**values) if config_class else None
        before = _plain_values(config)
        with self.caches.apart(), leftover.noting(self.left["construction"]):
            model = make(config, **kwargs) if config_class else make(**{**values, **kwargs})
        if not isinstance(model, nn.Module):
            text = f"`{self.settings['role']}.{key}: {self.settings[key]}` gave a {type(model).__name__}"
            raise Unusable(f"{text}; expected a torch.nn.Module, so that it can be called and compared")
        self.made = type(model)
        kept = [config, getattr(model, "config", None)]
        self._changed[model] = _moved(before, *(_plain_values(one) for one in kept if type(one) is type(config)))
        if lazy := [name for name, parameter in model.named_parameters() if is_lazy(parameter)]:
            text = f"parameter {lazy[0]} has no shape before a first call, as torch's Lazy modules have none; give a `factory` "
            text += "that calls the model once, or modules of known sizes"
            raise Unusable(text)
        if fault := self.settings.get("fault"):
            perturb.apply(model, fault)
        return model

    def changed(self, model: nn.Module) -> dict[str, list[Any]]:
        """Entries of its configuration that making a model changed, as [before, after]; of the one that it was given, or
        of the one that it keeps."""
        return dict(self._changed.get(model, {}))

    def outline(self, values: dict[str, Any], *, traced: bool = False) -> tuple[nn.Module, str]:
        """A model with parameters on the meta device and real buffers, and a note where that was not possible. traced: as
        for `construct`."""
        torch.manual_seed(self.settings["seed"])
        try:
            with parameters_on_meta():
                model = self.construct(values, traced=traced)
            if not any(tensor.is_meta for tensor in _computed(model)):
                return model, ""
            reason = "a buffer was computed from parameters"
        except Unusable:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:200]
        return self.construct(values, traced=traced), f"built with real parameters ({reason})"

    def outlined(self, values: dict[str, Any]) -> tuple[nn.Module, str]:
        """A traced outline to look at: the last one is kept for the next that asks for the same values. Not to be changed."""
        key = json.dumps(values, sort_keys=True)
        if self._outlined is None or self._outlined[0] != key:
            self._outlined = None
            self._outlined = (key, *self.outline(values, traced=True))
        return self._outlined[1:]

    def built(
        self,
        values: dict[str, Any],
        arithmetic: str,
        recipes: dict[str, Any] | None = None,
        *,
        native: bool = False,
        through: str = "",
        apart: str = "",
    ) -> Built:
        """The model for `values` with drawn weights. The last one is kept; another key replaces it.

        recipes: how the candidate's parameters are made of the reference's, by name; see `weights.compose`.
        native: buffers keep what the constructor gives them while the arithmetic's dtype is torch's default, as they do
        when transformers loads a model. through: an arithmetic to whose dtype the weights are rounded first. apart: what else
        the model is run in: a table that it keeps from a call in float32 is not what it would make under autocast.

        `origins` knows the lines that made it, unless it is native or its weights went `through` another format.
        """
        recipes = recipes if recipes and self.settings["role"] == "candidate" else {}
        key = json.dumps([values, arithmetic, recipes, native, through, apart], sort_keys=True)
        if key != self._key or self._built is None:
            self.release()
            if native:
                self._built = self._build_native(values, DTYPES[arithmetic], recipes)
            else:
                casts = DTYPES[arithmetic], DTYPES[through or "fp32"]
                self._built = self._build(values, *casts, recipes, traced=not through)
            self._key = key
        return self._built

    def again(self, built: Built, args: dict[str, Any]) -> Built:
        """The model that `built` is, made anew by constructors that may be others by now, with its parameters.

        args: those of `built`. It is not kept.
        """
        recipes = args.get("recipes") if self.settings["role"] == "candidate" else None
        held = dict(built.model.named_parameters(remove_duplicate=False))
        dtype = DTYPES[args["arithmetic"]]
        return self._build(args["values"], dtype, DTYPES["fp32"], recipes or {}, held)

    def release(self) -> None:
        """Drops the model that is held, so that two never stand in memory together."""
        self._built, self._key, self._outlined = None, "", None
        gc.collect()

    def _build_native(self, values: dict[str, Any], dtype: torch.dtype, recipes: dict[str, Any]) -> Built:
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model, note = self.outline(values)
        except Unusable:
            raise
        except Exception:  # an initialiser that torch lacks in this dtype; loading would not have run it
            torch.set_default_dtype(default)
            model, note = self.outline(values)
        finally:
            torch.set_default_dtype(default)
        self._fill(model, _Casts(parameters=dtype, through=dtype, buffers=None), recipes)
        model.eval()
        return Built(model=model, dtype=dtype, exact=False, note=note)

    def _build(
        self,
        values: dict[str, Any],
        dtype: torch.dtype,
        through: torch.dtype,
        recipes: dict[str, Any],
        held: dict[str, nn.Parameter] | None = None,
        *,
        traced: bool = False,
    ) -> Built:
        lift, failed, count = dtype == torch.float64, "", 0
        try:
            with exact(lift) as lifted:
                model, note = self.outline(values, traced=traced)
            count = lifted.count
        except Unusable:
            raise
        except Exception as error:  # a model that checks its dtypes; the plain build tells whether the fault is its own
            lift, failed = False, f"{type(error).__name__}: {error}"[:300]
            model, note = self.outline(values, traced=traced)
        self._fill(model, _Casts(parameters=dtype, through=through, buffers=dtype), recipes, held)
        model.eval()
        told = "; ".join(filter(None, (failed, note)))
        return Built(model=model, dtype=dtype, exact=lift, note=told, lifted=count)

    def _fill(
        self,
        model: nn.Module,
        casts: _Casts,
        recipes: dict[str, Any],
        held: dict[str, nn.Parameter] | None = None,
    ) -> None:
        """Gives every parameter its drawn values, shared ones once, and moves buffers. held: parameters that are drawn.

        A shared one is drawn by the first of its names in alphabetical order of the reference's words: the order of
        definitions must not matter. A saved buffer that holds one value throughout is one that training or its user has
        not filled yet, and would hide whether it is used: it is drawn too.
        """
        words: dict[int, tuple[str, str]] = {}
        for full, parameter in model.named_parameters(remove_duplicate=False):
            word = recipes[full]["sources"][0] if full in recipes else full
            words[id(parameter)] = min(words.get(id(parameter), (word, full)), (word, full))
        made: dict[int, nn.Parameter] = {}
        for prefix, module in model.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is None:
                    continue
                if id(parameter) not in made:
                    full = words[id(parameter)][1]
                    known = (held or {}).get(full)
                    if known is not None and known.shape == parameter.shape:
                        values = known.detach()
                    else:
                        values = self._drawn(parameter, full, casts, recipes.get(full))
                    made[id(parameter)] = holding(parameter, values)
                module._parameters[name] = made[id(parameter)]
            for name, buffer in module._buffers.items():
                if buffer is None:
                    continue
                full = f"{prefix}.{name}" if prefix else name
                if name not in module._non_persistent_buffers_set and _unfilled(buffer):
                    buffer = self._statistic(buffer, full, recipes.get(full)).to(buffer.dtype)
                target = casts.buffers if casts.buffers and buffer.is_floating_point() else buffer.dtype
                module._buffers[name] = buffer.to(device=self.device, dtype=target)

    def _statistic(self, buffer: torch.Tensor, name: str, recipe: Any) -> torch.Tensor:
        """Drawn values for a constant: around zero where it is zero, else of its sign and between about half of it and one
        and a half times as much. A single one may be a share or a count: it is not below zero, nor larger than it was."""
        seed = self.settings["seed"]
        if recipe is None:
            drawn = draw(seed, f"{name}.bias", buffer.shape)
        else:
            drawn = compose(seed, {**recipe, "sources": [f"{source}.bias" for source in recipe["sources"]]})
        change = torch.from_numpy(drawn).double().reshape(buffer.shape).to(buffer.device)
        held = buffer.double()
        single = buffer.numel() == 1
        return torch.where(
            held == 0, change.abs() if single else change, held * (1 + (-change.abs() if single else change))
        )

    def _drawn(self, parameter: nn.Parameter, name: str, casts: _Casts, recipe: Any) -> torch.Tensor:
        if not parameter.is_floating_point():
            text = f"parameter {name} is {parameter.dtype}; only floating point parameters can be drawn"
            if parameter.is_complex():
                text += "; keep its real and imaginary part as two parameters, or as one with an axis of two"
            raise Unusable(text)
        seed = self.settings["seed"]
        values = torch.from_numpy(draw(seed, name, parameter.shape) if recipe is None else compose(seed, recipe))
        return values.to(self.device, casts.through).to(casts.parameters)


def _computed(model: nn.Module) -> Iterator[torch.Tensor]:
    """Buffers, and tensors that modules keep as plain attributes; a weight that torch's weight norm computes anew at each
    call, and that belongs to a graph, is none."""
    yield from model.buffers()
    for module in model.modules():
        kept = (value for value in vars(module).values() if isinstance(value, torch.Tensor))
        yield from (tensor for tensor in kept if not tensor.requires_grad and not isinstance(tensor, nn.Parameter))


def _unfilled(buffer: torch.Tensor) -> bool:
    """Whether a buffer holds one finite value throughout. A single whole number past one may be a size: it stays."""
    if not buffer.is_floating_point() or buffer.numel() == 0 or buffer.is_meta:
        return False
    first = buffer.flatten()[0].item()
    size = buffer.numel() == 1 and first not in (0.0, 1.0) and float(first).is_integer()
    return math.isfinite(first) and not size and bool((buffer == first).all())


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise Unusable("--device cuda: this interpreter's torch sees no CUDA device; use --device cpu or auto")
    return torch.device(name)


def _plain_values(config: Any) -> dict[str, Any]:
    """What a configuration holds, as text by name, less what transformers notes there while it makes a model."""
    try:
        held = config.to_dict() if callable(getattr(config, "to_dict", None)) else dict(vars(config))
        return {k: repr(v) for k, v in held.items() if not k.startswith("_") and k not in NOTED}
    except Exception:  # one that cannot be told says nothing
        return {}


def _moved(before: dict[str, Any], *after: dict[str, Any]) -> dict[str, list[Any]]:
    """Entries that are others afterwards."""
    found = {k: [before[k], late[k]] for late in after for k in before if k in late and late[k] != before[k]}
    return dict(sorted(found.items()))
