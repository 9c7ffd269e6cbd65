"""Passes of the candidate with one small change of its source each: which change would make it agree.

A function is changed by giving it other code, in place, and is given its own again after the pass. A change of what runs
while a model is made takes a model made anew, with the parameters of the one that is held.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import itertools
import math
import os
import signal
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

import torch
from torch import nn

from . import effects, prints
from .arithmetic import exact
from .build import Builder, Built
from .forward import call, load_inputs, prepared
from .modules import fingerprint
from .operations import as_in, table
from .values import describe, flatten


class Overtime(BaseException):
    """A pass took too long. No Exception, which the model's own code might catch."""


class Unmended(Exception):
    """The gate's module, or the wanted output, still has another value."""


class Unchangeable(Exception):
    """No function that is alive can be given the changed code."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward` and

    section: as for `operations`. edits: [{file, start, end, old, new, first, name, making}]: the bytes of `old` from
    start to end in the file become `new`; they are in the function `name` whose first line is `first`; making: whether
    it runs while a model is made; None for a pass without a change. seconds: how long one pass may take. gate: {path, index, output, allowed}, or None:
    the call of a module that should give this output, a fingerprint of `modules`; a pass that gives another ends there.
    wanted: {path, print, allowed}, or None: an output of the model that should have this print, which is looked at first.

    Returns tries [{outputs, their shapes} or {fault}] and for each that ran the array `outputs.{index}`: a print a row, see `prints`.
    """
    built, files = prepared(builder, args), _Files(builder.settings["path"])
    before = _State(built.model)
    arrays: dict[str, torch.Tensor] = {}
    results: list[dict[str, Any]] = []
    for index, edit in enumerate(args["edits"]):
        try:
            with (
                _changed(edit, files) if edit else contextlib.nullcontext(),
                _limited(float(args["seconds"])),
                effects.barred() if edit else contextlib.nullcontext(),
            ):
                rows = _pass(builder, args, builder.again(built, args) if edit and edit["making"] else built)
        except (Exception, Overtime) as error:  # what a change breaks is no mend
            results.append({"fault": type(error).__name__})
            continue
        finally:
            if not before.restored():  # the changed pass wrote into a tensor
                builder.release()
                built = prepared(builder, args)
                before = _State(built.model)
        results.append({"outputs": [path for path, _, _ in rows], "shapes": [shape for _, shape, _ in rows]})
        arrays[f"outputs.{index}"] = table([row for _, _, row in rows])
    tensors = [{"name": n, **describe(t)} for n, t in arrays.items()]
    return {"tries": results, "tensors": tensors, "arrays": arrays}


def _pass(builder: Builder, args: dict[str, Any], built: Built) -> list[tuple[str, list[int], list[float]]]:
    """Of each output the path, the shape and the print."""
    inputs = load_inputs(args, built, builder)
    model, gate = built.model, args.get("gate")
    hooks = _gated(model, gate) if gate else contextlib.nullcontext()
    with torch.no_grad(), as_in(args.get("section", ""), builder, model), exact(built.exact), hooks:
        output = call(builder, model, inputs)
    found = [(path, v) for path, v in flatten(output) if isinstance(v, torch.Tensor)]
    wanted = args.get("wanted")
    if wanted and not any(path == wanted["path"] and _is_near(prints.vector(v), wanted) for path, v in found):
        raise Unmended
    return [(path, list(v.shape), prints.vector(v)) for path, v in found]


def _is_near(given: list[float], wanted: dict[str, Any]) -> bool:
    """Whether a print is the wanted one, by the rule of the verifier's own comparison."""
    allowed = wanted["allowed"] * max(given[0], wanted["print"][0])
    return all(a == b or abs(a - b) <= allowed for a, b in zip(given, wanted["print"], strict=True))


class _State:
    """What a model holds, so that one pass leaves nothing behind for the next."""

    def __init__(self, model: nn.Module) -> None:
        self._held = [(held, dict(held)) for module in model.modules() for held in _dictionaries(module)]
        tensors = [*model.parameters(), *model.buffers()]
        self._written = [(tensor, tensor._version) for tensor in tensors]

    def restored(self) -> bool:
        """Gives modules back what they held. False where a tensor was written to: its values are lost."""
        for held, before in self._held:
            if held.keys() != before.keys() or any(held[name] is not value for name, value in before.items()):
                held.clear()
                held.update(before)
        return all(tensor._version == version for tensor, version in self._written)


def _dictionaries(module: nn.Module) -> Iterator[dict[str, Any]]:
    yield module.__dict__
    yield from (held for held in (module._parameters, module._buffers, module._modules) if isinstance(held, dict))


@contextlib.contextmanager
def _gated(model: nn.Module, gate: dict[str, Any]) -> Iterator[None]:
    """Within, a pass raises Unmended where the gate's call gives another output than it should."""
    calls = itertools.count()

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if next(calls) == gate["index"] and not _near(_first(output), gate):
            raise Unmended

    module = dict(model.named_modules()).get(gate["path"])
    handle = module.register_forward_hook(leave) if module is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


