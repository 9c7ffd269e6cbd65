"""Faults of live modules: which kinds fit which of the modules that the cases run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verify.selftest.mutant import Mutant

ANYWHERE = (
    "output-detached", "output-coarse", "output-scaled", "output-negated", "output-features-rolled", "output-clamped",
    "output-centred", "output-gradient-halved", "output-dropped-in-training", "output-noisy", "output-stale",
    "output-drifting", "input-coarse", "input-scaled", "input-shifted",
)  # fmt: skip
IN_BATCH = ("output-rows-rolled", "output-leaks-across-batch")
SAME_SHAPE = ("residual-lost", "residual-doubled", "module-skipped", "module-twice")
OF_PARAMETER = (
    "parameter-scaled", "parameter-unused", "parameter-coarse", "parameter-detached", "parameter-one-value",
)  # fmt: skip
OF_BUFFER = (
    "buffer-coarse", "buffer-scaled", "buffer-reversed", "buffer-hidden", "buffer-drifts", "buffer-persistence",
)  # fmt: skip
HARMLESS = ("output-copied", "output-other-strides", "output-kept", "input-copied")
TELLS_ONLY = {"in_features", "out_features", "in_channels", "out_channels", "normalized_shape", "inplace"}
"""Settings that library modules tell and do not compute with."""


@dataclass
class Called:
    """What the cases show of one module: shapes of its first input and output in every call."""

    kind: str
    shapes: list[tuple[Sequence[int], Sequence[int]]] = field(default_factory=list)

    @property
    def batched(self) -> bool:
        return any(out and out[0] > 1 for _, out in self.shapes)

    @property
    def positions(self) -> bool:
        return any(len(out) > 2 and out[1] > 1 for _, out in self.shapes)

    @property
    def shape_kept(self) -> bool:
        return bool(self.shapes) and all(list(a) == list(b) for a, b in self.shapes)


def called(answers: Sequence[Mapping[str, Any]]) -> dict[str, Called]:
    """By path, the modules that took a tensor and gave one, from answers to `modules`."""
    found: dict[str, Called] = {}
    for answer in answers:
        for call in answer.get("calls", []):
            if call["inputs"] and call["outputs"]:
                shapes = (call["inputs"][0]["shape"], call["outputs"][0]["shape"])
                found.setdefault(call["path"], Called(call["class"])).shapes.append(shapes)
    return found


def sites(calls: Mapping[str, Called], structure: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Mutant]:
    """Every fault and harmless change of a live module. structure, settings: answers to these asks."""
    made = [
        *_of_calls(calls),
        *_of_parameters(calls, structure),
        *_of_buffers(calls, structure),
        *_of_settings(calls, settings),
        *_of_pairs(calls, structure),
    ]
    return [*made, *(_mutant(kind, path, harmless=True) for path in calls for kind in HARMLESS)]


def _mutant(kind: str, path: str, *, harmless: bool = False, **more: Any) -> Mutant:
    place = ".".join(p for p in (path, str(more.get("name", ""))) if p) or "the model"
    return Mutant(kind=kind, place=place, harmless=harmless, fault={"kind": kind, "path": path, **more})


def _of_calls(calls: Mapping[str, Called]) -> Iterator[Mutant]:
    for path, call in calls.items():
        yield from (_mutant(kind, path) for kind in ANYWHERE)
        if call.batched:
            yield from (_mutant(kind, path) for kind in IN_BATCH)
        if call.positions:
            yield _mutant("output-positions-rolled", path)
        if call.shape_kept:
            yield from (_mutant(kind, path) for kind in SAME_SHAPE)
    yield from (_mutant(kind, "") for kind in ("always-evaluating", "always-training"))
    yield from (_mutant("always-evaluating", path) for path in calls if path.count(".") == 1)


def _owner(name: str) -> tuple[str, str]:
    path, _, last = name.rpartition(".")
    return path, last


def _of_parameters(calls: Mapping[str, Called], structure: Mapping[str, Any]) -> Iterator[Mutant]:
    for parameter in structure.get("parameters", []):
        path, name = _owner(parameter["name"])
        shape = parameter["shape"]
        yield _mutant("parameter-frozen-live", path, name=name)
        if path not in calls:
            continue
        yield from (_mutant(kind, path, name=name) for kind in OF_PARAMETER)
        if shape and shape[0] > 1:
            yield _mutant("parameter-rolled", path, name=name)
        if len(shape) == 2 and shape[0] == shape[1]:
            yield _mutant("parameter-transposed", path, name=name)
    for group in structure.get("tied", []):
        path, name = _owner(group[-1])
        yield _mutant("parameter-untied", path, name=name)


def _of_buffers(calls: Mapping[str, Called], structure: Mapping[str, Any]) -> Iterator[Mutant]:
    for buffer in structure.get("buffers", []):
        path, name = _owner(buffer["name"])
        floats = buffer["dtype"].startswith("float") and math.prod(buffer["shape"])
        for kind in OF_BUFFER:
            in_call = kind in ("buffer-hidden", "buffer-drifts")
            if kind == "buffer-persistence" or (floats and (path in calls or not in_call)):
                yield _mutant(kind, path, name=name)


def _of_settings(calls: Mapping[str, Called], settings: Mapping[str, Any]) -> Iterator[Mutant]:
    for module in settings.get("modules", []):
        path = module["path"]
        for name, value in module["settings"].items():
            other = _other(value)
            if other is None or name in TELLS_ONLY:
                continue
            yield _mutant("setting-changed", path, name=name, value=other)
            if path in calls and isinstance(value, bool | float):
                yield _mutant("setting-hidden", path, name=name, value=other)


def _other(value: Any) -> Any:
    """A neighbour of a setting: JSON as it came, None where there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value * 10 if 0 < abs(value) < 0.01 else value * 1.1 or 0.1
    return value + 1 if isinstance(value, int) else None


def _of_pairs(calls: Mapping[str, Called], structure: Mapping[str, Any]) -> Iterator[Mutant]:
    """Modules of one parent and kind with parameters of the same shapes: one works in place of the other."""
    shapes: dict[str, list[Any]] = {}
    for parameter in structure.get("parameters", []):
        path, name = _owner(parameter["name"])
        while path:
            shapes.setdefault(path, []).append((parameter["name"].removeprefix(path), parameter["shape"]))
            path = path.rpartition(".")[0]
    paths = [path for path in calls if path in shapes]
    for index, one in enumerate(paths):
        for two in paths[index + 1 :]:
            alike = calls[one].kind == calls[two].kind and shapes[one] == shapes[two]
            if one.rpartition(".")[0] != two.rpartition(".")[0] or not alike:
                continue
            counted = one.rpartition(".")[2].isdigit()
            yield _mutant("layer-shared" if counted else "modules-swapped", two, other=one)
            if shapes[one]:
                end = shapes[one][0][0]
                path, name = _owner(two + end)
                yield _mutant("parameters-tied", path, name=name, other=one + end)
