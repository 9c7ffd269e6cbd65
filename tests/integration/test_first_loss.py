"""Where one of two small models begins to lose more to rounding, although both compute the same function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from second_pass import refusing, told_as_refused, unsought

from verify.report import Report, Verdict

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        h = self.norm(self.first(x))
        scores = h @ h.transpose(1, 2)
        weights = WEIGHTS
        h = MIXED
        return x + self.second(h)
"""
WEIGHTS = "torch.softmax(scores, -1)"
MIXED = "torch.tanh(weights @ h)"


def model(weights: str = WEIGHTS, mixed: str = MIXED) -> str:
    return MODEL.replace("WEIGHTS", weights).replace("MIXED", mixed)


@pytest.fixture
def lossy(compared) -> Callable[[str], Report]:
    """lossy(candidate): the report of the check `precision` on the model above and a candidate."""

    def run_it(candidate: str) -> Report:
        report: Report = compared(model(), candidate, checks=("precision",))
        assert not unsought(report)
        return report

    return run_it


LOSSES = {
    "softmax": ("torch.softmax(scores.half(), -1).to(x.dtype)", MIXED),
    "product": (WEIGHTS, "torch.tanh((weights.bfloat16() @ h.bfloat16()).to(x.dtype))"),
    "beside another order": (
        "torch.softmax(scores.half(), -1).to(x.dtype)",
        "torch.tanh(torch.einsum('bij,bjk->bik', weights, h))",
    ),
    "a step of its own": (WEIGHTS, "(lambda e: ((e - 1) / (e + 1)))(torch.exp(2 * (weights @ h).half())).to(x.dtype)"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_line_that_loses_more_is_named(lossy, name):
    candidate = model(*LOSSES[name])
    report = lossy(candidate)
    found = report.first_divergence
    assert report.verdict == Verdict.DIFFERENT
    assert (found.kind, found.confidence) == ("first-rounding", "aligned")
    part = LOSSES[name][0] if LOSSES[name][0] != WEIGHTS else LOSSES[name][1]
    line = next(n for n, text in enumerate(candidate.splitlines(), 1) if part in text)
    assert (found.candidate.file, found.candidate.line) == ("net.py", line)
    assert float(found.details["candidate_error"]) > 1.3 * float(found.details["reference_error"])
    assert 0 <= found.call < found.calls
    less = [f for f in report.findings if f.kind == "less-precise"]
    assert less[0].candidate == found.candidate


def test_another_order_of_operations_is_no_loss(lossy):
    report = lossy(model(mixed="torch.tanh(torch.einsum('bij,bjk->bik', weights, h))"))
    assert report.verdict == Verdict.EQUAL
    assert report.first_divergence is None


def test_a_second_pass_that_fails_is_told_with_its_fault(compared):
    candidate = model(*LOSSES["softmax"]) + refusing("rounding")
    report = compared(model(), candidate, checks=("precision",))
    assert (report.verdict, report.first_divergence) == (Verdict.DIFFERENT, None)
    told_as_refused(report)
