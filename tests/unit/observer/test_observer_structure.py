"""What a model is made of, and how one case is run."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from verify.observer import environment, forward, modules, structure
from verify.observer.build import Builder


class Toy(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.tied = nn.Linear(width, width, bias=False)
        self.tied.weight = self.fc.weight
        self.act = nn.GELU()
        self.register_buffer("table", torch.arange(width) * 0.1, persistent=False)
        self.register_buffer("mean", torch.ones(2, dtype=torch.bfloat16))

    def forward(self, x, twice=False):
        y = self.tied(self.act(self.fc(x))) + self.table.float()
        return {"y": y * 2 if twice else y, "none": None}


@pytest.fixture
def builder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "unit_structure_toy", SimpleNamespace(Toy=Toy))
    return Builder(
        {
            "role": "reference", "path": str(tmp_path), "seed": 0, "device": "cpu", "scratch": str(tmp_path), "kwargs": {},
            "renames": {"config": {}, "inputs": {}}, "config": None, "model": "unit_structure_toy:Toy", "factory": None,
        }
    )  # fmt: skip


def test_a_structure(builder):
    found = structure.observe(builder, {"values": {"width": 3}})
    assert [p["name"] for p in found["parameters"]] == ["fc.weight", "fc.bias", "tied.weight"]
    expected: dict = {"name": "fc.weight", "shape": [3, 3], "dtype": "float32", "requires_grad": True}
    expected |= {"marks": {}, "made": None}
    assert found["parameters"][0] == expected
    assert {b["name"]: (b["dtype"], b["persistent"]) for b in found["buffers"]} == {
        "table": ("float32", False), "mean": ("bfloat16", True),
    }  # fmt: skip
    assert found["order"] == ["mean", "fc.weight", "fc.bias", "tied.weight"]
    assert found["tied"] == [["fc.weight", "tied.weight"]]
    assert {m["path"]: m["stateful"] for m in found["modules"]} == {"": True, "fc": True, "tied": True, "act": False}
    assert found["arrays"]["mean"].dtype == torch.bfloat16


@pytest.fixture
def ask(builder, tmp_path):
    save_file({"x": torch.linspace(-1, 1, 6).reshape(2, 3)}, str(tmp_path / "in"))

    def run(operation=forward.observe, **changes):
        args = {"values": {"width": 3}, "arithmetic": "fp64", "arguments": {}, "inputs": str(tmp_path / "in")}
        return operation(builder, {**args, "nudged": False, **changes})

    return run


def test_a_forward_writes_every_output(ask):
    found = ask()
    assert found["container"] == "mapping"
    assert found["outputs"] == [
        {"path": "y", "kind": "tensor", "shape": [2, 3], "dtype": "float64"},
        {"path": "none", "kind": "value", "value": None},
    ]
    assert found["exact"]
    assert list(found["arrays"]) == ["y"]


def test_arguments_and_arithmetic_arrive(ask):
    once = ask()["arrays"]["y"]
    assert torch.equal(ask(arguments={"twice": True})["arrays"]["y"], once * 2)
    narrow = ask(arithmetic="fp32")
    assert (narrow["exact"], narrow["outputs"][0]["dtype"]) == (False, "float32")
    assert torch.allclose(narrow["arrays"]["y"].double(), once, rtol=1e-4, atol=1e-5)


def test_noise_is_small_and_leaves_no_trace(ask):
    once = ask()["arrays"]["y"]
    noisy = ask(nudged=True)["arrays"]["y"]
    assert 0 < (noisy - once).abs().max() < 1e-13
    assert torch.equal(ask()["arrays"]["y"], once)


def test_calls_are_observed(ask):
    found = ask(modules.observe)
    assert [c["path"] for c in found["calls"]] == ["", "fc", "act", "tied"]


def test_the_environment(builder):
    found = environment.observe(builder, {})
    assert found["device"] == "cpu"
    assert found["packages"]["torch"]
    assert found["threads"] >= 1


def test_a_package_that_is_not_there_is_none(builder, monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-distribution",))
    assert environment.observe(builder, {})["packages"] == {"no-such-distribution": None}
