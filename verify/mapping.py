"""Mapping: how the candidate's names and weight layouts follow from the reference's.

A candidate that renames modules, fuses q, k and v, or stores a weight transposed is the same function with other names.
The spec's `mapping` says how; here it is worked out for two given lists of parameters.

In patterns `{name}` stands for one dotted component and `{name*}` for one or more; the same name stands for the same
text on both sides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.spec import MappingSpec, ParameterRule

PLACEHOLDER = re.compile(r"\{(\w+)(\*?)\}")
Shape = tuple[int, ...]


def pattern(source: str) -> str:
    """A rule's source as a regular expression whose groups are the placeholders."""
    seen: set[str] = set()

    def group(found: re.Match[str]) -> str:
        key = found[1]
        if key in seen:
            return f"(?P={key})"
        seen.add(key)
        return rf"(?P<{key}>[^.]+(?:\.[^.]+)*)" if found[2] else rf"(?P<{key}>[^.]+)"

    parts, last = [], 0
    for found in PLACEHOLDER.finditer(source):
        parts += [re.escape(source[last : found.start()]), group(found)]
        last = found.end()
    return "".join([*parts, re.escape(source[last:])])


def rename(name: str, source: str, target: str) -> str | None:
    """`name` by the rule source → target, or None where `source` does not match it."""
    matched = re.fullmatch(pattern(source), name)
    return PLACEHOLDER.sub(lambda m: matched[m[1]], target) if matched else None


def to_wire(rules: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rules for a side, which has no patterns of ours: regular expressions, and templates as `re.Match.expand` takes."""
    return [
        (pattern(source), PLACEHOLDER.sub(r"\\g<\1>", target.replace("\\", r"\\"))) for source, target in rules.items()
    ]


def renamed(name: str, rules: Mapping[str, str]) -> str:
    """`name` by the first rule that matches it, or as it is."""
    return next((new for a, b in rules.items() if (new := rename(name, a, b)) is not None), name)


def inverse(rules: Mapping[str, str]) -> dict[str, str]:
    """Rules from the candidate's names to the reference's."""
    return {b: a for a, b in rules.items()}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one candidate parameter is made: sources joined along `axis`, or one of `part` equal pieces along it; then the
    first two axes swapped, then reshaped.

    sources: names in the reference. shapes: theirs. part: (index, count).
    """

    sources: tuple[str, ...]
    shapes: tuple[Shape, ...]
    axis: int = 0
    part: tuple[int, int] | None = None
    transpose: bool = False
    reshape: Shape | None = None

    @property
    def shape(self) -> Shape:
        """The shape that comes out. ValueError where the sources do not fit together."""
        first, *rest = self.shapes
        axis = self.axis
        if not 0 <= axis < max(len(first), 1):
            raise ValueError(f"there is no axis {axis} in {list(first)}")
        size = list(first)
        for other in rest:
            if len(other) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(first, other, strict=True)) if i != axis
            ):
                raise ValueError(f"{list(first)} and {list(other)} cannot be joined along axis {axis}")
            size[axis] += other[axis]
        if self.part is not None:
            if size[axis] % self.part[1]:
                raise ValueError(f"axis {axis} of {size} cannot be cut into {self.part[1]} equal parts")
            size[axis] //= self.part[1]
        if self.transpose:
            if len(size) < 2:
                raise ValueError(f"{size} has no two axes to swap")
            size[0], size[1] = size[1], size[0]
        if self.reshape is not None:
            if math.prod(self.reshape) != math.prod(size):
                raise ValueError(f"{size} cannot be reshaped to {list(self.reshape)}")
            return self.reshape
        return tuple(size)

    @property
    def plain(self) -> bool:
        """Whether it is no more than another name."""
        return len(self.sources) == 1 and self.part is None and not self.transpose and self.reshape is None

    def to_wire(self) -> dict[str, Any]:
        """As `weights.compose` reads it."""
        return {
            "sources": list(self.sources),
            "shapes": [list(s) for s in self.shapes],
            "axis": self.axis,
            "part": self.part,
            "transpose": self.transpose,
            "reshape": self.reshape,
        }


@dataclass(kw_only=True)
class Resolved:
    """A mapping worked out: recipes by candidate name, and what does not fit, by candidate name.

    rules: places of the rules that some candidate name matched.
    """

    recipes: dict[str, Recipe] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    rules: set[int] = field(default_factory=set)

    def candidate(self, name: str) -> str:
        """What the candidate calls the reference's `name`: itself where no rule renames it."""
        return next((own for own, recipe in self.recipes.items() if name in recipe.sources), name)

    def to_wire(self) -> dict[str, Any]:
        return {name: recipe.to_wire() for name, recipe in self.recipes.items()}


def resolve(mapping: MappingSpec, reference: Mapping[str, Shape], candidate: Mapping[str, Shape]) -> Resolved:
    """Which reference parameters make each candidate parameter. Names that no rule matches stand for themselves."""
    found = Resolved()
    for name, shape in candidate.items():
        rule, sources = _sources(mapping.parameters, name)
        if rule is None:
            continue
        found.rules.add(mapping.parameters.index(rule))
        missing = [s for s in sources if s not in reference]
        if missing:
            found.problems[name] = f"the mapping makes it of {', '.join(missing)}, which the reference does not have"
            continue
        recipe = Recipe(
            sources=tuple(sources),
            shapes=tuple(tuple(reference[s]) for s in sources),
            axis=rule.axis,
            part=tuple(rule.part) if rule.part else None,  # type: ignore[arg-type]
            transpose=rule.transpose,
            reshape=tuple(shape) if rule.reshape else None,
        )
        try:
            if recipe.shape != tuple(shape):
                raise ValueError(f"it is {list(shape)} and the mapping gives {list(recipe.shape)}")
        except ValueError as error:
            found.problems[name] = f"the mapping does not fit: {error}"
            continue
        found.recipes[name] = recipe
    _whole(found)
    return found


def _whole(found: Resolved) -> None:
    """A parameter that is cut must be used to its last piece, else weights would go unseen. Pieces of several sizes, as of
    queries, keys and values that share heads, are those of several counts."""
    pieces: dict[str, dict[tuple[int, int], str]] = {}
    for name, recipe in found.recipes.items():
        if recipe.part is not None:
            for source in recipe.sources:
                pieces.setdefault(source, {})[recipe.part] = name
    for source, names in pieces.items():
        count = math.lcm(*(of for _, of in names))
        used = {n for i, of in names for n in range(i * count // of, (i + 1) * count // of)}
        lost = sorted(set(range(count)) - used)
        if lost:
            first = next(iter(names.values()))
            found.problems[first] = f"of {source}, cut into {count}, nothing is made of the pieces {lost}"


def _sources(rules: Iterable[ParameterRule], name: str) -> tuple[ParameterRule | None, list[str]]:
    for rule in rules:
        patterns = [rule.reference] if isinstance(rule.reference, str) else rule.reference
        sources = [rename(name, rule.candidate, pattern) for pattern in patterns]
        if all(source is not None for source in sources):
            return rule, [str(source) for source in sources]
    return None, []
