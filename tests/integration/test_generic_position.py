"""What default values would hide: statistics that nobody filled, and which of two tied modules comes first."""

from __future__ import annotations

import pytest
import yaml

from verify import spec
from verify.run import Options, run

NORM = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x):
        return {body}
"""

TIED = """
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.{first}, self.{second} = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(self.one(x).tanh())
"""


@pytest.fixture
def compare(tmp_path):
    def run_it(left: str, right: str, width: int):
        (tmp_path / "left.py").write_text(left)
        (tmp_path / "right.py").write_text(right)
        data = {
            "version": 1,
            "reference": {"model": "left:Model"},
            "candidate": {"model": "right:Model"},
            "cases": {"plain": {"inputs": {"x": {"shape": [3, width]}}}},
            "checks": ["structure", "buffers", "forward"],
        }
        (tmp_path / "spec.yml").write_text(yaml.safe_dump(data))
        return run(spec.load(tmp_path / "spec.yml"), tmp_path, Options(timeout=60.0))

    return run_it


@pytest.mark.parametrize(
    "body",
    ["x", "(x - self.norm.running_mean)", "x / (self.norm.running_var + 1e-5).sqrt()"],
    ids=["all", "var", "mean"],
)
def test_statistics_that_are_not_used_are_found(compare, body):
    honest = NORM.format(body="self.norm(x)")
    ignoring = NORM.format(body=f"{body} * self.norm.weight + self.norm.bias")
    assert compare(honest, ignoring, 5).verdict == "different"
    assert compare(honest, honest, 5).verdict == "equal"


def test_the_order_of_tied_modules_does_not_matter(compare):
    report = compare(TIED.format(first="one", second="two"), TIED.format(first="two", second="one"), 4)
    assert [f for f in report.findings if f.verdict != "note"] == []
    assert report.verdict == "equal"
