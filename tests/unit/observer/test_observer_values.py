"""Outputs and tensors as plain data."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from verify.observer.values import container, describe, dtype_name, flatten, plain


@dataclass
class Out:
    hidden: object
    pooled: object = None


Pair = namedtuple("Pair", "a b")
T = torch.ones(2)


@pytest.mark.parametrize(
    ("output", "kind", "paths"),
    [
        (T, "tensor", ["output"]),
        ((T, T), "sequence", ["0", "1"]),
        ([T, (T, None)], "sequence", ["0", "1.0", "1.1"]),
        ({"a": T, "b": {"c": T}}, "mapping", ["a", "b.c"]),
        (OrderedDict(z=T, a=T), "mapping", ["z", "a"]),
        (Pair(T, None), "mapping", ["a", "b"]),
        (Out(T), "dataclass", ["hidden", "pooled"]),
        (3, "int", ["output"]),
        (None, "NoneType", ["output"]),
        ((), "sequence", []),
        ({3: T}, "mapping", ["3"]),
    ],
)
def test_outputs(output, kind, paths):
    assert container(output) == kind
    assert [path for path, _ in flatten(output)] == paths


def test_a_model_output_is_a_mapping_without_its_none_fields():
    from transformers.modeling_outputs import BaseModelOutput

    output = BaseModelOutput(last_hidden_state=T)
    assert container(output) == "mapping"
    assert "last_hidden_state" in [path for path, _ in flatten(output)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int32, torch.bool, torch.uint8])
def test_plain_values_are_wide_and_apart(dtype):
    tensor = torch.tensor([[0, 1], [1, 0]]).to(dtype).t()
    found = plain(tensor)
    assert found.dtype == (torch.float64 if dtype.is_floating_point else torch.int64)
    assert found.is_contiguous()
    assert found.data_ptr() != tensor.data_ptr()
    assert torch.equal(found, tensor.to(found.dtype))


def test_complex_values_are_pairs():
    assert plain(torch.tensor([1 + 2j])).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (torch.ones(2, 0, dtype=torch.bfloat16), {"kind": "tensor", "shape": [2, 0], "dtype": "bfloat16"}),
        (None, {"kind": "value", "value": None}),
        (True, {"kind": "value", "value": True}),
        (1.5, {"kind": "value", "value": 1.5}),
        ("x", {"kind": "value", "value": "x"}),
        (T.numpy(), {"kind": "other", "value": "ndarray"}),
    ],
)
def test_leaves_are_described_as_json(value, described):
    assert describe(value) == described
    json.dumps(describe(value))


def test_dtype_names():
    assert dtype_name(torch.ones(1)) == "float32"
