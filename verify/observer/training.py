"""One pass in train mode with injected random draws, the buffers that it changed, and eval passes around it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from .arithmetic import exact
from .build import Builder
from .calls import repeatable
from .forward import call, load_inputs, prepared
from .randomness import Injected
from .values import container, describe, flatten, ordered


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`.

    Returns outputs, container and arrays as `forward` does. The paths of the outputs begin with a section: "train/" for
    the pass in train mode, "buffer/" for every buffer that it changed, "before/" and "after/" for eval passes before
    and after it; where anything was drawn, "even-train/", "even-buffer/" and "even-after/" for the same with even draws.
    draws, even_draws: see `Injected`.
    """
    built = prepared(builder, args)
    model = built.model

    counts = [built.lifted]

    def run() -> Any:
        inputs = load_inputs(args, built, builder)
        with torch.no_grad(), exact(built.exact) as lifted:
            output = call(builder, model, inputs)
        counts.append(lifted.count)
        return output

    def evaluated() -> Any:
        return repeatable(builder, model, run)

    leaves = [(f"before/{path}", leaf) for path, leaf in flatten(evaluated())]
    injected = Injected(builder.settings["seed"], builder.settings["path"])
    output, sections = _trained(model, run, evaluated, injected)
    even = Injected(builder.settings["seed"], builder.settings["path"], even=True)
    if injected.draws:
        sections.update(
            {f"even-{section}": found for section, found in _trained(model, run, evaluated, even)[1].items()}
        )
    for section, found in sections.items():
        leaves += [(f"{section}/{path}", leaf) for path, leaf in found]
    return {
        "container": container(output),
        "ordered": ordered(output),
        "outputs": [{"path": path, **describe(leaf)} for path, leaf in leaves],
        "arrays": {path: leaf for path, leaf in leaves if isinstance(leaf, torch.Tensor)},
        "draws": injected.draws,
        "even_draws": even.draws,
        "exact": built.exact,
        "lifted": sum(counts),
        "note": built.note,
    }


def _trained(
    model: nn.Module, run: Callable[[], Any], evaluated: Callable[[], Any], injected: Injected
) -> tuple[Any, dict[str, list[tuple[str, Any]]]]:
    """The output of a pass in train mode, and by section what it and the eval pass after it leave."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with training(model):
        with injected:
            output = run()
        changed = [(n, b.clone()) for n, b in model.named_buffers() if n not in kept or not same(b, kept[n])]
        model.eval()
        after = evaluated()
    return output, {"train": list(flatten(output)), "buffer": changed, "after": list(flatten(after))}


@contextlib.contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Within, the model is in train mode. After it, it is in eval mode and its buffers hold what they held before."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    try:
        yield
    finally:
        model.eval()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in kept and not same(buffer, kept[name]):
                    buffer.resize_(kept[name].shape).copy_(kept[name])


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in shape and every value, where NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
