# SPDX-License-Identifier: Apache-2.0
"""From the training model's names and layouts to the Hub's and back, by the rules of a spec's `mapping`.

One tensor at a time, exact: what was written is read again, converted back and compared with the source to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from verify import pair
from verify.checks import structure
from verify.mapping import Recipe, resolve
from verify.spec import MappingSpec, Spec
from verify.trace import Ask

from . import checkpoint, staging
from .checkpoint import Shape
from .errors import PublishError, some

Direction = Literal["hub", "training"]
TIMEOUT = 600.0


@dataclass(frozen=True, kw_only=True)
class Names:
    """Both state dicts by name and shape, and how Hub tensors are made of training tensors, by the Hub's name."""

    training: Mapping[str, Shape]
    hub: Mapping[str, Shape]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether names and layouts are alike, so that converting changes nothing but wrappers."""
        return not self.recipes and self.training == self.hub


def names_of(spec: Spec, base: Path, values: Mapping[str, Any]) -> Names:
    """What both sides of a spec call their parameters and saved buffers; each side says it in a process of its own.

    base: the folder from which the spec's paths count. Raises PublishError where a side cannot be built, or the rules
    leave a name of one side without one of the other.
    """
    ask = Ask(key="structure", op="structure", args={"values": dict(values)})
    found: list[dict[str, Shape]] = []
    with pair.started(spec, base, None, seed=0, device="cpu", timeout=TIMEOUT) as (sides, _):
        for side in sides:
            answer = side.ask(ask)
            if answer.result is None:
                raise PublishError(f"the {side.settings.role} cannot be built: {answer.fault}")
            saved = {e["name"] for e in answer.result["buffers"] if e["persistent"]}
            buffers = {n: s for n, s in structure.shapes(answer.result, "buffers").items() if n in saved}
            found.append(structure.shapes(answer.result) | buffers)
    return worked_out(spec.mapping, *found)


def worked_out(rules: MappingSpec, training: Mapping[str, Shape], hub: Mapping[str, Shape]) -> Names:
    """The rules for two lists of names. Raises PublishError where they do not lead from each name to one that is there."""
    resolved = resolve(rules, training, hub)
    made_of = {s for recipe in resolved.recipes.values() for s in recipe.sources}
    odd = [f"{name}: {problem}" for name, problem in resolved.problems.items()]
    odd += [f"{n}: the training model has none" for n in hub if n not in resolved.recipes and n not in training]
    odd += [f"{n}: nothing on the Hub is made of it" for n in training if n not in made_of and n not in hub]
    odd += [
        f"{n}: {list(training[n])} in training, {list(shape)} on the Hub"
        for n, shape in hub.items()
        if n not in resolved.recipes and n in training and training[n] != shape
    ]
    if odd:
        raise PublishError(f"the two models' names cannot be converted:{some(odd)}")
    return Names(training=training, hub=hub, recipes=resolved.recipes)


class Converted(Mapping[str, Tensor]):
    """Tensors by the names of the other side, each made when it is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor], names: Names, to: Direction) -> None:
        self._tensors, self._names, self._to = tensors, names, to
        self._targets = names.hub if to == "hub" else names.training

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._targets:
            raise KeyError(name)
        return self._to_hub(name) if self._to == "hub" else self._to_training(name)

    def _to_hub(self, name: str) -> Tensor:
        recipe = self._names.recipes.get(name)
        if recipe is None:
            return self._tensors[name]
        pieces = [self._tensors[source] for source in recipe.sources]
        made = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=recipe.axis)
        if recipe.part is not None:
            made = made.chunk(recipe.part[1], dim=recipe.axis)[recipe.part[0]]
        if recipe.transpose:
            made = made.transpose(0, 1)
        return made.reshape(recipe.reshape) if recipe.reshape is not None else made

    def _to_training(self, name: str) -> Tensor:
        users = [(hub, recipe) for hub, recipe in self._names.recipes.items() if name in recipe.sources]
        if not users:
            return self._tensors[name]
        hub, recipe = users[0]
        if recipe.part is None:
            joined = self._undone(hub, recipe)
        else:
            parts = {r.part[0]: self._undone(h, r) for h, r in users if r.part and r.sources == recipe.sources}
            joined = torch.cat([parts[n] for n in range(recipe.part[1])], dim=recipe.axis)
        sizes = [shape[recipe.axis] for shape in recipe.shapes]
        return joined.split(sizes, dim=recipe.axis)[recipe.sources.index(name)] if len(sizes) > 1 else joined

    def _undone(self, hub: str, recipe: Recipe) -> Tensor:
        """A Hub tensor before its reshape and transposition."""
        tensor = self._tensors[hub]
        if recipe.reshape is not None:
            plain = Recipe(
                sources=recipe.sources,
                shapes=recipe.shapes,
                axis=recipe.axis,
                part=recipe.part,
                transpose=recipe.transpose,
            )
            tensor = tensor.reshape(plain.shape)
        return tensor.transpose(0, 1) if recipe.transpose else tensor


def convert(
    source: checkpoint.Checkpoint,
    names: Names,
    to: Direction,
    folder: Path,
    *,
    shard: int | str = staging.DEFAULT_SHARD,
    prefix: str = "",
    progress: staging.Progress = lambda what: None,
) -> int:
    """Writes the tensors of `source` by the other side's names into a new folder, as safetensors, and proves them exact.

    prefix: put before every name, such as "module." for a training script that expects it. Returns how many tensors were
    written. Raises PublishError where the source is not of the side that it should be, or something came back changed.
    """
    misfit = checkpoint.misfit(source.tensors, names.training if to == "hub" else names.hub)
    if misfit.count:
        side = "training model's" if to == "hub" else "Hub's"
        raise PublishError(f"these are not the {side} names:\n{misfit}")
    if folder.exists():
        raise PublishError(f"{folder}: exists already; name a new folder")
    target = Converted(source.tensors, names, to)
    named = _Prefixed(target, prefix)
    with staging.whole(folder) as fresh:
        staging.write_weights(named, None, shard, fresh, progress)
        progress("back again, to compare")
        written = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.entries(fresh).items()}
        back = Converted(written, names, "training" if to == "hub" else "hub")
        changed = [name for name, tensor in source.tensors.items() if not identical(tensor, back[name])]
        if changed:
            raise PublishError(f"these came back changed:{some(changed)}")
    return len(target)


class _Prefixed(Mapping[str, Tensor]):
    def __init__(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self._tensors, self._prefix = tensors, prefix

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[str]:
        return (self._prefix + name for name in self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name[len(self._prefix) :]]


def identical(a: Tensor, b: Tensor) -> bool:
    """Whether dtype, shape and every bit are the same; NaN included."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    left, right = (x.contiguous().flatten().view(torch.uint8) for x in (a, b))
    return bool(torch.equal(left, right))
