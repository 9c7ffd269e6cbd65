"""What modules hold beside parameters, as a side tells it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from verify.observer import settings
from verify.observer.build import Builder

SOURCE = """
import torch
from torch import nn

def f(x): return x

class Plain:
    def __init__(self): self.eps = 1e-5

class Model(nn.Module):
    scale = 0.5
    def __init__(self):
        super().__init__()
        self.act, self.glu, self.linear = nn.GELU(), nn.GLU(), nn.Linear(2, 2)
        self._scale, self.table, self.longer, self.fn = 0.25, {"eps": 1e-6}, list(range(200)), f
        self.held, self.seen, self.tensors, self.circle = Plain(), {2, 1}, [torch.ones(1)], []
        self.circle.append(self.circle)
    @property
    def twice(self): return 2 * self.scale
"""


@pytest.fixture
def observed(tmp_path, monkeypatch) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        (tmp_path / "held_model.py").write_text(SOURCE)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "held_model", raising=False)
        side = {
            "role": "reference",
            "path": str(tmp_path),
            "config": None,
            "model": "held_model:Model",
            "factory": None,
        }
        more = {
            "kwargs": {},
            "renames": {"config": {}, "inputs": {}},
            "seed": 0,
            "device": "cpu",
            "scratch": str(tmp_path),
        }
        return {m["path"]: m for m in settings.observe(Builder({**side, **more}), {"values": {}})["modules"]}

    return run


def test_what_own_classes_hold_is_told_as_text(observed):
    more = observed()[""]["more"]
    longer = more.pop("longer")
    assert longer.startswith("[0, 1, 2, ")
    assert "… (digest " in longer
    assert more == {
        "scale": "0.5", "_scale": "0.25", "table": "{'eps': 1e-06}", "fn": "f", "held": "{'eps': 1e-05}", "seen": "[1, 2]"
    }  # fmt: skip


def test_activations_are_tried_on_numbers_and_nothing_else_is(observed):
    modules = observed()
    assert (modules["act"]["known"], len(modules["act"]["response"])) == (True, 32)
    assert modules["glu"]["response"] is not None
    assert modules["linear"]["response"] is None
    assert modules["linear"]["more"] == {}
    assert (modules[""]["known"], modules[""]["response"]) == (False, None)
