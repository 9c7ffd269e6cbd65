"""Where two small models first part in train mode, although their eval passes agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from second_pass import refusing, told_as_refused, unsought

from verify.report import Report

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
        h = torch.tanh(self.first(x))
        h = F.dropout(h, 0.25, self.training)
        h = self.norm(h)
        return self.second(h) + x
"""
HEADS = "h = torch.cat([F.dropout(part, 0.25, self.training) for part in h.chunk(2, -1)], -1)"
"""As many draws in other pieces, which cannot be given the same masks."""
DROPPED = "h = F.dropout(h, 0.25, self.training)"


@pytest.fixture
def trained(compared) -> Callable[..., Report]:
    """trained(candidate): the report of `forward` and `training` on a candidate and the model above, or another one."""
    return lambda candidate, reference=MODEL: compared(reference, candidate, checks=("forward", "training"))


FAULTS = {
    "a factor": ("h = self.norm(h)", "h = self.norm(h) * (1.01 if self.training else 1.0)  # here"),
    "before the dropout": ("torch.tanh(self.first(x))", "torch.tanh(self.first(x)).clamp(max=0.5 if self.training else 1)  # here"),
    "in other pieces": (f"{DROPPED}\n        h = self.norm(h)", f"{HEADS}\n        h = self.norm(h) * (1.01 if self.training else 1.0)  # here"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_the_line_that_differs_in_train_mode_is_named(trained, name):
    old, new = FAULTS[name]
    candidate = MODEL.replace(old, new)
    report = trained(candidate)
    assert report.verdict == "different"
    assert not unsought(report)
    found = report.first_divergence
    (line,) = [n for n, text in enumerate(candidate.splitlines(), 1) if text.endswith("# here")]
    assert found.check == "training"
    assert (found.candidate.file, found.candidate.line) == ("net.py", line)
    assert found.confidence in ("confirmed", "aligned")
    values = next(f for f in report.findings if f.kind == "output-values" and f.case == found.case)
    assert values.candidate == found.candidate


def test_a_step_that_training_leaves_out_is_named_as_missing(trained):
    candidate = MODEL.replace("h = self.norm(h)", "h = h if self.training else self.norm(h)")
    found = trained(candidate).first_divergence
    line = next(n for n, text in enumerate(candidate.splitlines(), 1) if "h if self.training" in text)
    assert found.kind == "first-mended"
    assert found.candidate.line == line
    assert found.details["after"] == "h = (self.norm(h))"


def test_of_a_call_of_several_lines_that_of_how_much_is_dropped_is_named(trained):
    call = """h = F.scaled_dot_product_attention(
            h,
            h,
            h,
            dropout_p=RATE if self.training else 0.0,  # here
        )"""
    reference = MODEL.replace(DROPPED, call.replace("RATE", "0.25"))
    candidate = reference.replace("0.25 if", "0.5 if")
    found = trained(candidate, reference).first_divergence
    (line,) = [n for n, text in enumerate(candidate.splitlines(), 1) if text.endswith("# here")]
    assert found.candidate.line == line, (found.operation, found.message)
    assert f":{line} " in found.message


def test_what_an_earlier_pass_left_is_told_as_that(trained):
    left = "self.passes = [*getattr(self, 'passes', []), *[1] * self.training]\n        h = self.norm(h) + 0.1 * len(self.passes)"
    found = trained(MODEL.replace("h = self.norm(h)", left)).first_divergence
    assert (found.kind, found.confidence) == ("first-stateful-trained", "module")


def test_a_count_of_passes_is_put_back_so_that_its_line_is_named(trained):
    left = (
        "self.passes = getattr(self, 'passes', 0) + self.training\n        h = self.norm(h) + 0.1 * self.passes  # here"
    )
    candidate = MODEL.replace("h = self.norm(h)", left)
    found = trained(candidate).first_divergence
    (line,) = [n for n, text in enumerate(candidate.splitlines(), 1) if text.endswith("# here")]
    assert (found.candidate.line, found.confidence) == (line, "confirmed")


def test_another_way_to_drop_the_same_is_no_difference(trained):
    report = trained(MODEL.replace(DROPPED, HEADS))
    assert (report.verdict, report.first_divergence) == ("equal", None)


def test_a_second_pass_that_fails_is_told_with_its_fault(trained):
    old, new = FAULTS["a factor"]
    report = trained(MODEL.replace(old, new) + refusing("operations"))
    assert (report.verdict, report.first_divergence) == ("different", None)
    told_as_refused(report)
