"""One side's recorded operations, read from what its observer sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUMS, PROJECTIONS, AXES = slice(0, 4), slice(4, 8), slice(8, 14)
VIEWS = frozenset(
    {"view", "_unsafe_view", "reshape", "t", "transpose", "permute", "unsqueeze", "squeeze", "alias", "detach", "clone",
     "contiguous", "_to_copy", "unflatten", "flatten", "lift_fresh", "as_strided", "_reshape_alias", "movedim"}
)  # fmt: skip
"""Operations that hand on all their input's values, in another layout at most."""
TURNS = frozenset({"transpose", "permute", "t", "movedim"})
"""Those in which the elements are in another order."""
JOINS = frozenset({"cat", "stack"})
"""Operations that put several values into one."""
PARTS = frozenset({"split", "split_with_sizes", "slice", "select", "chunk", "expand", "unbind"})
"""Operations that hand on part of their input's values, or repeat them."""


@dataclass(frozen=True)
class Frame:
    """One level of the source lines that led to an operation."""

    file: str
    line: int
    function: str
    own: bool
    at: int


@dataclass(frozen=True)
class Operation:
    """One dispatched operation: values read and made, and where it was asked for, innermost frame first.

    inside: whether a library's module did it, with no line of the user's between the module's call and it.
    """

    order: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stack: tuple[Frame, ...]
    path: str
    scalars: tuple[Any, ...]
    inside: bool = False

    @property
    def short(self) -> str:
        """mul for aten.mul.Tensor and for aten.mul_.Tensor, which writes in place."""
        return (self.name.split(".")[1] if "." in self.name else self.name).rstrip("_")

    @property
    def frame(self) -> Frame | None:
        """The innermost line of the side's own code; else the innermost of all."""
        return next((f for f in self.stack if f.own), self.stack[0] if self.stack else None)


