"""What default values would hide: buffers that nobody filled, and which of two tied modules comes first."""

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


BUFFER = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5)
        self.register_buffer("held", {held}, persistent={saved})

    def forward(self, x):
        y = self.linear(x)
        return {body}
"""


@pytest.mark.parametrize(
    ("held", "uses", "ignores", "kind"),
    [
        ("torch.tensor(1.0)", "y * self.held", "y", "output-values"),
        ("torch.tensor(0.0)", "y + self.held", "y", "output-values"),
        ("torch.tensor(0.125)", "y * self.held", "y * 0.125", "output-values"),
        ("torch.full((5,), 2.0)", "y / self.held", "y / 2", "output-values"),
        ("torch.zeros(5, dtype=torch.int64)", "y + self.held", "y", "state-values"),
        ("torch.tensor(0)", "y / (1 + self.held)", "y", "state-values"),
        ("torch.ones(5, dtype=torch.bool)", "y * self.held", "y", "state-values"),
        ("torch.tensor(False)", "y * 2 if self.held else y", "y", "state-values"),
    ],
)
def test_a_saved_buffer_that_is_not_used_is_found(compare, held, uses, ignores, kind):
    honest = BUFFER.format(held=held, saved=True, body=uses)
    assert compare(honest, honest, 5).verdict == "equal"
    report = compare(honest, BUFFER.format(held=held, saved=True, body=ignores), 5)
    assert (report.verdict, {f.kind for f in report.findings}) == ("different", {kind})
    if kind == "state-values":
        assert "flags and counters held " in report.findings[0].message
    table = BUFFER.format(held=held, saved=False, body=uses), BUFFER.format(held=held, saved=False, body=ignores)
    assert compare(*table, 5).verdict == "equal", "what is not saved is what the code makes"


@pytest.mark.parametrize(
    ("held", "uses", "other"),
    [
        ("torch.tensor(0)", "y[:, self.held]", "y[:, 0]"),
        ("torch.zeros(2, dtype=torch.int64)", "y[:, :1].index_select(1, self.held)", "y[:, :1].repeat(1, 2)"),
        ("torch.ones(5, dtype=torch.bool)", "y.masked_fill(~self.held, float('nan'))", "y / self.held * self.held"),
    ],
)
def test_a_whole_number_that_no_other_may_stand_for_is_told(compare, held, uses, other):
    pair = (BUFFER.format(held=held, saved=True, body=body) for body in (uses, other))
    report = compare(*pair, 5)
    assert report.verdict == "equal", report.findings
    (told,) = (s for s in report.skipped if s.case == "plain other state")
    assert told.reason.startswith("with other values in")


def test_whole_numbers_that_are_no_constant_are_tables(compare):
    table = {"held": "torch.arange(5)", "saved": True}
    report = compare(BUFFER.format(body="y[:, self.held]", **table), BUFFER.format(body="y", **table), 5)
    assert report.verdict == "equal"
    assert {g.name for c in report.checks for g in c.groups if g.check == "forward"} == {"plain"}


@pytest.mark.parametrize("held", ["8.0", "-1e9", "float('-inf')"])
def test_constants_that_are_sizes_or_infinite_stay_of_use(compare, held):
    body = "y.view(-1, int(self.held) - 7, 5)" if held == "8.0" else "(y + self.held).softmax(-1)"
    body = "y.masked_fill(y > 0, self.held).softmax(-1)" if "inf" in held else body
    text = BUFFER.format(held=f"torch.tensor({held})", saved=True, body=body)
    assert compare(text, text, 5).verdict == "equal"
