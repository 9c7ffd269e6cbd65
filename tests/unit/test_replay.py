"""Operations done anew, against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from verify.divergence.graph import Operation
from verify.divergence.replay import Opaque, Replay, done

A = torch.arange(1, 25, dtype=torch.float64).reshape(2, 3, 4) / 7
B = A.flip(0) + 0.5
SQUARE = A[0, :, :3].contiguous()
CASES: list[tuple[str, list[torch.Tensor], tuple[Any, ...], Callable[..., Any]]] = [
    ("view", [A], ([6, 4],), lambda a: a.view(6, 4)),
    ("neg", [A], (), torch.neg),
    ("rsqrt", [A], (), torch.rsqrt),
    ("reciprocal", [A], (), torch.reciprocal),
    ("sigmoid", [A], (), torch.sigmoid),
    ("silu", [A], (), torch.nn.functional.silu),
    ("relu", [A - 2], (), torch.relu),
    ("tanh", [A], (), torch.tanh),
    ("add", [A, B], (), torch.add),
    ("sub", [A], (0.25,), lambda a: a - 0.25),
    ("div", [A, B], (), torch.div),
    ("maximum", [A, B], (), torch.maximum),
    ("bmm", [A, B.transpose(1, 2)], (), torch.bmm),
    ("mm", [SQUARE, SQUARE], (), torch.mm),
    ("pow", [A], (2,), lambda a: a**2),
    ("mean", [A], ([1], True), lambda a: a.mean(1, keepdim=True)),
    ("mean", [A], (), torch.mean),
    ("sum", [A], ([0, 2],), lambda a: a.sum((0, 2))),
    ("_softmax", [A], (-1, False), lambda a: a.softmax(-1)),
    ("stack", [A, B], (-1,), lambda a, b: torch.stack((a, b), -1)),
    ("cat", [A, B], (1,), lambda a, b: torch.cat((a, b), 1)),
    ("t", [SQUARE], (), torch.t),
    ("transpose", [A], (0, 2), lambda a: a.transpose(0, 2)),
    ("permute", [A], ([2, 0, 1],), lambda a: a.permute(2, 0, 1)),
    ("expand", [A[:, :1]], ([2, 5, 4],), lambda a: a.expand(2, 5, 4)),
    ("select", [A], (1, 2), lambda a: a.select(1, 2)),
    ("slice", [A], (2, 1, 4, 2), lambda a: a[:, :, 1:4:2]),
    ("slice", [A], (1, -2), lambda a: a[:, -2:]),
    ("unbind", [A], (1,), lambda a: a.unbind(1)),
    ("split", [A], (2, 2), lambda a: a.split(2, 2)),
    ("split_with_sizes", [A], ([1, 3], -1), lambda a: a.split([1, 3], -1)),
]


def operation(short: str, inputs: int, outputs: int, scalars: tuple[Any, ...] = (), order: int = 0) -> Operation:
    made = tuple(range(inputs, inputs + outputs))
    return Operation(order, f"aten.{short}.default", tuple(range(inputs)), made, (), "", scalars)


@pytest.mark.parametrize(("short", "given", "scalars", "torchs"), CASES)
def test_what_is_done_anew_is_what_torch_makes(short, given, scalars, torchs):
    made = torchs(*given)
    expected = [x.numpy() for x in (made if isinstance(made, tuple) else (made,))]
    found = done(
        operation(short, len(given), len(expected), scalars), [g.numpy() for g in given], [e.shape for e in expected]
    )
    assert [f.shape for f in found] == [e.shape for e in expected]
    assert all(np.allclose(f, e, rtol=1e-14, atol=0) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("short", "given", "scalars"),
    [
        ("erf", [A], ()),
        ("add", [A, B], (2,)),
        ("view", [A], ([5, 5],)),
        ("mm", [SQUARE, A[0].T[:3, :2]], ()),
        ("permute", [A], ()),
    ],
)
def test_what_is_not_known_is_not_guessed(short, given, scalars):
    shape = (5, 5) if short == "view" else tuple(A.shape)
    if short == "mm":
        given = [given[0], given[1][:2]]
    with pytest.raises(Opaque):
        done(operation(short, len(given), 1, scalars), [g.numpy() for g in given], [shape])


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b))


def chain(recorded: np.ndarray | None = None) -> Replay:
    """x (0) · y (1) = 2; -(2) = 3; (3) + x = 4."""
    x, y = A.numpy(), B.numpy()
    product = x * y
    turned = -product if recorded is None else recorded
    values = {0: x, 1: y, 2: product, 3: turned, 4: turned + x}
    steps = [("mul", (0, 1), (2,)), ("neg", (2,), (3,)), ("add", (3, 0), (4,))]
    operations = [Operation(n, f"aten.{s}.Tensor", i, o, (), "", ()) for n, (s, i, o) in enumerate(steps)]
    return Replay(operations, values, close)


def test_a_change_reaches_all_that_reads_it():
    replay = chain()
    x, y = A.numpy(), B.numpy()
    assert replay.complete
    assert np.allclose(replay.after({1: x}, 4), x - x * x)
    assert np.allclose(replay.after({2: y}, 4, start=0), x - y)
    assert np.allclose(replay.after({0: y}, 4), y - y * y)
    assert np.allclose(replay.after({}, 4), x - x * y)


def test_one_operation_alone_can_read_another_value():
    replay = chain()
    (made,) = replay.once(replay.operations[2], 1, B.numpy())
    assert np.allclose(made, B.numpy() - A.numpy() * B.numpy())
    assert replay.once(replay.operations[2], 1, B.numpy()[0, :2, :2]) is None, "of another shape"


def test_an_operation_that_does_not_repeat_its_own_value_is_not_trusted():
    replay = chain(recorded=A.numpy())
    assert not replay.complete
    assert replay.once(replay.operations[1], 0, B.numpy()) is None
    with pytest.raises(Opaque):
        replay.after({1: A.numpy()}, 4)
    assert np.allclose(replay.after({3: A.numpy()}, 4, start=1), 2 * A.numpy()), "what comes after it is known"
