"""Saved flags and counters with other values than a fresh model has, as training leaves them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..weights import stream
from .build import Builder

FAR = 1000
"""A counter is moved on by so much, so that what warms up in its first steps has done so."""

NOTHING: dict[str, Any] = {"outputs": [], "container": "", "ordered": False, "arrays": {}, "draws": [], "advanced": []}
"""The answer of a pass that was to run with such values, where a side has no such buffers."""


@contextlib.contextmanager
def advanced(builder: Builder, args: dict[str, Any]) -> Iterator[list[str] | None]:
    """Within, where args has `advanced`, the built model's saved whole-number and boolean buffers that hold one value
    throughout hold others; yields the reference's names of them. None where that is not asked.

    One value throughout is what such a buffer starts from. Others, such as indices, are tables that the code makes.
    """
    if not args.get("advanced"):
        yield None
        return
    model = builder.built(args["values"], args["arithmetic"], args.get("recipes")).model
    recipes = (args.get("recipes") or {}) if builder.settings["role"] == "candidate" else {}
    kept, names = [], []
    for module, own, name in _waiting(model):
        recipe = recipes.get(name)
        if recipe is not None and (len(recipe["sources"]) != 1 or recipe["part"] is not None or recipe["transpose"]):
            continue
        buffer = module._buffers[own]
        names.append(recipe["sources"][0] if recipe else name)
        kept.append((module, own, buffer))
        module._buffers[own] = _moved(buffer, stream(builder.settings["seed"], names[-1]))
    try:
        yield sorted(names)
    finally:
        for module, own, buffer in kept:
            module._buffers[own] = buffer


def _waiting(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    for prefix, module in model.named_modules():
        for own, buffer in module._buffers.items():
            if buffer is None or own in module._non_persistent_buffers_set or not buffer.numel():
                continue
            whole = not (buffer.is_floating_point() or buffer.is_complex())
            if whole and bool((buffer == buffer.flatten()[0]).all()):
                yield module, own, f"{prefix}.{own}" if prefix else own


def _moved(buffer: torch.Tensor, random: Any) -> torch.Tensor:
    """A flag the other way round, a counter far on; of several values drawn flags, and counts of up to two more."""
    if buffer.dtype == torch.bool:
        drawn = torch.from_numpy(random.random(tuple(buffer.shape)) < 0.5) if buffer.numel() > 1 else ~buffer
        return drawn.to(buffer.device)
    if buffer.numel() == 1:
        room = torch.iinfo(buffer.dtype).max - buffer.item()
        return buffer + min(FAR, room)
    return buffer + torch.from_numpy(random.integers(0, 3, tuple(buffer.shape))).to(buffer)
