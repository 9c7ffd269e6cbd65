"""Cases: the inputs of each scenario, drawn once by the parent so that both sides get the same bytes."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from verify.spec import CaseSpec, InputSpec, Size, SpecError
from verify.weights import stream

OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
MOST_ELEMENTS = 2**31
LONGEST_SIZE = 200


def size(expression: Size, values: Mapping[str, Any]) -> int:
    """The number that a size stands for: an integer, or + - * // over integers and configuration values.

    Raises SpecError with the names that are known when one is not.
    """
    if isinstance(expression, int):
        return expression

    def number(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Name):
            value = values.get(node.id)
            if type(value) is not int:
                known = ", ".join(sorted(k for k, v in values.items() if type(v) is int)) or "none"
                raise SpecError(f"size {expression!r}: {node.id!r} is no whole number of this variant; known: {known}")
            return value
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return int(OPERATORS[type(node.op)](number(node.left), number(node.right)))
        raise SpecError(f"size {expression!r}: only integers, configuration names and + - * // are understood")

    try:
        if len(expression) > LONGEST_SIZE:
            raise SyntaxError(f"longer than {LONGEST_SIZE} characters")
        return number(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ZeroDivisionError, RecursionError, MemoryError, ValueError) as error:
        raise SpecError(f"size {expression[:LONGEST_SIZE]!r}: {error}") from error


def draw_inputs(case: CaseSpec, name: str, values: Mapping[str, Any], seed: int) -> dict[str, NDArray[Any]]:
    """Every tensor of a case: float32, int64 or bool arrays by argument name. Deterministic by seed, case and name."""
    return {key: _draw(spec, f"cases/{name}/{key}", values, seed) for key, spec in sorted(case.inputs.items())}


def check_sizes(case: CaseSpec, name: str, values: Mapping[str, Any]) -> None:
    """Raises SpecError where the tensors of a case could not be drawn. Draws none."""
    for key, spec in case.inputs.items():
        _sizes(spec, f"cases/{name}/{key}", values)


def batch(case: CaseSpec, values: Mapping[str, Any]) -> int | None:
    """Rows of a case's batch: the first size of its tensors, where all have the same and it is above one."""
    sizes = {size(spec.shape[0], values) if spec.shape else None for spec in case.inputs.values()}
    rows = sizes.pop()
    return rows if not sizes and rows is not None and rows > 1 else None


def write_inputs(arrays: dict[str, NDArray[Any]], file: Path) -> None:
    """Writes a case's tensors as safetensors."""
    save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, str(file))


def _sizes(spec: InputSpec, name: str, values: Mapping[str, Any]) -> tuple[tuple[int, ...], int | None]:
    """Shape and `below` as numbers."""
    try:
        shape = tuple(size(s, values) for s in spec.shape)
        below = None if spec.below is None else size(spec.below, values)
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from error
    if any(not 0 <= n <= MOST_ELEMENTS for n in shape) or math.prod(shape) > MOST_ELEMENTS:
        raise SpecError(f"{name}: shape {shape} is not one that can be drawn")
    if below is not None and not 0 < below < 2**62:
        raise SpecError(f"{name}: below is {below}; values are drawn from [0, below)")
    if below is not None and not shape:
        raise SpecError(f"{name}: {spec.draw} needs a shape of at least one size")
    if below is not None and spec.draw != "integers" and shape[-1] > below:
        raise SpecError(f"{name}: cannot choose {shape[-1]} of {below} without repeats")
    return shape, below


def _draw(spec: InputSpec, name: str, values: Mapping[str, Any], seed: int) -> NDArray[Any]:
    shape, below = _sizes(spec, name, values)
    random = stream(seed, name)
    if below is not None:
        return _whole(spec, shape, below, random)
    return _typed(_floats(spec, shape, random) * spec.scale + spec.offset, spec.dtype or "float")


def _floats(spec: InputSpec, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """normal, uniform or constant values of spread, half-width or value one."""
    if spec.rows == "same" and shape:
        one = _floats(spec.model_copy(update={"rows": "different"}), shape[1:], random)
        return np.broadcast_to(one, shape).copy()
    if spec.draw == "uniform":
        return np.asarray(random.uniform(-1.0, 1.0, shape))
    return np.ones(shape) if spec.draw == "constant" else np.asarray(random.standard_normal(shape))


def _typed(drawn: NDArray[Any], dtype: str) -> NDArray[Any]:
    if dtype == "bool":
        return np.asarray(drawn > 0)
    if dtype == "int64":
        return np.asarray(np.rint(drawn), dtype=np.int64)
    return np.asarray(drawn, dtype=np.float32)


def _whole(spec: InputSpec, shape: tuple[int, ...], below: int, random: np.random.Generator) -> NDArray[np.int64]:
    """integers: repeats allowed. subset: sorted, none twice. permutation: none twice, any order. Last axis chooses."""
    *lead, count = shape

    def row() -> NDArray[np.int64]:
        if spec.draw == "integers":
            return random.integers(0, below, count)
        chosen = random.permutation(below)[:count]
        return np.sort(chosen) if spec.draw == "subset" else chosen

    rows = math.prod(lead)
    drawn = [row()] * rows if spec.rows == "same" else [row() for _ in range(rows)]
    return np.asarray(drawn, dtype=np.int64).reshape(shape)
