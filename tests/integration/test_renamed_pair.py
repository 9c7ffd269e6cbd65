"""A candidate that is the same function under other names and weight layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from verify import spec
from verify.report import Report
from verify.run import Options, run

REFERENCE = """
import torch
from torch import nn


class Config:
    def __init__(self, hidden_size=24, heads=3):
        self.hidden_size, self.heads = hidden_size, heads


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, size = config.heads, config.hidden_size
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(size, size) for _ in range(3))
        self.out = nn.Linear(size, 2 * size)
        self.register_buffer("scale", torch.full((size,), 0.5))

    def forward(self, hidden):
        q, k, v = (
            p(hidden * self.scale).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return {"out": self.out(mixed.transpose(1, 2).flatten(2)), "keys": k}
"""

CANDIDATE = """
import torch
from torch import nn


class Config:
    def __init__(self, dim=24, heads=3):
        self.dim, self.heads = dim, heads


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        bound = config.dim**-0.5
        self.weight = nn.Parameter(torch.empty(config.dim, 2 * config.dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(2 * config.dim).uniform_(-bound, bound))
        self.register_buffer("factor", torch.full((config.dim,), 0.5))

    def forward(self, x):
        q, k, v = self.qkv(x * self.factor).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2) @ self.weight + self.bias, k
"""

SPEC = """
version: 1
reference: {config: "reference:Config", model: "reference:Block"}
candidate: {config: "candidate:Config", model: "candidate:Attention"}
variants:
  tiny: {hidden_size: 24, heads: 3}
cases:
  plain: {inputs: {hidden: {shape: [2, 5, hidden_size]}}}
mapping:
  config: {hidden_size: dim}
  inputs: {hidden: x}
  outputs: {out: "0", keys: "1"}
  parameters:
    - {candidate: "qkv.{p}", reference: ["q_proj.{p}", "k_proj.{p}", "v_proj.{p}"]}
    - {candidate: weight, reference: out.weight, transpose: true}
    - {candidate: bias, reference: out.bias}
    - {candidate: factor, reference: scale}
"""


@pytest.fixture
def compare(tmp_path: Path):
    """Runs the pair with a changed candidate or mapping."""

    def run_it(old: str = "", new: str = "", mapping: dict | None = None) -> Report:
        assert CANDIDATE.count(old) >= 1
        (tmp_path / "reference.py").write_text(REFERENCE)
        (tmp_path / "candidate.py").write_text(CANDIDATE.replace(old, new) if old else CANDIDATE)
        data = yaml.safe_load(SPEC)
        data["mapping"].update(mapping or {})
        file = tmp_path / "spec.yml"
        file.write_text(yaml.safe_dump(data))
        return run(spec.load(file), tmp_path, Options(timeout=60.0))

    return run_it


def test_renamed_fused_and_transposed_is_equal(compare):
    report = compare()
    assert report.verdict == "equal", report.findings
    counts = {(g.check, g.name): g.compared for c in report.checks for g in c.groups}
    assert counts["structure", "parameters"] == 8
    assert counts["buffers", "values"] == 1
    assert counts["forward", "plain"] == 2
    assert counts["initialisation", "parameters"] == 2
    assert counts["outputs", "plain"] == 2


def test_pieces_in_another_order_are_found(compare):
    report = compare("q, k, v = self.qkv", "k, q, v = self.qkv")
    assert report.verdict == "different"
    assert any(f.check == "forward" for f in report.findings)


def test_a_parameter_that_the_mapping_forgets_is_missing(compare):
    report = compare(mapping={"parameters": []})
    missing = {f.subject for f in report.findings if f.check == "structure" and f.verdict == "different"}
    assert {"q_proj.weight", "qkv.weight"} <= missing


def test_mapping_entries_that_do_nothing_are_told(compare):
    rule = {"candidate": "blocks.{i}.{p}", "reference": "layers.{i}.{p}"}
    report = compare(
        mapping={
            "parameters": [*yaml.safe_load(SPEC)["mapping"]["parameters"], rule],
            "config": {"hidden_size": "dim", "hiden": "dmi"},
            "inputs": {"hidden": "x", "mask": "x"},
        }
    )
    told = {s.reason for s in report.skipped if s.check == "mapping"}
    assert told == {
        "the rule for `blocks.{i}.{p}` makes no parameter or buffer of the candidate",
        "`config: {hiden: dmi}` names hiden, which the reference lacks",
        "`config: {hiden: dmi}` names dmi, which the candidate lacks",
        "`inputs: {mask: x}` names mask, which the reference lacks",
    }


def test_a_mapping_of_which_all_is_used_is_not_told(compare):
    assert [s for s in compare().skipped if s.check == "mapping"] == []


def test_a_mapping_that_does_not_fit_says_so(compare):
    report = compare(mapping={"parameters": [{"candidate": "qkv.{p}", "reference": ["q_proj.{p}", "k_proj.{p}"]}]})
    told = [f.message for f in report.findings if f.kind == "mapping"]
    assert any("[72, 24]" in m and "[48, 24]" in m for m in told), told
