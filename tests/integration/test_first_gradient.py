"""Where the gradients of two small models first part, although every value of their forward passes agrees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from second_pass import refusing, told_as_refused, unsought

from verify.report import Report, Verdict

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * FACTOR


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        h = self.first(x)
        BODY
        return self.second(h) + x
"""
PLAIN = "h = torch.tanh(h) * 2"


def model(body: str = PLAIN, factor: str = "2") -> str:
    return HEAD.replace("BODY", body).replace("FACTOR", factor)


def line(text: str, part: str) -> int:
    return next(n for n, one in enumerate(text.splitlines(), 1) if part in one)


@pytest.fixture
def graded(compared) -> Callable[[str, str], Report]:
    """graded(reference, candidate): the report of the check `gradients`, and of `forward`, whose values agree."""

    def run_it(reference: str, candidate: str) -> Report:
        report: Report = compared(reference, candidate, checks=("forward", "gradients"))
        assert not unsought(report)
        return report

    return run_it


CUTS = {
    "detach": ("h = torch.tanh(h.detach()) * 2", "detach()"),
    "detach after": ("h = (torch.tanh(h) * 2).detach()", "detach()"),
    "data": ("h = torch.tanh(h.data) * 2", ".data"),
    "no_grad": ("with torch.no_grad():\n            h = torch.tanh(h) * 2", "torch.no_grad"),
    "part of it": ("a, b = h.chunk(2, -1); h = torch.tanh(torch.cat([a, b.detach()], -1)) * 2", "b.detach()"),
    "in place": ("h = h.detach().clone(); h.tanh_().mul_(2)", "h.detach()"),
}


def test_the_call_of_a_line_that_runs_often_is_named(graded):
    loop = "for step in range(4):\n            h = torch.tanh(h) * (1 + step)"
    cut = loop.replace("tanh(h)", "tanh(h.detach() if step == 2 else h)")
    found = graded(model(loop), model(cut)).first_divergence
    assert (found.kind, found.candidate.line) == ("first-cut", line(model(cut), "detach"))
    assert found.calls is not None
    assert found.call is not None


@pytest.mark.parametrize("name", CUTS)
def test_what_lets_no_gradient_through_is_named(graded, name):
    body, part = CUTS[name]
    candidate = model(body)
    report = graded(model(), candidate)
    found = report.first_divergence
    assert report.verdict == Verdict.DIFFERENT
    assert found.kind == "first-cut"
    assert found.confidence == "aligned"
    assert (found.candidate.file, found.candidate.line) == ("net.py", line(candidate, part))
    assert found.excerpts["candidate"]
    placed = [f for f in report.findings if f.case == "x" and f.kind.startswith("gradient-")]
    assert placed
    assert all(f.candidate == found.candidate for f in placed)


def test_a_cut_that_only_the_reference_has_is_named_on_its_side(graded):
    reference = model("h = torch.tanh(h.detach()) * 2")
    found = graded(reference, model()).first_divergence
    assert found.kind == "first-uncut"
    assert found.reference.line == line(reference, "detach()")
    assert found.candidate.line == line(model(), "torch.tanh")


def test_a_wrong_backward_written_by_hand_is_named(graded):
    candidate = model("h = Halved.apply(torch.tanh(h))", factor="3")
    found = graded(model(), candidate).first_divergence
    assert found.kind == "first-backward"
    assert found.candidate.line == line(candidate, "def backward")
    assert found.candidate.name == "Halved.backward"


SWISH = HEAD.replace(
    "class Model",
    """class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return grad * (s + x * s * (1 - s) * FACTOR)


class Model""",
)


@pytest.mark.parametrize("reference", ["h = F.silu(h)", "h = Swish.apply(h)", "h = h * h.sigmoid()"])
def test_a_function_of_several_steps_is_one_whose_forward_cuts_nothing(graded, reference):
    right, wrong = (SWISH.replace("FACTOR", factor) for factor in ("1", "1.1"))
    candidate = wrong.replace("BODY", "h = Swish.apply(h)")
    found = graded(right.replace("BODY", reference), candidate).first_divergence
    assert (found.kind, found.candidate.name) == ("first-backward", "Swish.backward")


def test_the_same_numbers_made_in_several_places_are_one_value(graded):
    """Twice computed and copied: each gradient is a part of the one on the other side, and none of them is at fault."""
    body = "h = torch.tanh(self.first(x)) + torch.tanh(self.first(x).clone()); h = h.detach()"
    candidate = model(body.replace("; ", "\n        "))
    found = graded(model(), candidate).first_divergence
    assert (found.kind, found.candidate.line) == ("first-cut", line(candidate, "h.detach()"))


def test_a_backward_that_is_right_is_not_blamed_for_a_cut_before_it(graded):
    candidate = model("h = Halved.apply(torch.tanh(h.detach()))")
    found = graded(model(), candidate).first_divergence
    assert (found.kind, found.candidate.line) == ("first-cut", line(candidate, "h.detach()"))


def test_gradients_that_differ_after_values_that_differ_are_left_to_the_values(graded):
    report = graded(model(), model("h = torch.tanh(h.detach()) * 3"))
    assert {d.check for d in [report.first_divergence]} == {"forward"}


def test_a_second_pass_that_fails_is_told_with_its_fault(compared):
    candidate = model("h = torch.tanh(h.detach()) * 2") + refusing("backward")
    report = compared(model(), candidate, checks=("gradients",))
    assert (report.verdict, report.first_divergence) == (Verdict.DIFFERENT, None)
    told_as_refused(report)
