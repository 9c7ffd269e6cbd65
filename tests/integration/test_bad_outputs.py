"""Models whose inputs and outputs are of every kind: each has a clear answer from every check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from verify import spec
from verify.checks import available
from verify.report import Report, Verdict
from verify.run import Options, run
from verify.side import Servers

MODEL = """
from dataclasses import dataclass
import torch
from torch import nn


@dataclass
class Parts:
    first: torch.Tensor
    nothing: None = None


class Cache:
    def __init__(self, k):
        self.k, self.layers, self._seen = k, [{"k": k, "dtype": k.dtype}], 1


class Model(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        y = self.linear(x)
        both = torch.stack([y, 2 * y])
        return {
            "nested": (y * 3, [y * 4, {"deep": y * 5}]),
            "parts": Parts(first=y + 1),
            "nothing": None,
            "empty": y[:0],
            "complex": torch.complex(y, -y),
            "whole": (y > 0).long().cumsum(-1),
            "flags": y > 0.1,
            "turned": y.mT,
            "strided": both[:, :, ::2],
            "shared": both[0],
            "sharing": both[1],
            "wide": y[:1].expand(3, -1, -1),
            "number": 3.5,
            "text": "word",
            "cache": Cache(y * 6),
            "array": y.detach().cpu().numpy(),
            "distribution": torch.distributions.Normal(y * 7, 1.0, validate_args=False),
        }
"""

SPEC: dict[str, Any] = {
    "version": 1,
    "reference": {"path": "left", "model": "model:Model"},
    "candidate": {"path": "right", "model": "model:Model"},
    "variants": {"tiny": {"width": 4}},
    "cases": {"one": {"inputs": {"x": {"shape": [2, 5, "width"]}}}},
}
QUICK = ["forward", "outputs"]


@pytest.fixture
def compare(tmp_path: Path, servers: Servers):
    """Runs the pair with edits to the candidate, or to both sides."""

    def run_it(*edits: tuple[str, str], both: tuple[tuple[str, str], ...] = (), **changes: Any) -> Report:
        sides = {"left": MODEL, "right": MODEL}
        for side, chosen in (("left", both), ("right", (*both, *edits))):
            for old, new in chosen:
                assert sides[side].count(old) == 1
                sides[side] = sides[side].replace(old, new)
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / "model.py").write_text(sides[side])
        file = tmp_path / "spec.yml"
        file.write_text(yaml.safe_dump({**SPEC, **changes}))
        return run(spec.load(file), tmp_path, Options(timeout=60.0), servers=servers)

    return run_it


def test_every_check_answers_to_every_kind_of_output(compare):
    report = compare()
    assert report.verdict == Verdict.EQUAL, report.findings
    verdicts = {c.name: c.verdict for c in report.checks}
    assert set(verdicts) == set(available())
    assert {n for n, v in verdicts.items() if v == Verdict.SKIPPED} == {
        "configuration", "buffers", "source", "preprocessing", "backends", "roundtrip",
    }  # fmt: skip
    assert all(s.reason for s in report.skipped)
    compared = {(g.check, g.name): g.compared for c in report.checks for g in c.groups}
    assert compared["forward", "one"] == 26, (
        "17 tensors that hold something, seven numbers and words, and two times nothing"
    )
    told = {s.case: s.reason for s in report.skipped if s.check == "precision"}
    assert "neither side runs in bf16" in told["one bf16"], "torch makes no complex numbers of bfloat16"


@pytest.mark.parametrize(
    ("old", "new", "subject"),
    [
        ('{"deep": y * 5}', '{"deep": y * 5.1}', "nested.1.1.deep"),
        ("(y * 3, [y * 4,", "(y * 3, [y * 4.1,", "nested.1.0"),
        ("first=y + 1", "first=y + 1.1", "parts.first"),
        ("first=y + 1", "first=y + 1, nothing=y", "parts.nothing"),
        ('"nothing": None,', '"nothing": y,', "nothing"),
        ("y[:0]", "y[:0, :1]", "empty"),
        ("y[:0]", "None", "empty"),
        ("torch.complex(y, -y)", "torch.complex(y, y)", "complex"),
        ("torch.complex(y, -y)", "y", "complex"),
        ("(y > 0).long().cumsum(-1)", "(y > 0).long().cumsum(-1) + 1", "whole"),
        (".long().cumsum(-1)", ".long().cumsum(-1).int()", "whole"),
        ("y > 0.1", "y > 0.3", "flags"),
        ("y.mT", "y.reshape(2, 4, 5)", "turned"),
        ("[:, :, ::2]", "[:, :, 1::2]", "strided"),
        ('"sharing": both[1]', '"sharing": both[0]', "sharing"),
        ("y[:1].expand(3, -1, -1)", "y[1:].expand(3, -1, -1)", "wide"),
        ("3.5", "3.6", "number"),
        ('"word"', '"work"', "text"),
        ("Cache(y * 6)", "Cache(y * 6.1)", "cache.k"),
        ('{"k": k, ', '{"k": -k, ', "cache.layers.0.k"),
        ('"k": k, "dtype"', '"key": k, "dtype"', "cache.layers.0.k"),
        (".cpu().numpy()", ".cpu().numpy() + 1", "array"),
        (".cpu().numpy()", "", "array"),
        ("1.0, validate", "2.0, validate", "distribution.scale"),
    ],
)
def test_a_fault_in_one_kind_of_output_is_found_there(compare, old, new, subject):
    report = compare((old, new), checks=QUICK)
    assert report.verdict == Verdict.DIFFERENT
    assert subject in {f.subject for f in report.findings if f.verdict == Verdict.DIFFERENT}


@pytest.mark.parametrize(
    ("old", "new"),
    [("y.mT", "y.mT.contiguous()"), ("[:, :, ::2]", "[:, :, ::2].clone()"), ("expand(3, -1, -1)", "repeat(3, 1, 1)")],
)
def test_how_an_output_lies_in_memory_is_no_difference(compare, old, new):
    report = compare((old, new), checks=["forward", "outputs", "determinism", "gradients"])
    assert report.verdict == Verdict.EQUAL, report.findings


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self._seen = k,", "self._count = k,"),
        ("class Cache:", "class Cache:\n    __slots__ = ('_seen', 'k', 'layers')\n"),
        ('"distribution": torch', '"distribution": (lambda d: (d.stddev, d)[1])(torch'),
    ],
)
def test_how_an_object_keeps_what_it_holds_is_no_difference(compare, old, new):
    more = (("validate_args=False)", "validate_args=False))"),) if "lambda" in new else ()
    report = compare((old, new), *more, checks=QUICK)
    assert report.verdict == Verdict.EQUAL, report.findings


def test_a_candidate_without_gradients_is_found_by_gradients_alone(compare):
    report = compare(("        y = self.linear(x)", "        with torch.no_grad():\n            y = self.linear(x)"))
    assert {f.check for f in report.findings if f.verdict == Verdict.DIFFERENT} == {"gradients"}


def test_a_pair_without_gradients_says_so(compare):
    whole = (("        y = self.linear(x)", "        with torch.no_grad():\n            y = self.linear(x)"),)
    report = compare(both=whole, checks=["forward", "gradients"])
    (check,) = [c for c in report.checks if c.name == "gradients"]
    assert check.verdict in (Verdict.SKIPPED, Verdict.ERROR)
    assert check.reason or [f for f in report.findings if f.check == "gradients"]


def test_an_input_that_the_case_lacks_is_named(compare):
    more = (("def forward(self, x):", "def forward(self, x, mask):"),)
    report = compare(both=more)
    assert report.verdict == Verdict.ERROR
    told = [f.message for f in report.findings if f.check == "forward"]
    assert any("'mask'" in message for message in told), told
    one = compare(*more)
    assert one.verdict == Verdict.DIFFERENT
    assert "signature" in {f.check for f in one.findings if f.verdict == Verdict.DIFFERENT}


def test_an_input_without_elements_is_no_proof(compare):
    kept = (("y[:1].expand(3, -1, -1)", "y"),)  # three of no rows are none
    none = {"one": {"inputs": {"x": {"shape": [0, 5, "width"]}}}}
    report = compare(both=kept, cases=none, checks=["forward"])
    assert report.verdict == Verdict.ERROR
    assert {f.kind for f in report.findings} == {"empty-output"}


@pytest.mark.parametrize("check", [n for n in available() if n not in ("preprocessing", "source")])
def test_a_spec_that_switches_all_of_a_check_off_is_never_equal(compare, check):
    report = compare(checks={check: {"ignore": ["*"]}})
    assert report.verdict == Verdict.ERROR
    (result,) = report.checks
    assert result.compared == 0 or result.verdict == Verdict.SKIPPED
    assert result.reason or report.findings
