"""The relative difference by layer: which calls count as layers, how they are aligned, how good the estimate is."""

from __future__ import annotations

import pytest
import torch

from verify.divergence.layers import by_layer
from verify.observer.modules import fingerprint


def call(path, tensor, index=0):
    return {"path": path, "index": index, "outputs": [fingerprint(tensor)] if tensor is not None else []}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_layer_by_path_in_order_of_execution():
    x, y = drawn(4, 50), drawn(4, 50, seed=1)
    calls = [
        call("", x), call("embed", x), call("layers.0", x), call("layers.0.attn", y), call("layers.1", y),
        call("layers.1", x, index=1), call("norm", y), call("idle", None),
    ]  # fmt: skip
    moved = [*calls[:4], call("layers.1", y * (1 + 1e-3)), *calls[5:6], call("norm", -y), calls[7]]
    found = by_layer(calls, moved)
    assert [layer.path for layer in found] == ["embed", "layers.0", "layers.1", "norm"]
    errors = [layer.error for layer in found]
    assert errors[:2] == [0.0, 0.0]
    assert errors[2] == pytest.approx(1e-3, rel=0.95)
    assert 0.1 < errors[3] < 20


def test_the_estimate_is_right_in_the_mean():
    x = drawn(64, 64)
    errors = []
    for seed in range(40):
        noise = drawn(64, 64, seed=seed + 1)
        errors.append(by_layer([call("a", x)], [call("a", x + 1e-6 * noise * x.norm() / noise.norm())])[0].error)
    assert 0.8e-6 < sum(e * e for e in errors) ** 0.5 / len(errors) ** 0.5 < 1.25e-6


def test_layers_of_other_names_are_aligned_one_by_one_and_other_shapes_left_out():
    x = drawn(6, 2)
    left = [call("layers.0", x), call("layers.1", x)]
    assert [layer.path for layer in by_layer(left, [call("h.0", x), call("h.1", x)])] == ["h.0", "h.1"]
    assert by_layer(left, [call("h.0", x)]) == []
    assert [layer.path for layer in by_layer(left, [call("layers.0", x), call("layers.1", x.T)])] == ["layers.0"]


def test_what_is_not_finite_has_no_difference_to_show():
    x = drawn(6, 2)
    assert by_layer([call("a", x)], [call("a", x * float("inf"))]) == []
    assert by_layer([call("a", x * 0)], [call("a", x * 0)])[0].error == 0.0
