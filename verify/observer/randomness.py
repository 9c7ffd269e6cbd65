"""The same random draws on both sides: what model code draws while it runs is replaced by values known beforehand.

Two implementations that drop the same activations with the same probability need not consume the generator alike, so
the same seed does not give the same masks. Here each draw has a stream of its own, keyed by its size and its place among
the draws of that size. Every kind of draw starts from the same uniform numbers u in [0, 1): a Bernoulli draw of
probability p is one where u >= 1 - p, so that `bernoulli_(keep)` and `(keep + rand()).floor()` agree. For masks
that are made by comparing uniform numbers see `masks`.

The place is kept in the state of torch's own generator. Gradient checkpointing saves and restores that state, so what it
computes again draws the same again; a model that forgets to restore it draws other values, as it would in training.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..weights import stream
from . import locate
from .masks import Masks
from .values import project

FIRST = 1_000_003
"""Generator seed before the first draw. The n-th draw finds FIRST + n there."""

PROJECTIONS = 2

EVEN = 1 - 2.0**-10
"""The one uniform number of even draws. Every dropout of a smaller rate keeps everything."""


class Injected(TorchDispatchMode):  # type: ignore[misc]
    """Within, random operations take injected values. `draws` lists them as {op, size, keep, location, masked}, in order.

    keep: probability of a one, for Bernoulli draws. masked: norm and projections of the tensor that a dropout of an even
    pass is given, which tell one dropout from another; else None. even: whether every number is the same one, so that it
    does not matter in which pieces they are drawn. A random operation that is not known here runs as it is, seeded. Leaves
    torch's generator seeded.
    """

    def __init__(self, seed: int, root: str, *, even: bool = False) -> None:
        super().__init__()
        self.seed, self.root, self.even = seed, root, even
        self.draws: list[dict[str, Any]] = []
        self._masks: list[tuple[torch.Tensor, dict[str, Any]]] = []
        self.written_out = Masks()
        self._places: dict[int, Counter[int]] = {FIRST: Counter()}
        torch.manual_seed(FIRST)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        replacement = REPLACED.get(name)
        if replacement is not None:
            return replacement(self, name, func, args, kwargs)
        if torch.Tag.nondeterministic_seeded in func.tags and _draws(name, func, args, kwargs):
            self._told(name, 0, None)
        if name in ("mul", "mul_") and self._masks:
            self._seen(args)
        return self.written_out.run(name, func, args, kwargs)

    def uniform(self, name: str, size: int, keep: float | None = None) -> torch.Tensor:
        """The next uniform numbers [size] for a draw of that size, float64 on the CPU."""
        self._told(name, size, keep)
        if self.even:
            return torch.full((size,), EVEN, dtype=torch.float64)
        now = torch.initial_seed()
        places = self._places.get(now, Counter())
        torch.manual_seed(now + 1)
        self._places[now + 1] = places + Counter([size])
        return torch.from_numpy(stream(self.seed, f"draws/{size}/{places[size]}").random(size))

    def masks(self, mask: torch.Tensor) -> torch.Tensor:
        """The mask that was drawn last, which a product will show the source of."""
        if self.even:
            self._masks.append((mask, self.draws[-1]))
        return mask

    def masked(self, source: torch.Tensor, draw: dict[str, Any]) -> None:
        """Notes what a draw masks."""
        if self.even and source.is_floating_point():
            x = source.detach().double().flatten().cpu()
            draw["masked"] = [x.norm().item(), *(p.item() for p in project(x, PROJECTIONS))]

    def _seen(self, factors: Any) -> None:
        for place, (mask, draw) in enumerate(self._masks):
            if any(factor is mask for factor in factors):
                other = [f for f in factors if isinstance(f, torch.Tensor) and f is not mask]
                if other and other[0].shape == mask.shape:
                    self.masked(other[0], draw)
                    del self._masks[place]
                return

    def _told(self, name: str, size: int, keep: float | None) -> None:
        place = locate.of_caller(self.root)
        self.draws.append({"op": name.rstrip("_"), "size": size, "keep": keep, "location": place, "masked": None})


def _draws(name: str, func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a random operation that is not known here draws in this call: fused attention does with dropout alone."""
    return "attention" not in name or bool(_argument(func, args, kwargs, "dropout_p", 0.0))


def _argument(func: Any, args: Any, kwargs: Any, name: str, default: Any) -> Any:
    """An argument of an operation by its name in the schema. The dispatcher leaves out one that equals its default."""
    if name in kwargs:
        return kwargs[name]
    for place, argument in enumerate(func._schema.arguments):
        if argument.name == name:
            return args[place] if place < len(args) else argument.default_value
    return default


def _bernoulli(mode: Injected, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """bernoulli(probabilities), bernoulli(like, p) and the same in place, filling their first argument."""
    target = args[0]
    p = _argument(func, args, kwargs, "p", target)
    u = mode.uniform(name, target.numel(), float(p) if isinstance(p, float | int) else None)
    chance = p.double() if isinstance(p, torch.Tensor) else p
    drawn = (u.reshape(target.shape).to(target.device) >= 1 - chance).to(target.dtype)
    return mode.masks(target.copy_(drawn) if name.endswith("_") else drawn)


def _native_dropout(mode: Injected, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    source, p, train = (_argument(func, args, kwargs, n, None) for n in ("input", "p", "train"))
    if train is False:
        return func(*args, **kwargs)
    u = mode.uniform(name, source.numel(), 1 - p).reshape(source.shape).to(source.device)
    mode.masked(source, mode.draws[-1])
    mask = u >= p
    return source * mask * (1 / (1 - p) if p < 1 else 0.0), mask


def _filled(mode: Injected, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """rand, randn, their _like forms, uniform_ and normal_: run as they are for shape, dtype and device, then filled."""
    state = torch.get_rng_state()
    result = func(*args, **kwargs)
    torch.set_rng_state(state)
    u = mode.uniform(name, result.numel())
    low = high = 0.0
    if "randn" in name or "normal" in name:
        mean = _argument(func, args, kwargs, "mean", 0.0)
        std = _argument(func, args, kwargs, "std", 1.0)
        edge = 2.0**-53
        values = mean + std * math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(edge - 1, 1 - edge)).reshape(result.shape)
    else:
        low = _argument(func, args, kwargs, "from", 0.0)
        high = _argument(func, args, kwargs, "to", 1.0)
        values = (low + (high - low) * u).reshape(result.shape)
    result.copy_(values.to(result.dtype))
    if (low, high) == (0.0, 1.0):
        mode.written_out.drawn(result, in_place=name.endswith("_"))
    return result


REPLACED = {
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli,
    "native_dropout": _native_dropout,
    **dict.fromkeys(("rand", "rand_like", "randn", "randn_like", "uniform_", "normal_", "normal"), _filled),
}
