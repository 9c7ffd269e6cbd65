"""The second pass: every dispatched operation with prints of its values and the user's source lines that asked for it.

A value is what a tensor holds at one moment. Values are numbered in the order of execution, which is the same in every
pass of a deterministic model; so a later pass can capture, watch or replace a value by its number. Views, aliases and
in-place writes are followed through the storage: a write makes new values of all that lies in the storage.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from . import dispatched, prints
from .alike import Alike
from .arithmetic import exact
from .build import Builder
from .forward import call, load_inputs, prepared
from .frames import OWN, frame_of, kind_of
from .randomness import Injected
from .training import training
from .values import describe, flatten, plain

MOST_OPERATIONS = 200_000
MOST_FRAMES = 10
LARGEST_SKETCHED = 2**26
LARGEST_CAPTURE = 2**28
"""Bytes of tensors that one pass captures; what is beyond is left out."""


@dataclass
class Plan:
    """What one pass does. Numbers are those of values; feed is by operation and value read there."""

    record: bool = True
    capture: frozenset[int] = frozenset()
    watch: frozenset[int] = frozenset()
    replace: dict[int, torch.Tensor] = field(default_factory=dict)
    feed: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward` and optionally

    section: of the passes of `training` the one that is repeated, "train" or "even-train", instead of an eval pass.
    printed: parameters that have prints too, because the sides store them differently. given: a safetensors file.
    capture: numbers of values to write; tries: [{replace: [[value, tensor, axes]], feed: [[operation, value, tensor,
    axes]]}], tensor naming one of the file `given`, axes its permutation or None; watch: values whose prints each try
    reports. With tries, each is one pass without a record; without, one recorded pass (with the first of `given_try`).
    """
    built = prepared(builder, args)
    given = load_file(args["given"]) if args.get("given") else {}
    root = builder.settings["path"]
    names = names_of(args, builder.settings["role"])
    section = args.get("section", "")
    arrays: dict[str, torch.Tensor] = {}
    answer: dict[str, Any] = {}

    def run(plan: Plan) -> tuple[Recorder, list[tuple[str, int, list[float]]]]:
        inputs = load_inputs(args, built, builder)
        recorder = Recorder(built.model, inputs, root, plan, names)
        try:
            with torch.no_grad(), as_in(section, builder, built.model), recorder, exact(built.exact):
                output = call(builder, built.model, inputs)
            found = [(path, v) for path, v in flatten(output) if isinstance(v, torch.Tensor)]
            leaves = [(path, recorder.number(v), prints.vector(v)) for path, v in found]
        finally:
            recorder.remove()
        return recorder, leaves

    if args.get("tries") is not None:
        watch = frozenset(args.get("watch", ()))
        results: list[dict[str, Any]] = []
        for index, one in enumerate(args["tries"]):
            plan = Plan(record=False, watch=watch, **_substitutes(one, given))
            try:
                recorder, leaves = run(plan)
            except Exception as error:  # values of another shape can break the model: this try tells nothing
                results.append({"fault": type(error).__name__})
                continue
            arrays[f"outputs.{index}"] = table([row for _, _, row in leaves])
            seen = sorted(recorder.seen)
            arrays[f"watched.{index}"] = table([recorder.seen[n] for n in seen])
            results.append({"outputs": [p for p, _, _ in leaves], "watched": seen})
        answer["tries"] = results
    else:
        plan = Plan(
            record=bool(args.get("record", True)),
            capture=frozenset(args.get("capture", ())),
            **_substitutes(args.get("given_try") or {}, given),
        )
        recorder, leaves = run(plan)
        if plan.record:
            answer |= recorder.graph() | {"outputs": [[p, n] for p, n, _ in leaves]}
            answer["replaced"] = bool(plan.replace or plan.feed)
            answer["origins"] = builder.origins.of(built.model)
            arrays |= recorder.arrays()
        arrays |= {f"value.{n}": t for n, t in recorder.captured.items()}
    tensors = [{"name": n, **describe(t)} for n, t in arrays.items()]
    return {**answer, "tensors": tensors, "arrays": arrays}


@contextlib.contextmanager
def as_in(section: str, builder: Builder, model: nn.Module) -> Iterator[None]:
    """Within, the model is in the mode, and is given the draws, of a section of `training`."""
    if not section:
        yield
        return
    with training(model), Injected(builder.settings["seed"], builder.settings["path"], even=section == "even-train"):
        yield


