"""Fingerprints of module calls."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from verify.divergence.modules import Fingerprint
from verify.observer.modules import _owners, _Recorder, fingerprint

arrays = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    elements=st.floats(-1e3, 1e3, width=32),
)


@given(arrays, st.randoms())
def test_norm_and_sums_do_not_depend_on_layout(array, random):
    shuffled = array.flatten()
    random.shuffle(shuffled)
    for other in (
        torch.from_numpy(array.T.copy()),
        torch.from_numpy(shuffled),
        torch.from_numpy(array.copy()).unsqueeze(0),
    ):
        a, b = fingerprint(torch.from_numpy(array.copy())), fingerprint(other)
        assert b["norm"] == pytest.approx(a["norm"], rel=1e-12)
        assert b["sums"] == pytest.approx(a["sums"], rel=1e-9, abs=1e-9)
        assert Fingerprint.read(a).near(Fingerprint.read(b), 1e-9) or other.ndim == 1 or array.shape == other.shape


@given(arrays)
def test_strides_change_nothing_but_rounding(array):
    tensor = torch.from_numpy(array.copy())
    strided = torch.stack([tensor, tensor], -1)[..., 0]
    a, b = fingerprint(tensor), fingerprint(strided)
    for key in ("norm", "sums", "projections"):
        assert b[key] == pytest.approx(a[key], rel=1e-12, abs=1e-12)


def test_projections_see_the_order():
    a = torch.arange(1.0, 7.0).reshape(2, 3)
    b = a.flip(0)
    assert fingerprint(a)["norm"] == fingerprint(b)["norm"]
    assert fingerprint(a)["projections"] != fingerprint(b)["projections"]
    assert not Fingerprint.read(fingerprint(a)).near(Fingerprint.read(fingerprint(b)), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3)])
def test_every_tensor_has_a_finite_fingerprint(dtype, shape):
    found = fingerprint(torch.ones(shape).to(dtype))
    assert found["shape"] == list(shape)
    assert np.isfinite([found["norm"], *found["sums"], *found["projections"]]).all()
    json.loads(json.dumps(found))


def test_zeros_have_one():
    assert fingerprint(torch.zeros(3)) == {"shape": [3], "norm": 0.0, "sums": [0.0] * 3, "projections": [0.0] * 4}


@pytest.mark.parametrize("change", [1e-6, -1e-6])
def test_a_small_change_is_seen(change):
    a = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = a.clone()
    b[1, 2] += change
    assert not Fingerprint.read(fingerprint(a)).near(Fingerprint.read(fingerprint(b)), 1e-12)
    assert Fingerprint.read(fingerprint(a)).near(Fingerprint.read(fingerprint(a * (1 + 1e-15))), 1e-12)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x, *, flag=None):
        return {"y": self.inner(self.inner(x))}


def test_calls_are_recorded_in_order_with_their_parents():
    model = nn.Sequential(nn.ReLU(), Twice())
    recorder = _Recorder(model, "/nowhere")
    model(torch.ones(3, 2))
    assert [(c["path"], c["index"], c["parent"], c["order"]) for c in recorder.calls] == [
        ("", 0, None, 0), ("0", 0, 0, 1), ("1", 0, 0, 2), ("1.inner", 0, 2, 3), ("1.inner", 1, 2, 4),
    ]  # fmt: skip
    assert all(len(c["inputs"]) == len(c["outputs"]) == 1 for c in recorder.calls)
    assert recorder.calls[3]["outputs"] == recorder.calls[4]["inputs"]
    recorder.remove()
    model(torch.ones(3, 2))
    assert len(recorder.calls) == 5


def test_the_owner_is_the_nearest_module_of_the_side(tmp_path):
    import os

    model = nn.Sequential(Twice())
    owners = _owners(model, os.path.dirname(__file__))
    assert owners["0.inner"]["name"] == owners["0"]["name"] == "Twice"
    assert owners[""]["file"] == "torch/nn/modules/container.py"
