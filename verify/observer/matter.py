"""Whether what no gradient reaches moves an output all the same: it is changed, and the pass is run again.

A gradient says nothing of whole numbers and booleans, of frozen parameters, and of what is detached or goes through a sign.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from ..weights import compose
from .arithmetic import exact
from .build import Builder, Built
from .forward import call, load_inputs, prepared
from .randomness import Injected
from .training import training
from .values import flatten, plain

FACTOR = -1.5
"""What parameters are multiplied by: their signs and their sizes change."""

MOST = 24
"""Passes for one case. What is left then stays unknown."""
Trial = Callable[[], bool | None]

Leaves = list[tuple[str, Any]]


def tried(builder: Builder, args: dict[str, Any], shown: set[str]) -> dict[str, bool | None]:
    """By name in the reference's words ("input:NAME" for inputs) of each parameter and tensor input that is not in `shown`,
    whether another value of it moves an output. None: unknown, because the case has no other value, the
    model refuses it, or MOST were tried.

    args as for `gradients`. Runs in train mode, each time with the same injected draws.
    """
    built = prepared(builder, args)
    words = {theirs: ours for ours, theirs in builder.settings["renames"]["inputs"].items()}
    recipes = (args.get("recipes") or {}) if builder.settings["role"] == "candidate" else {}
    trials: dict[str, Trial] = {}
    run = _Runs(builder, built, args)
    for name, value in sorted(run.inputs().items()):
        if isinstance(value, torch.Tensor):
            trials[f"input:{words.get(name, name)}"] = partial(run.with_input, name)
    for word in sorted(_sources(built, recipes)):
        trials[word] = partial(run.with_parameter, word, recipes)
    left = [name for name in trials if name not in shown]
    try:
        run.first()
    except Exception:  # a forward that works with gradients only
        return dict.fromkeys(left)
    return {name: trials[name]() if number < MOST else None for number, name in enumerate(left)}


def _sources(built: Built, recipes: Mapping[str, Any]) -> set[str]:
    """The parameters of a model in the reference's words."""
    names = (name for name, _ in built.model.named_parameters())
    return {word for name in names for word in (recipes[name]["sources"] if name in recipes else [name])}


class _Runs:
    """Passes of one case that differ from the first in one thing."""

    def __init__(self, builder: Builder, built: Built, args: dict[str, Any]) -> None:
        self._builder, self._built, self._args = builder, built, args
        self._first: Leaves | None = None
        # rounding stays below half of the digits; a change of this size does not
        self._least = math.sqrt(torch.finfo(built.dtype if built.exact else torch.float32).eps)

    def inputs(self) -> dict[str, Any]:
        """Loaded for each pass: a model may write into them."""
        return load_inputs(self._args, self._built, self._builder)

    def with_input(self, name: str) -> bool | None:
        """As `tried`, of one input: drawn anew by the case's rule, or else another value of its type."""
        inputs = self.inputs()
        drawn = load_inputs({**self._args, "inputs": self._args["redrawn"]}, self._built, self._builder, "0/")[name]
        if torch.equal(drawn, inputs[name]):
            if drawn.dtype == torch.bool:
                drawn = ~drawn
            elif drawn.is_floating_point():
                drawn = 1 + FACTOR * drawn
        if torch.equal(drawn, inputs[name]):
            return None
        return self._moved({**inputs, name: drawn})

    def with_parameter(self, word: str, recipes: Mapping[str, Any]) -> bool | None:
        """As `tried`, of one parameter in the reference's words."""
        self.first()
        with self._changed(word, recipes):
            return self._moved(self.inputs())

    def first(self) -> Leaves:
        """The outputs of the case as it is."""
        if self._first is None:
            self._first = self._run(self.inputs())
        return self._first

    def _moved(self, inputs: dict[str, Any]) -> bool | None:
        first = self.first()
        try:
            return differ(first, self._run(inputs), self._least)
        except Exception:  # one side may refuse a value that neither computes with
            return None

    def _run(self, inputs: dict[str, Any]) -> Leaves:
        draws = Injected(self._builder.settings["seed"], self._builder.settings["path"])
        with torch.no_grad(), training(self._built.model), exact(self._built.exact), draws:
            return list(flatten(call(self._builder, self._built.model, inputs)))

    @contextlib.contextmanager
    def _changed(self, word: str, recipes: Mapping[str, Any]) -> Iterator[None]:
        """Within, a parameter, or of those that are made of it its part, is multiplied by FACTOR."""
        kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        try:
            for name, parameter in self._built.model.named_parameters():
                recipe = recipes.get(name)
                if word not in (recipe["sources"] if recipe else [name]):
                    continue
                kept.append((parameter.data, parameter.data.clone()))
                if recipe:
                    values = compose(self._builder.settings["seed"], recipe, scaled={word: FACTOR})
                    parameter.data.copy_(torch.from_numpy(values))
                else:
                    parameter.data.mul_(FACTOR)
            yield
        finally:
            for data, values in kept:
                data.copy_(values)


def differ(first: Leaves, second: Leaves, least: float) -> bool:
    """Whether two passes gave other outputs: other paths, shapes or values; floats by more than `least`, relative to the
    largest of their tensor."""
    if [path for path, _ in first] != [path for path, _ in second]:
        return True
    return any(_apart(a, b, least) for (_, a), (_, b) in zip(first, second, strict=True))


def _apart(a: Any, b: Any, least: float) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        known = bool | int | float | str | None
        return type(a) is not type(b) or (isinstance(a, known) and a != b and not (a != a and b != b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    x, y = plain(a), plain(b)
    other = ~((x == y) | ((x != x) & (y != y)))
    if not other.any():
        return False
    if not x.is_floating_point():
        return True
    return not bool((x - y).abs()[other].max() <= least * x[x.isfinite()].abs().max())
