"""Which step loses a tensor on its way through a checkpoint, after `roundtrip` found that one does: the state dict, the
file, the loading, or what runs after it. And which of the user's lines is at work there."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from . import dispatched, locate
from .build import Builder
from .frames import OWN, kind_of
from .initialisation import digest
from .roundtrip import folder_of, halves, hub_style, loaded, named, saved_in
from .values import dtype_name

Place = dict[str, Any] | None
IN_STATE = ("_save_to_state_dict", "state_dict")
IN_FILE = ("save_pretrained",)
IN_LOADING = ("_load_from_state_dict", "_checkpoint_conversion_mapping", "from_pretrained")
IGNORED = {"file": ("_keys_to_ignore_on_save",), "loading": ("_keys_to_ignore_on_load_unexpected",)}
UNTOLD = ("_keys_to_ignore_on_load_missing",)


class _Written(TorchDispatchMode):  # type: ignore[misc]
    """Within, notes which of the user's lines wrote each storage last; None where what wrote it was not called by one."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root
        self._last: dict[int, tuple[Any, Place]] = {}
        """By address. The storages are kept, so that no address comes to be another's."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor) and not args[0].is_meta:
            storage = args[0].untyped_storage()
            self._last[storage.data_ptr()] = storage, locate.of_caller(self._root)
        return dispatched.run(func, args, kwargs)

    def by(self, tensor: torch.Tensor) -> Place:
        """The line that wrote a tensor last."""
        if tensor.is_meta:
            return None
        return self._last.get(tensor.untyped_storage().data_ptr(), (None, None))[1]


class _Watch:
    """What the user's code does while a model is loaded."""

    def __init__(self, kind: Any, root: str) -> None:
        self.root = root
        self.written = _Written(root)
        self._kind = kind
        self._ended: WeakIdKeyDictionary = WeakIdKeyDictionary()

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        initialise = getattr(self._kind, "_init_weights", None)

        def followed(model: nn.Module, module: nn.Module, *args: Any) -> Any:
            assert initialise is not None
            with self._following(module):
                return initialise(model, module, *args)

        patched = mock.patch.object(self._kind, "_init_weights", followed) if callable(initialise) else None
        with patched or contextlib.nullcontext(), self.written:
            yield

    @contextlib.contextmanager
    def _following(self, module: nn.Module) -> Iterator[None]:
        """Within, notes at which line the first of the user's functions that is called returns."""
        before = sys.gettrace()
        first: list[Any] = []

        def local(frame: Any, event: str, _: Any) -> Any:
            if event == "return":
                self._ended[module] = locate.of_frame(frame, self.root)
            return local

        def called(frame: Any, event: str, _: Any) -> Any:
            if first or kind_of(frame.f_code, self.root) != OWN:
                return None
            first.append(frame)
            return local

        sys.settrace(called)
        try:
            yield
        finally:
            sys.settrace(before)

    def of(self, model: nn.Module, name: str) -> dict[str, Place]:
        """written: the line that wrote a tensor last. ended: where `_init_weights` ended when it was given its module."""
        tensor = named(model).get(name)
        with contextlib.suppress(AttributeError):
            holder = model.get_submodule(name.rpartition(".")[0])
            return {
                "written": None if tensor is None else self.written.by(tensor),
                "ended": self._ended.get(holder),
            }
        return {"written": None, "ended": None}


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), seed, lacking (whether to look at checkpoints that lack tensors instead).

    Reads what `save` wrote. Returns tensors {name: facts} of every parameter, buffer and saved key. Of a whole
    checkpoint: held (whether the model has it), persistent, tied (names that share its tensor), made (the line), state,
    file and loaded ("same", "other", "absent" or "unset"; each against the step before it, and loaded against the model
    that was saved), types (dtype in the model, the file, and after loading), told (keys of the load report that list it)
    and overrides {state, file, loading, untold: the user's method or attribute that decides there}. Of both kinds, by
    `_Watch.of`: written and ended; of those that lack some, of the one that lacks it, and kept: written, of the other.
    """
    kind = hub_style(builder, args)
    if args["lacking"]:
        return {"tensors": _of_lacking(builder, kind, args["seed"])}
    return {"tensors": _of_whole(builder, kind, args["values"])}


def _of_whole(builder: Builder, kind: Any, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = _before(builder, values)
    watch = _Watch(kind, builder.settings["path"])
    with watch.on():
        model, report = loaded(kind, folder_of(builder))
    after = named(model)
    for name, one in found.items():
        one["loaded"] = _compared(after.get(name), one["digest"])
        one["types"].append(dtype_name(after[name]) if name in after else "")
        one["told"] = sorted(k for k, names in report.items() if not isinstance(names, str) and name in map(str, names))
        one |= watch.of(model, name)
        del one["digest"]
    return found


def _before(builder: Builder, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is known of each tensor until it is loaded, with its digest in the model."""
    model = builder.built(values, "fp32").model
    held, state, file = named(model), model.state_dict(), saved_in(folder_of(builder))
    shared: dict[int, list[str]] = {}
    for name, tensor in held.items():
        shared.setdefault(id(tensor), []).append(name)
    found = {}
    for name in dict.fromkeys([*held, *file]):
        path, _, own = name.rpartition(".")
        module = model.get_submodule(path) if name in held else model
        tensor = held.get(name)
        found[name] = {
            "held": tensor is not None,
            "persistent": own not in module._non_persistent_buffers_set,
            "tied": [other for other in shared.get(id(tensor), []) if other != name],
            "made": builder.origins.line(module, own) if tensor is not None else None,
            "digest": "" if tensor is None else digest(tensor),
            "state": _compared(state.get(name), "" if tensor is None else digest(tensor)),
            "file": _compared(file.get(name), digest(state[name]) if name in state else ""),
            "types": [dtype_name(where[name]) if name in where else "" for where in (held, file)],
            "overrides": overrides(type(model), type(module), name, builder.settings["path"]),
        }
    builder.release()
    return found


def _of_lacking(builder: Builder, kind: Any, seed: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for folder, kept in halves(builder):
        watch = _Watch(kind, builder.settings["path"])
        torch.manual_seed(seed)
        with watch.on():
            model, _ = loaded(kind, folder)
        for name in named(model):
            about = found.setdefault(name, {"written": None, "ended": None, "kept": None})
            if name in kept:
                about["kept"] = watch.of(model, name)["written"]
            else:
                about |= watch.of(model, name)
            about["overrides"] = overrides(type(model), nn.Module, name, builder.settings["path"])
    return found


def _compared(tensor: torch.Tensor | None, before: str) -> str:
    if tensor is None:
        return "absent"
    if tensor.is_meta:
        return "unset"
    return "same" if digest(tensor) == before else "other"


def overrides(kind: Any, holder: Any, name: str, root: str) -> dict[str, Place]:
    """By step the first attribute of the model's class, or of the module's that holds a tensor, that the user wrote and
    that decides what becomes of it there."""

    def first(methods: tuple[str, ...], keys: tuple[str, ...] = ()) -> Place:
        matching = [k for k in keys if _matches(getattr(kind, k, None), name)]
        places = (place for k in (*matching, *methods) for one in (holder, kind) if (place := line_of(one, k, root)))
        return next(places, None)

    return {
        "state": first(IN_STATE),
        "file": first(IN_FILE, IGNORED["file"]),
        "loading": first(IN_LOADING, IGNORED["loading"]),
        "untold": first((), UNTOLD),
    }


def _matches(patterns: Any, name: str) -> bool:
    """Whether one of the patterns, or names, is that of a key."""
    if not isinstance(patterns, (list, tuple, set)):
        return False
    with contextlib.suppress(re.error):
        return any(name == str(one) or re.search(str(one), name) for one in patterns)
    return False


def line_of(kind: Any, attribute: str, root: str) -> Place:
    """Where the user's code gives a class an attribute, in the first class of its order that has it; else None."""
    holder = next((base for base in kind.__mro__ if attribute in vars(base)), None)
    place = locate.of(holder, root) if holder is not None else None
    if holder is None or place is None or not place["own"]:
        return None
    value = inspect.unwrap(getattr(vars(holder)[attribute], "__func__", vars(holder)[attribute]))
    if inspect.isfunction(value):
        return locate.of(value, root)
    with contextlib.suppress(OSError, SyntaxError):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(holder))).body
        for node in getattr(tree, "body", ()):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
                return {**place, "line": place["line"] + node.lineno - 1}
    return place
