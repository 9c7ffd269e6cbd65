"""Outputs and tensors as plain data."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from verify.observer.values import MOST, container, describe, dtype_name, flatten, plain


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


class Plain:
    def __init__(self, **held):
        vars(self).update(held)

    @cached_property
    def twice(self):
        return 2 * self.k


class Slotted:
    __slots__ = ("_own", "k", "never")

    def __init__(self):
        self.k, self._own = T, T


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        (Plain(k=T, v=[T, 2]), ["k", "v.0", "v.1"]),
        ({"cache": Plain(layers=[Plain(k=T)])}, ["cache.layers.0.k"]),
        (Slotted(), ["k"]),
        (Plain(_own=T), ["output"]),  # each side may call its own otherwise
        (Plain(k=T, made=Plain, call=print, method=T.sum), ["k"]),
        (torch.distributions.Normal(T, 1.0, validate_args=False), ["_batch_shape.0", "loc", "scale"]),
    ],
)
def test_plain_objects_are_looked_into(output, paths):
    found = [path for path, _ in flatten(output)]
    assert [p for p in found if p not in ("_validate_args",)] == paths


def test_what_a_property_keeps_is_no_part_of_an_object():
    asked = Plain(k=T)
    assert asked.twice is not None
    assert [path for path, _ in flatten(asked)] == ["k"]


def test_a_cache_of_transformers_is_its_layers():
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.update(torch.ones(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), 0)
    found = dict(flatten(cache))
    assert torch.equal(found["layers.0.keys"], torch.ones(1, 2, 3, 4))
    assert torch.equal(found["layers.0.values"], torch.zeros(1, 2, 3, 4))


def test_an_object_that_holds_itself_or_too_much_is_a_leaf():
    loop = Plain(k=T)
    loop.me = loop
    held = [loop]
    held.append(held)
    assert [(path, type(leaf)) for path, leaf in flatten(held)] == [
        ("0.k", torch.Tensor),
        ("0.me", Plain),
        ("1", list),
    ]
    assert [type(leaf) for _, leaf in flatten(Plain(**{f"k{i}": T for i in range(MOST + 1)}))] == [Plain]


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (np.ones((2, 3)), {"kind": "tensor", "shape": [2, 3], "dtype": "float64", "class": "ndarray"}),
        (np.float32(0.5), {"kind": "value", "value": 0.5}),
        (1 + 2j, {"kind": "tensor", "shape": [], "dtype": "complex128"}),
        (torch.float16, {"kind": "value", "value": "torch.float16"}),
        (enum.Enum("Way", "left right").left, {"kind": "value", "value": "left"}),
        (np.array(["a"]), {"kind": "other", "value": "ndarray"}),
    ],
)
def test_arrays_and_numbers_in_another_dress_are_described(value, described):
    ((_, leaf),) = flatten(value)
    assert describe(leaf) == described


def test_the_values_of_an_array_are_sent_as_those_of_a_tensor():
    ((_, leaf),) = flatten(np.arange(3)[::-1])
    assert type(plain(leaf).numpy()) is np.ndarray
    assert load(save({"x": plain(leaf)}))["x"].tolist() == [2, 1, 0]


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
