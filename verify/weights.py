"""Weights in generic position, drawn by name.

Default initialisation hides faults: biases of zero, norm weights of one, near-uniform attention. Here every parameter is
drawn from its own stream, keyed by seed and name, so that each side makes the same values without a byte crossing over,
in any order, and a model with fewer layers gets the same values for the layers that it has.

All values are exactly representable in float32, so the float64 and the float32 model hold the same numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

GAIN = 1.4
"""Spread of a projection's output for inputs of spread one. Attention logits then have a spread near two, so that a
softmax is far from uniform, while 40 pre-norm layers stay well-conditioned."""

VECTOR_SPREAD = 0.3
"""Standard deviation of biases around zero and of norm and scale weights around one."""


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one name. Independent of every other name and of the order in which streams are used."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(errors="surrogatepass"), digest_size=32).digest()
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(list(np.frombuffer(digest, dtype=np.uint32)))))


def placement(name: str, shape: Sequence[int]) -> tuple[float, float]:
    """Centre and standard deviation for a parameter, from its name and shape alone.

    Matrices and kernels [out, in, ...] get GAIN / sqrt(fan-in); tokens and tables [1, ...] spread one; vectors named
    `bias` sit around zero; other vectors (norm weights, layer scales) around one.
    """
    if len(shape) >= 2:
        fan_in = math.prod(shape[1:])
        return 0.0, 1.0 if shape[0] == 1 else GAIN / math.sqrt(max(fan_in, 1))
    is_bias = name.rsplit(".", 1)[-1].lower().endswith(("bias", "beta"))
    return (0.0 if is_bias else 1.0), VECTOR_SPREAD


def draw(seed: int, name: str, shape: Sequence[int]) -> NDArray[Any]:
    """Values of one parameter: float32 array of `shape`, uniform around its centre (see `placement`)."""
    centre, spread = placement(name, shape)
    values = stream(seed, name).random(tuple(shape), dtype=np.float32)
    width = np.float32(2.0 * math.sqrt(3.0) * spread)
    values *= width
    values += np.float32(centre) - width / np.float32(2)
    return values


def compose(seed: int, recipe: Mapping[str, Any], scaled: Mapping[str, float] | None = None) -> NDArray[Any]:
    """Values of a parameter that is made of others (see `mapping.Recipe`): float32, contiguous.

    scaled: factors of those that are not to have their own values.
    """
    pieces = [draw(seed, name, shape) for name, shape in zip(recipe["sources"], recipe["shapes"], strict=True)]
    for name, piece in zip(recipe["sources"], pieces, strict=True):
        if scaled and name in scaled:
            piece *= np.float32(scaled[name])
    values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=recipe["axis"])
    if recipe["part"] is not None:
        index, count = recipe["part"]
        values = np.split(values, count, axis=recipe["axis"])[index]
    if recipe["transpose"]:
        values = np.swapaxes(values, 0, 1)
    if recipe["reshape"] is not None:
        values = values.reshape(recipe["reshape"])
    return np.ascontiguousarray(values)
