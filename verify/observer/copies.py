"""Copies of a model, and other weights in it: do outputs follow the parameters that a model holds?

A parameter in a list or in a closure, a product of weights that is kept from the first call, a tensor that two copies
share: each is right until a model is copied or its weights change, as by an optimizer, by loading or for a moving average.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .arithmetic import exact
from .build import Builder
from .calls import repeatable
from .faults import Unusable
from .forward import call, load_inputs, prepared
from .values import container, describe, flatten, ordered

MOST = 2**24
"""Parameters of which there may be three sets: 128 MiB each in float64."""
SHARE = 0.75
"""What is left of a weight in the other ones, beside what `_other` does: a norm hides a factor alone."""


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args as for `forward`.

    Returns outputs, container and arrays as `forward` does, paths beginning with a section: "copied/" of a deep copy made
    after a pass that records gradients; "assigned/" of the copy once its state dict was assigned with other weights, and
    "original/" of the model then; "loaded/" of the model once it has loaded those; "first/" what the first call gave, as
    it is after all the others. Unusable where the model has more than MOST parameters.
    """
    built = prepared(builder, args)
    model = built.model
    if (count := sum(p.numel() for p in model.parameters())) > MOST:
        raise Unusable(
            f"{count} parameters are too many to be copied, {MOST} the most; give the check a smaller `config`"
        )
    if kept := next((hook for m in model.modules() for hook in m._forward_pre_hooks.values() if _reweighs(hook)), None):
        raise Unusable(f"torch's own {type(kept).__name__} keeps a product of weights, of which torch makes no copy")

    def passed(one: nn.Module, *, recording: bool = False) -> Any:
        def run() -> Any:
            inputs = load_inputs(args, built, builder)
            with torch.set_grad_enabled(recording), exact(built.exact):
                return call(builder, one, inputs)

        return repeatable(builder, one, run)

    first = passed(model)
    leaves = _sections(builder, model, passed)
    leaves = [*((f"first/{path}", leaf) for path, leaf in flatten(first)), *leaves]
    return {
        "container": container(first),
        "ordered": ordered(first),
        "outputs": [{"path": path, **describe(leaf)} for path, leaf in leaves],
        "arrays": {path: leaf for path, leaf in leaves if isinstance(leaf, torch.Tensor)},
        "exact": built.exact,
        "note": built.note,
    }


def _sections(builder: Builder, model: nn.Module, passed: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Every section but that of the first call. The model is let go: it may keep what it made of other weights, or of a pass
    that was recorded."""
    try:
        passed(model, recording=True)
        twin = copy.deepcopy(model)
        found = {"copied": passed(twin)}
        before = {key: _copied(value) for key, value in model.state_dict().items()}
        names = {name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
        others = {key: _other(value) if key in names else value for key, value in before.items()}
        twin.load_state_dict({key: _copied(value) for key, value in others.items()}, assign=True)
        found["assigned"] = passed(twin)
        found["original"] = passed(model)
        model.load_state_dict(others)
        found["loaded"] = passed(model)
    finally:
        builder.release()
    return [(f"{section}/{path}", leaf) for section, output in found.items() for path, leaf in flatten(output)]


def _reweighs(hook: Any) -> bool:
    """Whether a hook is one of torch's, such as weight_norm's, which put a computed weight into the module."""
    return type(hook).__module__.startswith("torch.nn.utils")


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _other(value: Any) -> Any:
    """Another weight, element by element, so that weights which one side joins or turns round are those of the other."""
    return value * value.cos() * SHARE if isinstance(value, torch.Tensor) else value