def names_of(args: dict[str, Any], role: str) -> dict[str, str]:
    """The names by which both sides know parameters that they store alike; "" for one that has prints instead.

    Those that the mapping leaves out have the same name on both sides.
    """
    recipes = args.get("recipes") or {}
    plain = {n: r["sources"][0] for n, r in recipes.items() if len(r["sources"]) == 1 and r["part"] is None}
    if role == "candidate":
        return {name: plain.get(name, "") for name in recipes}
    return {source: "" for n, r in recipes.items() if n not in plain for source in r["sources"]}


def _substitutes(one: dict[str, Any], given: dict[str, torch.Tensor]) -> dict[str, Any]:
    def tensor(name: str, axes: list[int] | None) -> torch.Tensor:
        found = given[name]
        return found if axes is None else found.permute(axes)

    return {
        "replace": {int(value): tensor(name, axes) for value, name, axes in one.get("replace", [])},
        "feed": {(int(op), int(value)): tensor(name, axes) for op, value, name, axes in one.get("feed", [])},
    }


def table(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, prints.WHOLE)


class _Storage:
    """What lies in one storage: the values by layout since the last write, and the operation that wrote."""

    __slots__ = ("layouts", "owner", "writer")

    def __init__(self, owner: Any, writer: int | None, name: str = "") -> None:
        self.owner = owner  # keeps the address taken while it matters for leaves
        self.writer = writer
        self.layouts: dict[Any, int] = {}


