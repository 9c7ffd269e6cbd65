"""How a fresh model is initialised: one construction with a seed, each parameter's statistics and digest."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from . import locate
from .build import Builder
from .values import dtype_name


def observe(builder: Builder, args: dict[str, Any]) -> dict[str, Any]:
    """args: values (configuration), seed. Builds on the CPU as the model itself does, in its own dtypes.

    Returns parameters [{name, shape, dtype, filled, ...}] with what `described` says, filled being the user's line that last
    wrote it, or made it; modules [{path, location}] and
    the location of the model's class. arrays: the values, by name, of those that hold several and that another seed does
    not change.
    """
    builder.release()
    model = _fresh(builder, args["values"], args["seed"])
    again = {n: digest(p) for n, p in _fresh(builder, args["values"], args["seed"] + 1).named_parameters()}
    root = builder.settings["path"]
    modules = dict(model.named_modules(remove_duplicate=False))

    def filled(name: str) -> dict[str, Any] | None:
        path, _, own = name.rpartition(".")
        return builder.origins.filled(modules[path], own)

    parameters = [
        {
            "name": name,
            "shape": list(p.shape),
            "dtype": dtype_name(p),
            "filled": filled(name),
            **described(p.detach(), again.get(name)),
        }
        for name, p in model.named_parameters()
    ]
    tables = {p["name"] for p in parameters if p["steady"] and p["lowest"] != p["highest"]}
    return {
        "parameters": parameters,
        "arrays": {name: p.detach() for name, p in model.named_parameters() if name in tables},
        "modules": [{"path": p, "location": locate.of_class(m, root)} for p, m in model.named_modules()],
        "location": locate.of_class(model, root),
    }


def _fresh(builder: Builder, values: dict[str, Any], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return builder.construct(values)


def described(tensor: torch.Tensor, again: str | None) -> dict[str, Any]:
    """The statistics, and steady: whether no value is drawn. again: digest under another seed."""
    found = statistics(tensor)
    return {**found, "steady": found["digest"] == again}


def statistics(tensor: torch.Tensor) -> dict[str, Any]:
    """count, mean, spread (standard deviation), kurtosis (3 for a normal, 1.8 for a uniform distribution), lowest,
    highest, zeros (how many), finite, and a digest of the exact values. Float64 arithmetic. A tensor that is empty or not
    finite throughout has zeros instead of numbers.
    """
    x = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double().flatten()
    finite = bool(x.isfinite().all())
    empty = not (finite and x.numel())
    mean = 0.0 if empty else x.mean().item()
    squares = (x - mean).square_()
    variance = 0.0 if empty else squares.mean().item()
    lowest, highest = (0.0, 0.0) if empty else (v.item() for v in x.aminmax())
    return {
        "count": x.numel(),
        "mean": mean,
        "spread": variance**0.5,
        "kurtosis": squares.square_().mean().item() / variance**2 if variance > 0 else 0.0,
        "lowest": lowest,
        "highest": highest,
        "zeros": x.numel() - int(x.count_nonzero()),
        "finite": finite,
        "digest": digest(tensor),
    }


def digest(tensor: torch.Tensor) -> str:
    """A fingerprint of dtype, shape and every bit."""
    plain = tensor.detach().cpu().contiguous()
    head = f"{dtype_name(tensor)} {list(tensor.shape)} ".encode()
    return hashlib.blake2b(head + plain.reshape(-1).view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
