"""What becomes of a model that is switched to train or eval mode, or converted, by methods that are written anew."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from .build import Builder

SWITCHES = ("train", "eval")
CONVERSIONS: dict[str, tuple[Any, ...]] = {
    "to": (torch.float32,), "float": (), "double": (), "half": (), "bfloat16": (), "cpu": (), "requires_grad_": (),
}  # fmt: skip
"""Methods that give back the model itself, so that calls can follow each other, and what they are called with."""


def told(builder: Builder, model: nn.Module, values: dict[str, Any]) -> dict[str, Any]:
    """left {"train", "eval": paths of modules that are in the other mode after it}; chained {method: whether it gives back
    the model}, of those methods that the side's own classes write anew. A method that raises is in neither: one that joins
    weights, as for a merged adapter, cannot do so without values.

    model: that of these values, which is not changed.
    """
    left: dict[str, list[str]] = {name: [] for name in SWITCHES}
    chained: dict[str, bool] = {}
    if _anew(model, *SWITCHES):
        switched, _ = builder.outline(values)
        for name in SWITCHES:
            try:
                came = switched.train(True) if name == "train" else switched.eval()
            except Exception:  # parameters have no values here
                del left[name]
                continue
            left[name] = [path for path, module in switched.named_modules() if module.training != (name == "train")]
            if _anew(switched, *SWITCHES, within=False):  # torch's eval() gives back what train() does
                chained[name] = came is switched
    for name, arguments in CONVERSIONS.items():
        if _anew(model, name, within=False):
            converted, _ = builder.outline(values)
            with contextlib.suppress(Exception):  # one that wants other arguments, or cannot move what has no memory
                chained[name] = getattr(converted, name)(*arguments) is converted
    return {"left": left, "chained": chained}


def _anew(model: nn.Module, *methods: str, within: bool = True) -> bool:
    """Whether one of these methods is the model's own, or that of a module within it, and neither torch's nor transformers'."""
    for module in model.modules() if within else (model,):
        for name in methods:
            code = vars(module).get(name) or getattr(type(module), name)
            if (getattr(code, "__module__", None) or "").partition(".")[0] not in ("torch", "transformers"):
                return True
    return False