class Recorder(TorchDispatchMode):  # type: ignore[misc]
    """Numbers values, and by `plan` records, captures, watches and replaces them."""

    def __init__(
        self, model: nn.Module, inputs: dict[str, Any], root: str, plan: Plan, names: dict[str, str], parts: bool = True
    ) -> None:
        super().__init__()
        self.plan = plan
        self.root = root
        self.captured: dict[int, torch.Tensor] = {}
        self.seen: dict[int, list[float]] = {}
        self._bytes = 0
        self._operations: list[list[Any]] = []
        self._values: list[list[Any]] = []  # shape, kind, leaf, producer, whole (the leaf of a view of all of it)
        self._vectors: dict[int, list[float]] = {}
        self._sketches: dict[int, tuple[torch.Tensor, int]] = {}
        self._waiting = prints.Waiting()
        self._views: dict[int, int] = {}  # by view, what it is a view of all of, whose sketch is its own
        self._storages: dict[int, _Storage] = {}
        self._stacks: dict[Any, int] = {}
        self._stack_list: list[Any] = []
        self._count = 0
        self._paths: list[tuple[str, Any]] = []  # open module calls, and the user's line that made each
        self._calls: dict[str, int] = {}
        self._handles = self._hooks(model)
        self._leaves = {}
        for name, tensor in inputs.items():
            if isinstance(tensor, torch.Tensor):
                self._leaves[_address(tensor)] = ("input", name)
        for name, tensor in model.named_buffers():
            self._leaves[_address(tensor)] = ("buffer", name)
        for name, tensor in model.named_parameters():
            self._leaves[_address(tensor)] = ("parameter", names.get(name, name))
        self._alike = Alike(self._whole, parts=parts)
        self._hidden = False
        """Whether what is dispatched is of an operation that is recorded as one."""
        self.cut = False
        self.random: int | None = None
        """The first operation that drew random numbers."""

    def _hooks(self, model: nn.Module) -> list[Any]:
        """Follows module calls. Global hooks, since a scripted module takes none of its own."""
        paths = {id(module): path for path, module in model.named_modules()}

        def enter(module: nn.Module, args: Any) -> None:
            path = paths.get(id(module))
            if path is not None:
                index = self._calls[path] = self._calls.get(path, -1) + 1
                self._paths.append((f"{path}#{index}", self._user_line(2) if self.plan.record else None))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            if id(module) in paths and self._paths:
                self._paths.pop()

        return [
            register_module_forward_pre_hook(enter),
            register_module_forward_hook(leave, always_call=True),
        ]

    def __enter__(self) -> Recorder:
        super().__enter__()
        self._alike.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._alike.__exit__(*error)
        finally:
            super().__exit__(*error)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    # values

    def number(self, tensor: torch.Tensor) -> int:
        """The number of the value that a tensor holds now."""
        address = _address(tensor)
        storage = self._storages.get(address)
        if storage is None:
            storage = self._storages[address] = _Storage(tensor, None)
        layout = _layout(tensor)
        known = storage.layouts.get(layout)
        if known is None:
            kind, name = self._leaves.get(address, ("constant", "")) if storage.writer is None else ("", "")
            whole = name if kind == "parameter" and tensor.numel() * tensor.element_size() == _size(tensor) else ""
            known = self._new(tensor, storage.writer, f"{kind}:{name}" if kind else "", whole)
            storage.layouts[layout] = known
        return known

    def _new(
        self,
        tensor: torch.Tensor,
        producer: int | None,
        leaf: str = "",
        whole: str = "",
        viewed: tuple[int, torch.Tensor] | None = None,
    ) -> int:
        """Numbers a value. viewed: number and tensor of which it is a view of all there is."""
        number = self._count
        self._count += 1
        if number in self.plan.watch:
            self.seen[number] = prints.vector(tensor)
        if number in self.plan.capture:
            self._bytes += tensor.numel() * 8
            if self._bytes <= LARGEST_CAPTURE:
                self.captured[number] = plain(tensor)
        if self.plan.record:
            kind = "float" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "whole"
            self._values.append([list(tensor.shape), kind, leaf, producer, whole])
            if not whole:
                with torch._C.DisableTorchFunction(), torch.no_grad():
                    self._print(number, tensor, viewed)
        return number

    def _print(self, number: int, tensor: torch.Tensor, viewed: tuple[int, torch.Tensor] | None) -> None:
        small, strided = tensor.numel() <= prints.SMALL, tensor.layout == torch.strided
        if viewed is not None and strided and not tensor.is_complex() and (small or viewed[0] in self._vectors):
            before, source = viewed
            if small:
                self._waiting.add(number, tensor, sketched=False)
                self._views[number] = before
                return
            self._vectors[number] = prints.of_view(tensor, source, self._vectors[before])
            if before in self._sketches:
                self._sketches[number] = self._sketches[before]
            return
        shown = tensor if strided and not tensor.is_complex() else prints.numbers(tensor)
        sketched = strided and tensor.is_floating_point() and 8 <= shown.numel() <= LARGEST_SKETCHED
        if small:
            self._waiting.add(number, shown, sketched)
            return
        self._vectors[number] = prints.vector(shown)
        if sketched:
            self._sketches[number] = prints.sketch(shown)

    # operations

    def before_write(self, tensors: list[torch.Tensor]) -> None:
        """Called with the tensors that the next operation writes to."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return dispatched.run(func, args, kwargs) if self._hidden else self._operation(func, args, kwargs)

    def _whole(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Records an operation as one, whatever it dispatches."""
        self._hidden = True  # what looks at its values is dispatched as well
        try:
            return self._operation(func, args, kwargs)
        finally:
            self._hidden = False

    def _operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        if len(self._operations) >= MOST_OPERATIONS:
            self.cut = True
            return dispatched.run(func, args, kwargs)
        tensors = list(_tensors((args, kwargs)))
        if "lift" in func._schema.name:  # a literal, whose address may have been another's
            for tensor in tensors:
                self._storages.pop(_address(tensor), None)
        index = len(self._operations)
        read = [self.number(t) for t in tensors]
        if self.plan.feed:
            args, kwargs = self._fed(index, args, kwargs)
        draws = self.plan.record and self.random is None and torch.Tag.nondeterministic_seeded in func.tags
        before = _generators() if draws else []  # attention without dropout has the tag and draws nothing
        written = _written(func, args, kwargs) if func._schema.is_mutable else []
        if written:
            self.before_write(written)
        output = dispatched.run(func, args, kwargs)
        if draws and _generators() != before:
            self.random = index
        output = self._replaced_views(output, written)
        made = [self._made(t, index, tensors, read, written) for t in _tensors(output)]
        if written:
            for tensor in written:
                storage = self._storages.get(_address(tensor))
                if storage is not None and storage.writer != index:  # nothing of it came back as an output
                    made.append(self._made(tensor, index, tensors, read, written))
        if self.plan.record:
            path, caller = self._paths[-1] if self._paths else ("", None)
            inside = caller is not None and caller == self._user_line(2)
            record = [str(func), read, made, self._stack(), path, _scalars(args, kwargs), inside]
        else:
            record = []
        self._operations.append(record)
        return output

    def _made(
        self, tensor: torch.Tensor, index: int, tensors: list[torch.Tensor], read: list[int], written: list[Any]
    ) -> int:
        """The new value of an output: a view's lies in its base's storage, a write's replaces all that was there."""
        address = _address(tensor)
        aliased = any(_address(t) == address for t in tensors)
        storage = self._storages.get(address)
        if any(_address(t) == address for t in written):
            if storage is None or storage.writer != index:
                storage = self._storages[address] = _Storage(None, index)
        elif not aliased or storage is None:
            storage = self._storages[address] = _Storage(None, index)
        whole, viewed = "", None
        if self.plan.record and aliased and not written:
            for t, number in zip(tensors, read, strict=True):
                if _address(t) == address and t.numel() == tensor.numel() and t.dtype == tensor.dtype:
                    whole, viewed = self._values[number][4], (number, t)
        number = self._new(tensor, index, "", whole, viewed)
        storage.layouts[_layout(tensor)] = number
        return number

    def _replaced_views(self, output: Any, written: list[torch.Tensor]) -> Any:
        """The output with planned replacements. Their numbers are those that `_made` is about to give."""
        if not self.plan.replace:
            return output
        outputs = list(_tensors(output))
        for place, tensor in enumerate(outputs):
            wanted = self.plan.replace.get(self._count + place)
            if wanted is None:
                continue
            values = wanted.to(tensor.device, tensor.dtype).reshape(tensor.shape)
            if written:
                tensor.copy_(values)
            else:
                fresh = torch.empty_like(tensor).copy_(values)
                output = _swapped(output, tensor, fresh)
        return output

    def _fed(self, index: int, args: Any, kwargs: Any) -> tuple[Any, Any]:
        def swap(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                wanted = self.plan.feed.get((index, self.number(value)))
                if wanted is None:
                    return value
                return torch.empty_like(value).copy_(wanted.to(value.device, value.dtype).reshape(value.shape))
            if isinstance(value, list | tuple):
                return type(value)(swap(v) for v in value)
            return value

        return swap(args), {k: swap(v) for k, v in kwargs.items()}

    def _user_line(self, depth: int) -> Any:
        """The innermost place in the user's code."""
        frame: Any = sys._getframe(depth)
        while frame is not None:
            if kind_of(frame.f_code, self.root) == OWN:
                return frame.f_code, frame.f_lineno, frame.f_lasti
            frame = frame.f_back
        return None

    def _stack(self) -> int:
        """Number of the stack of source lines that led here, innermost first."""
        frames: list[Any] = []
        frame: Any = sys._getframe(2)
        while frame is not None and len(frames) < MOST_FRAMES:
            if kind_of(frame.f_code, self.root):
                frames.append((frame.f_code, frame.f_lineno, frame.f_lasti))
            frame = frame.f_back
        key = tuple(frames)
        if key not in self._stacks:
            self._stacks[key] = len(self._stack_list)
            self._stack_list.append([frame_of(code, line, at, self.root) for code, line, at in frames])
        return int(self._stacks[key])

    # what was recorded

    def graph(self) -> dict[str, Any]:
        return {
            "operations": self._operations,
            "stacks": self._stack_list,
            "values": self._values,
            "cut": self.cut,
            "random": self.random,
        }

    def arrays(self) -> dict[str, torch.Tensor]:
        with torch._C.DisableTorchFunction():
            self._waiting.make()
        self._vectors |= self._waiting.vectors
        self._sketches |= self._waiting.sketches
        for view, before in self._views.items():  # in order: a view of a view comes later
            if before in self._sketches:
                self._sketches[view] = self._sketches[before]
        missing = [float("nan")] * prints.WHOLE
        vectors = table([self._vectors.get(number, missing) for number in range(len(self._values))])
        starts, bounds, hashes = [0], [], []
        for number in range(len(self._values)):
            kept, bound = self._sketches.get(number, (torch.zeros(0, dtype=torch.int64), 0))
            hashes.append(kept)
            bounds.append(bound)
            starts.append(starts[-1] + len(kept))
        return {
            "vectors": vectors,
            "hashes": torch.cat(hashes) if hashes else torch.zeros(0, dtype=torch.int64),
            "starts": torch.tensor(starts, dtype=torch.int64),
            "bounds": torch.tensor(bounds, dtype=torch.int64),
        }


def _generators() -> list[bytes]:
    """The states of torch's generators: of the CPU and of each GPU."""
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
    return [state.numpy().tobytes() for state in states]


def _address(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # sparse or wrapped: it is its own storage
        return -id(tensor)


def _layout(tensor: torch.Tensor) -> Any:
    try:
        return tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype
    except (RuntimeError, NotImplementedError):
        return tuple(tensor.shape), tensor.dtype


def _size(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage().nbytes())
    except (RuntimeError, NotImplementedError):
        return -1


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _swapped(value: Any, old: torch.Tensor, new: torch.Tensor) -> Any:
    if value is old:
        return new
    if isinstance(value, list | tuple):
        return type(value)(_swapped(v, old, new) for v in value)
    return value


def _written(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """The tensors that an operation writes to."""
    found: list[torch.Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += _tensors(value)
    return found


def _scalars(args: Any, kwargs: Any) -> list[Any]:
    """The plain arguments: numbers, flags, words and short lists of numbers."""
    kept: list[Any] = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, bool | int | float | str) or value is None:
            kept.append(value)
        elif isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(v, int | float) for v in value):
            kept.append(list(value))
    return kept
