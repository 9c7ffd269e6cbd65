"""Faults that no forward pass in eval mode shows: each is found by the one check that is made for it, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from verify import spec
from verify.report import Report, Verdict
from verify.run import Options, run
from verify.side import Servers

MODEL = """
import os
import torch
from torch import nn


class Config:
    def __init__(self, width=24):
        self.width = width


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.width
        self.inner = nn.Linear(width, 16 * width)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(16 * width, width)
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.normal_(self.inner.weight, std=0.02)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.inner.bias)
        self.calls = 0

    def features(self, x, scale=1.0):
        return self.inner(x) * scale

    def forward(self, x, output_hidden_states=False, output_attentions=False, return_dict=True):
        hidden = self.features(x)
        y = self.out(self.drop(hidden)) * self.scale
        states = (x, hidden) if output_hidden_states else None
        maps = (hidden.softmax(-1),) if output_attentions else None
        found = {name: v for name, v in (("y", y), ("states", states), ("maps", maps)) if v is not None}
        return found if return_dict else tuple(found.values())
"""

CHECKS = ("configuration", "structure", "buffers", "forward")
CHECKS += ("signature", "settings", "initialisation", "source", "outputs", "determinism")

SPEC = {
    "version": 1,
    "reference": {"path": "left", "config": "model:Config", "model": "model:Model"},
    "candidate": {"path": "right", "config": "model:Config", "model": "model:Model"},
    "variants": {"tiny": {"width": 24}},
    "cases": {"batch": {"inputs": {"x": {"shape": [3, "width"]}}}},
    "copies": {"left/shared.py": "right/shared.py"},
    "checks": list(CHECKS),
}

Compare = Callable[..., Report]


@pytest.fixture
def compare(tmp_path: Path, servers: Servers) -> Compare:
    """Runs every check on the pair with a changed candidate."""

    def run_it(*edits: tuple[str, str], copy: str = "one = 1\n", **changes: object) -> Report:
        candidate = MODEL
        for old, new in edits:
            assert candidate.count(old) == 1, old
            candidate = candidate.replace(old, new)
        for side, text, shared in (("left", MODEL, copy), ("right", candidate, "one = 1\n")):
            (tmp_path / side).mkdir()
            (tmp_path / side / "model.py").write_text(text)
            (tmp_path / side / "shared.py").write_text(shared)
        file = tmp_path / "spec.yml"
        file.write_text(yaml.safe_dump({**SPEC, **changes}))
        return run(spec.load(file), tmp_path, Options(timeout=60.0), servers=servers)

    return run_it


def found(report: Report) -> set[tuple[str, str, str]]:
    """Check, kind and subject of what differs."""
    return {(f.check, f.kind, f.subject) for f in report.findings if f.verdict == Verdict.DIFFERENT}


def test_the_pair_is_equal(compare):
    report = compare()
    assert report.verdict == "equal"
    assert report.findings == []
    assert all(c.compared for c in report.checks if c.verdict != Verdict.SKIPPED)
    groups = {c.name: len(c.groups) for c in report.checks}
    assert (groups["outputs"], groups["determinism"]) == (12, 5)


@pytest.mark.parametrize(
    ("check", "kind", "subject", "old", "new"),
    [
        ("settings", "value", "drop.p", "nn.Dropout(0.1)", "nn.Dropout(0.2)"),
        ("signature", "value", "output_attentions.default", "output_attentions=False", "output_attentions=None"),
        (
            "signature",
            "missing-in-reference",
            "mask",
            "return_dict=True):",
            "return_dict=True, mask=None):",
        ),
        ("initialisation", "initialisation", "inner.weight", "inner.weight, std=0.02", "inner.weight, std=0.03"),
        ("initialisation", "initialisation", "inner.bias", "zeros_", "ones_"),
        ("initialisation", "initialisation", "scale", "torch.ones(1)", "torch.full((1,), 2.0)"),
        (
            "outputs",
            "missing-in-candidate",
            "states.1",
            "states = (x, hidden) if",
            "states = ((x,) if output_attentions else (x, hidden)) if",
        ),
        ("outputs", "value", "maps.0", "(hidden.softmax(-1),)", "(hidden.double().softmax(-1),)"),
        (
            "determinism",
            "not-repeatable",
            "y",
            "        states =",
            "        self.calls += 1\n        y = y + (self.calls > 2)\n        states =",
        ),
        ("determinism", "row-in-batch", "y", "        states =", "        y = y + 1e-9 * (len(x) == 1)\n        states ="),
        (
            "determinism",
            "thread-count",
            "y",
            "        states =",
            "        y = y + (torch.get_num_threads() == max(len(os.sched_getaffinity(0)), 2))\n        states =",
        ),
        ("signature", "value", "features.scale.default", "self, x, scale=1.0", "self, x, scale=1"),
        (
            "determinism",
            "weights-values",
            "y",
            "        self.calls = 0\n\n    def features(self, x, scale=1.0):\n        return self.inner(x) * scale",
            "        inner = self.inner\n        self.far = lambda x: inner(x)\n\n    def features(self, x, scale=1.0):\n        return self.far(x) * scale",
        ),
        ("determinism", "device-mixed", "another device", ") * self.scale\n", ") * self.scale * torch.ones(x.shape[-1])\n"),
        (
            "determinism",
            "process-made",
            "the precision of float32 products",
            "        self.calls = 0\n",
            "        self.calls = 0\n        torch.set_float32_matmul_precision('high')\n",
        ),
        ("settings", "does", "train()", "    def features", "    def train(self, mode=True):\n        super().train(mode)\n\n    def features"),
        (
            "outputs",
            "does",
            "an unnamed argument",
            "    def features",
            "    def __call__(self, *args, **given):\n        given.pop('an_argument_that_nobody_named', None)\n        return super().__call__(*args, **given)\n\n    def features",
        ),
        (
            "outputs",
            "missing-in-candidate",
            "states.0",
            "    def features",
            "    def __call__(self, x, output_attentions=False, output_hidden_states=False, return_dict=True, **more):\n        return super().__call__(x, output_hidden_states, output_attentions, return_dict, **more)\n\n    def features",
        ),
        ("forward", "output-tracked", "y", "        states =", "        y.requires_grad_()\n        states ="),
    ],
)  # fmt: skip
def test_only_its_check_finds_it(compare, check, kind, subject, old, new):
    report = compare((old, new))
    assert (check, kind, subject) in found(report), report.findings
    assert {c for c, _, _ in found(report)} == {check}, report.findings
    assert report.exit_code == 1


def test_an_edited_copy_is_found_and_its_line_named(compare):
    report = compare(copy="one = 1\ntwo = 2\n")
    assert found(report) == {("source", "copy-differs", "left/shared.py")}
    (finding,) = report.findings
    assert finding.reference.line == finding.candidate.line == 2


def test_copies_are_compared_once_a_run(compare, tmp_path, servers):
    compare(copy="one = 1\ntwo = 2\n", checks=["source"], variants={"tiny": {"width": 24}, "wide": {"width": 32}})
    report = run(spec.load(tmp_path / "spec.yml"), tmp_path, Options(variants=("all",)), servers=servers)
    assert [g.variant for c in report.checks for g in c.groups] == ["tiny"]
    assert [f.kind for f in report.findings] == ["copy-differs"]


def test_a_copy_that_is_not_there_is_found(compare):
    report = compare(copies={"left/other.py": "right/shared.py"})
    assert found(report) == {("source", "copy-missing", "left/other.py")}


def test_an_original_that_is_not_there_is_an_error(compare):
    report = compare(copies={"left/shared.py": "right/other.py"})
    assert {f.kind: f.verdict.value for f in report.findings} == {"copy-unread": "error"}
    assert report.verdict == Verdict.ERROR


def test_values_drawn_in_another_order_are_of_one_distribution(compare):
    lines = [f"        nn.init.normal_(self.{name}.weight, std=0.02)\n" for name in ("inner", "out")]
    report = compare(("".join(lines), lines[1] + lines[0]))
    assert report.verdict == Verdict.EQUAL, report.findings


def test_a_method_and_an_attribute_of_one_side_are_notes_at_most(compare):
    report = compare(
        (
            "    def features(self, x, scale=1.0):",
            "    helper = features = lambda self, x, scale=1.0: self.inner(x)\n\n    def more(self, x):",
        )
    )
    assert report.verdict == Verdict.EQUAL, report.findings
    assert {f.subject for f in report.findings if f.kind == "method-one-side"} >= {"more"}


def test_what_both_sides_do_to_a_row_is_a_note(compare, tmp_path, monkeypatch):
    batch = ("        states =", "        y = y - y.mean(0)\n        states =")
    monkeypatch.setattr(f"{__name__}.MODEL", MODEL.replace(*batch))
    report = compare()
    assert report.verdict == Verdict.EQUAL
    assert {(f.check, f.kind) for f in report.findings} == {("determinism", "row-in-batch")}
    assert {f.details["side"] for f in report.findings} == {"reference", "candidate"}


def test_flags_of_the_spec_are_varied_and_unknown_ones_are_told(compare):
    report = compare(checks={"outputs": {"vary": {"return_dict": [True, False], "gates": [1, 2]}}})
    assert report.verdict == Verdict.EQUAL
    (check,) = report.checks
    called = ["batch, return_dict=false, by place", "batch, an unnamed argument"]
    assert [g.name for g in check.groups] == ["gates", "batch", "batch, return_dict=false", *called]
    assert [(s.case, "both sides" in s.reason) for s in report.skipped] == [("gates", True)]


def test_patterns_that_match_nothing_are_told(compare):
    report = compare(
        checks={
            "structure": {"ignore": ["inner.*", "*.requires_grad", "iner.*", "*.bias"]},
            "forward": {"ignore": ["y", "y.*"]},
        }
    )
    told = [s.reason for s in report.skipped if "matches nothing" in s.reason]
    assert told == ["`ignore: iner.*` matches nothing that this check compares"]


def test_a_case_without_a_batch_says_so(compare):
    report = compare(checks={"determinism": {}}, cases={"one": {"inputs": {"x": {"shape": [1, "width"]}}}})
    assert report.verdict == Verdict.EQUAL
    assert [(s.case, "no batch" in s.reason) for s in report.skipped] == [("one, row", True)]


def test_a_check_whose_cases_were_not_asked_for_says_so(compare, tmp_path, servers):
    cases = {name: {"inputs": {"x": {"shape": [3, "width"]}}} for name in ("one", "two")}
    compare(checks={"forward": {}, "outputs": {"cases": ["two"]}}, cases=cases)
    report = run(spec.load(tmp_path / "spec.yml"), tmp_path, Options(cases=("one",)), servers=servers)
    assert {c.name: c.verdict.value for c in report.checks} == {"forward": "equal", "outputs": "skipped"}
    assert report.verdict == Verdict.EQUAL
