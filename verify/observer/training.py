"""Passes in train mode with injected random draws, what they changed, and eval passes around them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from .advance import NOTHING, advanced
from .arithmetic import exact
from .build import Builder
from .calls import repeatable
from .forward import call, load_inputs, prepared
from .randomness import Injected
from .values import container, describe, flatten, ordered

PLAIN = (bool, int, float, str, type(None))

PASSES = 3
"""Passes in train mode after which what they left is compared: a rate that changes from step to step shows in the second."""

SMALL = 2**16
"""Up to this many values a parameter that takes part in training is kept too, to be put back. Larger ones that forward
changes would be frozen, such as those of a teacher: two copies of all others would be needed for nothing."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`.

    Returns outputs, container, arrays and advanced as `forward` does. The paths of the outputs begin with a section:
    "train/" for the first pass in train mode, "buffer/" for every buffer and parameter that it changed, "before/" and
    "after/" for eval passes before and after it; where anything was drawn, "even-train/", "even-buffer/" and "even-after/"
    for the same with even draws. "later/" and "later-buffer/" are of the last of PASSES in train mode, which drop nothing.
    draws, even_draws: those of the first pass; see `Injected`.
    """
    with advanced(builder, args) as moved:
        return {**NOTHING} if moved == [] else {**_observed(builder, args), "advanced": moved or []}


def _observed(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    built = prepared(builder, args)
    model = built.model

    counts = [built.lifted]

    def run(draws: Injected | None = None) -> Any:
        # before draws are replaced: the noise of inputs is no draw of the model
        inputs = load_inputs(args, built, builder)
        with torch.no_grad(), exact(built.exact) as lifted, draws or contextlib.nullcontext():
            output = call(builder, model, inputs)
        counts.append(lifted.count)
        return output

    def evaluated() -> Any:
        return repeatable(builder, model, run)

    def injected(*, even: bool = False) -> Injected:
        return Injected(builder.settings["seed"], builder.settings["path"], even=even)

    leaves = [(f"before/{path}", leaf) for path, leaf in flatten(evaluated())]
    first, even = injected(), injected(even=True)
    output, sections = _trained(model, run, evaluated, first, lambda: None if first.draws else injected())
    if first.draws:
        evenly = _trained(model, run, evaluated, even, lambda: injected(even=True))[1]
        sections.update({k if k.startswith("later") else f"even-{k}": found for k, found in evenly.items()})
    for section, found in sections.items():
        leaves += [(f"{section}/{path}", leaf) for path, leaf in found]
    return {
        "container": container(output),
        "ordered": ordered(output),
        "outputs": [{"path": path, **describe(leaf)} for path, leaf in leaves],
        "arrays": {path: leaf for path, leaf in leaves if isinstance(leaf, torch.Tensor)},
        "draws": first.draws,
        "even_draws": even.draws,
        "exact": built.exact,
        "lifted": sum(counts),
        "note": built.note,
    }


def _trained(
    model: nn.Module,
    run: Callable[[Injected | None], Any],
    evaluated: Callable[[], Any],
    injected: Injected,
    again: Callable[[], Injected | None],
) -> tuple[Any, dict[str, list[tuple[str, Any]]]]:
    """The output of a pass in train mode, and by section what it, the eval pass after it and further ones leave.

    again: the draws of each further pass, the same as those of the first; None for no further pass.
    """
    sections: dict[str, list[tuple[str, Any]]] = {}
    with training(model) as kept:
        output = run(injected)
        sections["train"] = list(flatten(output))
        sections["buffer"] = _changed(model, kept)
        model.eval()
        sections["after"] = list(flatten(evaluated()))
        model.train()
        for _ in range(PASSES - 1):
            if (draws := again()) is not None:
                sections["later"] = list(flatten(run(draws)))
                sections["later-buffer"] = _changed(model, kept)
    return output, sections


def _held(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What a pass in train mode may change: buffers, and parameters as far as they are kept."""
    yield from model.named_buffers()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or parameter.numel() <= SMALL:
            yield name, parameter.detach()


def _changed(model: nn.Module, kept: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    return [(n, b.clone()) for n, b in _held(model) if n not in kept or not same(b, kept[n])]


@contextlib.contextmanager
def training(model: nn.Module, mode: bool = True) -> Iterator[dict[str, torch.Tensor]]:
    """Within, the model is in train mode, or in eval mode where `mode` is False; yields what its buffers and parameters
    held, see `_held`. After it, it is in eval mode, and they and its modules' own plain attributes are what they were
    before."""
    kept = {name: tensor.clone() for name, tensor in _held(model)}
    plain = [(m, {k: v for k, v in vars(m).items() if isinstance(v, PLAIN)}) for m in model.modules()]
    model.train(mode)
    try:
        yield kept
    finally:
        model.eval()
        with torch.no_grad():
            for name, tensor in _held(model):
                if name in kept and not same(tensor, kept[name]):
                    tensor.resize_(kept[name].shape).copy_(kept[name])
        for module, attributes in plain:
            vars(module).update(attributes, training=False)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in shape and every value, where NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
