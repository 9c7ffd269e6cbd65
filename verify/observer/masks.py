"""Dropout that is written out: what a comparison of uniform numbers with a rate means shows in what is done with it.

`rand() < 0.75` keeps three quarters where it is multiplied, and drops them where it fills with zeros. Uniform numbers u
drop the same as the library's dropout does, which drops where u < rate, if whichever means "drop" is made of small u:
a mask that keeps where its numbers are small is made of 1 - u, and so is one that drops where they are large. The mask
is made both ways, and holds the right one from its first use on. `floor(rand() + keep)` is a comparison too: it is one
where the numbers are 1 - keep or more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from . import dispatched

COMPARISONS = ("lt", "le", "gt", "ge", "lt_", "le_", "gt_", "ge_")
SUMS = ("add", "add_")
FLOORS = ("floor", "floor_")
NEGATIONS = ("bitwise_not", "logical_not", "rsub")
COPIES = ("_to_copy", "clone")
FACTORS = ("mul", "mul_", "div", "div_")
REMEMBERED = 8


class Mask(NamedTuple):
    """One that was not used yet. kept: what it is if it tells what to keep; dropped: if it tells what to drop."""

    tensor: torch.Tensor
    kept: torch.Tensor
    dropped: torch.Tensor


class Masks:
    """The last few draws of uniform numbers, and the masks that are made of them."""

    def __init__(self) -> None:
        self._uniform: list[tuple[torch.Tensor, int]] = []
        self._sums: list[tuple[torch.Tensor, int, torch.Tensor]] = []  # and what they are of 1 - u
        self._unused: list[Mask] = []

    def drawn(self, uniform: torch.Tensor, *, in_place: bool) -> None:
        """Uniform numbers as they were drawn. in_place: torch counts that operation itself when it is done."""
        if not uniform.is_inference():  # torch does not count what is done to those
            self._uniform = [*self._uniform[-REMEMBERED:], (uniform, uniform._version + in_place)]

    def run(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What the operation gives, whose masks drop what the library's dropout drops."""
        if name in COMPARISONS and self._uniform and not kwargs:
            return self._compared(name, func, args)
        if name in SUMS and self._uniform and not kwargs:
            return self._added(name, func, args)
        if name in FLOORS and self._sums and (mirrored := self._mirrored(args[0])) is not None:
            floored = func(*args, **kwargs)
            return self._remembered(floored, kept=floored.clone(), dropped=mirrored.floor())
        if name == "detach" and self._as_drawn(args[0]):
            return self._handed_out(args[0], func(*args, **kwargs))
        if name in COPIES and args and self._as_drawn(args[0]):
            copied = func(*args, **kwargs)
            if copied.is_floating_point():
                self.drawn(copied, in_place=False)
            return copied
        place = next((i for i, m in enumerate(self._unused) if any(a is m.tensor for a in args)), None)
        if place is None:
            return dispatched.run(func, args, kwargs)
        mask = self._unused.pop(place)
        if name in (*NEGATIONS, *COPIES) and args[0] is mask.tensor:
            made = (func(m, *args[1:], **kwargs) for m in mask)
            tensor, kept, dropped = made
            return self._remembered(tensor, *((dropped, kept) if name in NEGATIONS else (kept, dropped)))
        keeps = _keeps(name, args, mask.tensor)
        if keeps is not None:
            mask.tensor.copy_(mask.kept if keeps else mask.dropped)
        return func(*args, **kwargs)

    def _handed_out(self, drawn: torch.Tensor, handed: torch.Tensor) -> torch.Tensor:
        """What torch gives out for a tensor that was made: one that counts what is done to it by itself."""
        self._uniform = [
            (handed if known is drawn and not version else known, version) for known, version in self._uniform
        ]
        return handed

    def _compared(self, name: str, func: Callable[..., Any], args: Any) -> Any:
        place, limit = self._place(args)
        if place is None or limit is None:
            return func(*args)
        kind = name.rstrip("_")
        small = (kind in ("lt", "le")) == (place == 0)
        compare = getattr(torch, kind) if name.endswith("_") else func
        plain, mirrored = compare(*args), compare(*_with_mirrored(args, place))
        kept, dropped = (mirrored, plain) if small else (plain, mirrored)
        # Where its use does not tell, a mask of few small numbers is taken to drop, any other to keep.
        made = dropped if small and limit < 0.5 else kept
        if not name.endswith("_"):
            return self._remembered(made.clone(), kept, dropped)
        return self._remembered(args[0].copy_(made), kept.to(args[0].dtype), dropped.to(args[0].dtype))

    def _added(self, name: str, func: Callable[..., Any], args: Any) -> Any:
        place, limit = self._place(args)
        if place is None or limit is None:
            return dispatched.run(func, args, {})
        mirrored = torch.add(*_with_mirrored(args, place))
        result = func(*args)
        if not result.is_inference():
            self._sums = [*self._sums[-REMEMBERED:], (result, result._version + name.endswith("_"), mirrored)]
        return result

    def _mirrored(self, value: Any) -> torch.Tensor | None:
        """What a sum would be of 1 - u, if the value is one that nothing was done to."""
        return next((m for added, version, m in self._sums if _same(value, added, version)), None)

    def _place(self, args: Any) -> tuple[int | None, float | None]:
        """Which of two operands is uniform numbers, and the one number within 0 and 1 that the other is."""
        place = next((i for i, a in enumerate(args[:2]) if self._as_drawn(a)), None)
        limit = None if place is None else _single(args[1 - place])
        return place, limit if limit is not None and 0 < limit < 1 else None

    def _remembered(self, tensor: torch.Tensor, kept: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        if not tensor.is_inference():
            self._unused = [*self._unused[-REMEMBERED:], Mask(tensor, kept, dropped)]
        return tensor

    def _as_drawn(self, value: Any) -> bool:
        return any(_same(value, drawn, version) for drawn, version in self._uniform)


def _same(value: Any, known: torch.Tensor, version: int) -> bool:
    """Whether a value is a tensor that nothing was done to since."""
    return isinstance(value, torch.Tensor) and value.data_ptr() == known.data_ptr() and known._version == version


def _with_mirrored(args: Any, place: int) -> list[Any]:
    return [1 - a if i == place else a for i, a in enumerate(args)]


def _keeps(name: str, args: Any, mask: torch.Tensor) -> bool | None:
    """Whether an operation keeps where the mask is true; None where that is not told."""
    if name in FACTORS:
        return True
    if name in ("masked_fill", "masked_fill_") and args[1] is mask and _single(args[2]) == 0:
        return False
    if name == "where" and args[0] is mask and len(args) == 3:
        zeros = [_single(a) == 0 for a in args[1:]]
        return zeros[1] if zeros[0] != zeros[1] else None
    return None


def _single(value: Any) -> float | None:
    """The one number that a value holds throughout; None where it holds several or none."""
    if not isinstance(value, torch.Tensor):
        return float(value) if isinstance(value, int | float) else None
    if not value.numel() or value.is_complex() or value.is_meta:
        return None
    flat = value.detach().reshape(-1)
    return float(flat[0]) if bool((flat == flat[0]).all()) else None
