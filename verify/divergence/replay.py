"""Recorded operations done anew on captured values, for asking what a change of one of them would give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.graph import Operation

Array = NDArray[Any]
SAME_ORDER = frozenset(
    {"view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "alias", "detach", "clone", "contiguous", "_to_copy",
     "unflatten", "flatten", "lift_fresh", "_reshape_alias"}
)  # fmt: skip
"""Operations that keep the order of the elements."""
UNARY: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative, "exp": np.exp, "cos": np.cos, "sin": np.sin, "tanh": np.tanh, "sqrt": np.sqrt, "abs": np.abs,
    "rsqrt": lambda a: 1 / np.sqrt(a), "reciprocal": lambda a: 1 / a, "log": np.log, "square": np.square,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)), "silu": lambda a: a / (1 + np.exp(-a)), "relu": lambda a: np.maximum(a, 0),
}  # fmt: skip
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "mm": np.matmul, "bmm": np.matmul, "matmul": np.matmul,
}  # fmt: skip


class Opaque(Exception):
    """An operation that is not done anew here."""


def done(operation: Operation, given: list[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    """What an operation makes of these inputs. shapes: of its recorded outputs. Raises Opaque."""
    try:
        with np.errstate(all="ignore"):
            return _done(operation, given, shapes)
    except (ValueError, IndexError, TypeError, StopIteration, ZeroDivisionError) as error:
        raise Opaque(str(error)) from error


def _done(operation: Operation, given: list[Array], shapes: list[tuple[int, ...]]) -> list[Array]:
    short = operation.short
    numbers = [s for s in operation.scalars if isinstance(s, int | float) and not isinstance(s, bool)]
    if short in SAME_ORDER:
        return [given[0].reshape(shapes[0])]
    if short in UNARY and len(given) == 1:
        return [UNARY[short](given[0])]
    if short in BINARY and not numbers and len(given) == 2:
        return [BINARY[short](*given)]
    if short in BINARY and len(given) == 1 and len(numbers) == 1:
        return [BINARY[short](given[0], np.asarray(numbers[0]))]
    if short == "pow" and len(given) == 1 and len(numbers) == 1:
        return [given[0] ** numbers[0]]
    if short in ("mean", "sum") and len(given) == 1:
        return [_reduced(operation, given[0])]
    if short in ("softmax", "_softmax"):
        wide = np.exp(given[0] - given[0].max(axis=int(numbers[0]), keepdims=True))
        return [wide / wide.sum(axis=int(numbers[0]), keepdims=True)]
    return _laid_out(operation, given, shapes, numbers)


def _laid_out(
    operation: Operation, given: list[Array], shapes: list[tuple[int, ...]], numbers: list[Any]
) -> list[Array]:
    """Operations that hand on elements in another order, or some of them."""
    short, array = operation.short, given[0]
    if short in ("stack", "cat"):
        join = np.stack if short == "stack" else np.concatenate
        return [join(given, axis=int(numbers[0]) if numbers else 0)]
    if short == "t":
        return [array.T]
    if short == "transpose":
        return [np.swapaxes(array, int(numbers[0]), int(numbers[1]))]
    if short == "permute":
        return [array.transpose(next(s for s in operation.scalars if isinstance(s, list)))]
    if short == "expand":
        return [np.broadcast_to(array, shapes[0])]
    if short == "select":
        return [np.take(array, int(numbers[1]), axis=int(numbers[0]))]
    if short == "slice":
        axis, start, end, step = (*(int(n) for n in numbers), *(0, 0, 2**62, 1)[len(numbers) :])
        place = [slice(None)] * array.ndim
        place[axis] = slice(start, end, step)
        return [array[tuple(place)]]
    if short == "unbind":
        axis = int(numbers[0]) if numbers else 0
        return [np.take(array, n, axis=axis) for n in range(array.shape[axis])]
    if short in ("split", "split_with_sizes", "chunk"):
        axis = next(n for n in range(array.ndim) if any(s[n] != array.shape[n] for s in shapes))
        return list(np.split(array, np.cumsum([s[axis] for s in shapes])[:-1], axis=axis))
    raise Opaque(short)


def _reduced(operation: Operation, array: Array) -> Array:
    axes = next((s for s in operation.scalars if isinstance(s, list)), None)
    flags = [s for s in operation.scalars if isinstance(s, bool)]
    chosen = tuple(int(a) for a in axes) if axes else None
    reduce = np.mean if operation.short == "mean" else np.sum
    found: Array = np.asarray(reduce(array, axis=chosen, keepdims=bool(flags and flags[0])))
    return found


class Replay:
    """Some operations of a run in order, and the values that they had.

    operations: in order of execution. values: every input and output of them that was captured, float64 where they are
    numbers with a fraction. Those whose outputs cannot be made anew to the value that was recorded are opaque: what they
    would make of other inputs is not known.
    """

    def __init__(self, operations: list[Operation], values: Mapping[int, Array], close: Callable[[Array, Array], bool]):
        self.operations = operations
        self.values = values
        self.elements = 0
        """Elements made so far: what this has cost."""
        self._opaque = {o.order for o in operations if not self._repeats(o, close)}

    @property
    def complete(self) -> bool:
        """Whether every operation can be done anew."""
        return not self._opaque

    def _repeats(self, operation: Operation, close: Callable[[Array, Array], bool]) -> bool:
        if any(n not in self.values for n in (*operation.inputs, *operation.outputs)):
            return False
        try:
            made = done(operation, [self.values[n] for n in operation.inputs], self._shapes(operation))
        except Opaque:
            return False
        pairs = list(zip(made, (self.values[n] for n in operation.outputs), strict=False))
        return len(made) == len(operation.outputs) and all(a.shape == b.shape and close(a, b) for a, b in pairs)

    def _shapes(self, operation: Operation) -> list[tuple[int, ...]]:
        return [self.values[n].shape for n in operation.outputs]

    def once(self, operation: Operation, place: int, array: Array) -> list[Array] | None:
        """What one operation would make with another input; None where that is not known or of another shape."""
        if operation.order in self._opaque:
            return None
        given = [array if n == place else self.values[v] for n, v in enumerate(operation.inputs)]
        try:
            made = done(operation, given, self._shapes(operation))
        except Opaque:
            return None
        self.elements += sum(a.size for a in made)
        same = [a.shape for a in made] == self._shapes(operation) and len(made) == len(operation.outputs)
        return made if same else None

    def after(self, changed: Mapping[int, Array], target: int, start: int = -1) -> Array:
        """What the value `target` would be with some values changed, which only operations later than `start` read so.

        Raises Opaque where an operation on the way cannot be done anew.
        """
        now = dict(changed)
        for operation in self.operations:
            if operation.order <= start or not any(n in now for n in operation.inputs):
                continue
            if all(n in changed for n in operation.outputs):
                continue
            if operation.order in self._opaque:
                raise Opaque(operation.short)
            given = [now.get(n, self.values[n]) for n in operation.inputs]
            for number, made in zip(operation.outputs, done(operation, given, self._shapes(operation)), strict=True):
                if made.shape != self.values[number].shape:
                    raise Opaque("another shape")
                now.setdefault(number, made)
                self.elements += made.size
        return now.get(target, self.values[target])