@dataclass(frozen=True)
class Value:
    """What a tensor held at one moment. leaf: "parameter:NAME", "input:NAME", "buffer:NAME", "constant:" or ""."""

    number: int
    shape: tuple[int, ...]
    kind: str
    leaf: str
    producer: int | None
    whole: str
    hashes: NDArray[np.int64]
    bound: int

    @property
    def count(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def squeezed(self) -> tuple[int, ...]:
        """The shape without axes of size one."""
        return tuple(n for n in self.shape if n != 1)


@dataclass
class Graph:
    """Operations and values of one run, and the values that came out of it by path."""

    operations: list[Operation]
    values: list[Value]
    vectors: NDArray[np.float64]
    outputs: dict[str, int]
    cut: bool = False
    consumers: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Graph:
        """Raises KeyError, TypeError, ValueError or IndexError for what is no graph: a side is not trusted.

        Values are numbered in order of execution, so nothing is made of what comes after it: walks backwards end.
        """
        stacks = [tuple(Frame(str(f), int(n), str(q), bool(o), int(a)) for f, n, q, o, a in s) for s in data["stacks"]]
        operations = [
            Operation(order, str(name), tuple(map(int, read)), tuple(map(int, made)), stacks[stack], str(path), tuple(scalars), bool(inside))
            for order, (name, read, made, stack, path, scalars, inside) in enumerate(data["operations"])
        ]  # fmt: skip
        starts, bounds = arrays["starts"], arrays["bounds"]
        values = [
            Value(
                number, tuple(map(int, shape)), str(kind), str(leaf), None if producer is None else int(producer),
                str(whole), arrays["hashes"][starts[number] : starts[number + 1]], int(bounds[number]),
            )
            for number, (shape, kind, leaf, producer, whole) in enumerate(data["values"])
        ]  # fmt: skip
        graph = cls(
            operations=operations,
            values=values,
            vectors=np.asarray(arrays["vectors"], dtype=np.float64).reshape(len(values), -1),
            outputs={str(path): int(number) for path, number in data["outputs"]},
            cut=bool(data["cut"]),
        )
        for value in values:
            if value.producer is not None and not value.number >= 0 <= value.producer < len(operations):
                raise ValueError(f"value {value.number} is made by the operation {value.producer}")
            maker = graph.producer(value.number)
            if maker is not None and not all(0 <= number < value.number for number in maker.inputs):
                raise ValueError(f"value {value.number} is made of {maker.inputs}")
        for operation in operations:
            for number in operation.inputs:
                _ = values[number]
                graph.consumers.setdefault(number, []).append(operation.order)
        return graph

    def producer(self, number: int) -> Operation | None:
        order = self.values[number].producer
        return None if order is None else self.operations[order]

    def behind(self, number: int) -> int:
        """The value from which views and copies lead to this one."""
        seen = 0
        while seen < 50:
            maker = self.producer(number)
            if maker is None or maker.short not in VIEWS | PARTS or len(maker.inputs) != 1:
                return number
            if self.values[maker.inputs[0]].count != self.values[number].count:
                return number
            number, seen = maker.inputs[0], seen + 1
        return number

    @cached_property
    def laid_out(self) -> dict[int, list[int]]:
        """By value that is no view or copy, it and all that only hold it in another layout."""
        found: dict[int, list[int]] = {}
        for number in range(len(self.values)):
            found.setdefault(self.behind(number), []).append(number)
        return found

    def ancestors(self, number: int) -> set[int]:
        """A value and all that it comes from."""
        seen, todo = {number}, [number]
        while todo:
            maker = self.producer(todo.pop())
            fresh = set(maker.inputs) - seen if maker is not None else set()
            seen |= fresh
            todo += fresh
        return seen

    def leading_to(self, numbers: Iterable[int]) -> set[int]:
        """All values that any of some values comes from, and these."""
        found = set(numbers)
        for operation in reversed(self.operations):
            if not found.isdisjoint(operation.outputs):
                found.update(operation.inputs)
        return found

    def whole(self, number: int) -> int:
        """The value that this one is, or is a part of, by views, slices and copies alone."""
        for _ in range(50):
            maker = self.producer(number)
            if maker is None or len(maker.inputs) != 1 or maker.short not in (*VIEWS, *PARTS):
                break
            number = maker.inputs[0]
        return number

    def root(self, number: int) -> str:
        """The parameter that a value is, or is a part of by views alone; "" if none."""
        leaf = self.values[self.whole(number)].leaf
        return leaf.removeprefix("parameter:") if leaf.startswith("parameter:") else ""

    @cached_property
    def anchors(self) -> dict[tuple[Any, ...], list[int]]:
        """Operations that read a parameter, in order, by which and how much they make: both sides have them."""
        found: dict[tuple[Any, ...], list[int]] = {}
        for operation in self.operations:
            roots = tuple(sorted({r for r in map(self.root, operation.inputs) if r}))
            if roots and operation.outputs and operation.short not in VIEWS and self.data(operation):
                count = self.values[operation.outputs[0]].count
                found.setdefault((roots, count), []).append(operation.order)
        return found

    def data(self, operation: Operation) -> list[int]:
        """The inputs that are no parameter or part of one."""
        return [n for n in operation.inputs if not self.root(n)]

    def instances(self, operation: Operation, *, deep: bool = False) -> list[int]:
        """The operations of the same place in the source, in order of execution; deep: called from the same places."""
        return self._places[deep][place_of(operation, deep=deep)]

    @cached_property
    def _places(self) -> dict[bool, dict[Any, list[int]]]:
        found: dict[bool, dict[Any, list[int]]] = {False: {}, True: {}}
        for operation in self.operations:
            for deep, places in found.items():
                places.setdefault(place_of(operation, deep=deep), []).append(operation.order)
        return found

    def call_index(self, operation: Operation) -> int:
        """How many times the operation's place in the source had run before."""
        return self.instances(operation).index(operation.order)


def place_of(operation: Operation, *, deep: bool = False) -> tuple[Any, ...]:
    """What tells one place in the source from another: the operation and the line's own frame down to torch.

    deep: with the lines that called it.
    """
    inner = []
    for frame in operation.stack:
        inner.append((frame.file, frame.line, frame.at))
        if frame.own and not deep:
            break
    return (operation.name, tuple(inner))


def outward(path: str) -> Iterator[str]:
    """A module's path and those of what holds it, the nearest first; the last is the model's own, which is empty."""
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path