def _first(output: Any) -> dict[str, Any] | None:
    """The fingerprint of the first tensor in what a module gave."""
    tensor = next((leaf for _, leaf in flatten(output) if isinstance(leaf, torch.Tensor)), None)
    return None if tensor is None else fingerprint(tensor)


def _near(given: dict[str, Any] | None, gate: dict[str, Any]) -> bool:
    """Whether a fingerprint is that of the gate's output, by the rule of the verifier's own comparison."""
    wanted = gate["output"]
    if given is None or given["shape"] != wanted["shape"]:
        return False
    pairs = [(given["norm"], wanted["norm"])]
    for name in ("sums", "projections"):
        pairs += [(given["norm"] * a, wanted["norm"] * b) for a, b in zip(given[name], wanted[name], strict=True)]
    allowed = gate["allowed"] * max(math.prod(given["shape"]), 1) ** 0.5 * max(given["norm"], wanted["norm"])
    return all(abs(a - b) <= allowed for a, b in pairs)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Within, Overtime is raised after so many seconds, and again and again: a change may make a loop that does not end."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Overtime

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, max(seconds / 10, 0.05))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _changed(edit: dict[str, Any], files: _Files) -> Iterator[None]:
    """Within, every function made from the edited definition runs the changed code.

    Raises Unchangeable, and SyntaxError or ValueError where the change makes no program.
    """
    functions, text = files.functions(edit), files.changed(edit)
    code = _code(compile(text, functions[0].__code__.co_filename, "exec", dont_inherit=True), edit)
    if code is None:
        raise Unchangeable("the changed text has no such definition")
    defaults = _defaults(text, edit)
    before = [(f, f.__code__, f.__defaults__) for f in functions]
    try:
        for function in functions:
            function.__code__ = code
            if defaults is not None and len(function.__defaults__ or ()) == len(defaults):
                function.__defaults__ = defaults
        yield
    finally:
        for function, own, given in before:
            function.__code__, function.__defaults__ = own, given


class _Files:
    """The side's files, and the functions that are alive."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._alive = [o for o in gc.get_objects() if type(o) is FunctionType]
        self._read: dict[str, tuple[bytes, list[int], ast.Module]] = {}

    def functions(self, edit: dict[str, Any]) -> list[FunctionType]:
        """Those made of the edited definition. Raises Unchangeable where there are none."""
        path = self._path(edit)
        alike = [f for f in self._alive if _is(f.__code__, edit)]
        found = [f for f in alike if os.path.realpath(f.__code__.co_filename) == path]
        if not found:
            raise Unchangeable("no function of this definition is alive")
        return found

    def changed(self, edit: dict[str, Any]) -> bytes:
        """The edited definition at its own lines, in a class of its class's name if it is a method; nothing else."""
        source, starts, tree = self._file(self._path(edit))
        start, end = edit["start"], edit["end"]
        if source[start:end] != edit["old"].encode():
            raise Unchangeable("the file is another by now")
        node, owner = _definition(tree, edit)
        before: int = edit["first"] - 1
        new: str = edit["new"]
        text = source[starts[before] : start] + new.encode() + source[end : starts[node.end_lineno or 0]]
        if owner is None:
            return b"\n" * before + text
        return b"\n" * (before - 1) + f"class {owner}:\n".encode() + text

    def _path(self, edit: dict[str, Any]) -> str:
        return os.path.realpath(os.path.join(self.root, edit["file"]))

    def _file(self, path: str) -> tuple[bytes, list[int], ast.Module]:
        if path not in self._read:
            with open(path, "rb") as file:
                source = file.read()
            lengths = (len(line) for line in source.splitlines(keepends=True))
            self._read[path] = source, list(itertools.accumulate(lengths, initial=0)), ast.parse(source)
        return self._read[path]


def _definition(tree: ast.Module, edit: dict[str, Any]) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, str | None]:
    """The edited definition, and the class that it is a method of."""
    for owner in ast.walk(tree):
        for node in ast.iter_child_nodes(owner):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != edit["name"]:
                continue
            if min([node.lineno, *(d.lineno for d in node.decorator_list)]) == edit["first"]:
                name = owner.name if isinstance(owner, ast.ClassDef) else "_"
                return node, name if node.col_offset > 0 else None
    raise Unchangeable("the file has no such definition")


def _is(code: CodeType, edit: dict[str, Any]) -> bool:
    return bool(code.co_name == edit["name"] and code.co_firstlineno == edit["first"])


def _code(module: CodeType, edit: dict[str, Any]) -> CodeType | None:
    """The code of the definition, wherever it is nested."""
    for constant in module.co_consts:
        if isinstance(constant, CodeType):
            found = constant if _is(constant, edit) else _code(constant, edit)
            if found is not None:
                return found
    return None


def _defaults(text: bytes, edit: dict[str, Any]) -> tuple[Any, ...] | None:
    """The defaults of the definition's arguments, where all are written as literals."""
    node, _ = _definition(ast.parse(text), edit)
    try:
        return tuple(ast.literal_eval(d) for d in node.args.defaults)
    except ValueError:
        return None
