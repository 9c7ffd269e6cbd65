"""Small models for a second pass, passes that fail, and what a report tells of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from verify.report import Divergence, Report

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
"""
LINEARS = """
def __init__(self, width):
    super().__init__()
    self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
"""
Localise = Callable[..., Divergence]


def source(body: str, init: str = LINEARS) -> str:
    return HEAD + textwrap.indent(init + "\n" + textwrap.dedent(body).strip() + "\n", "    ")


PLAIN = """
def forward(self, x):
    y = self.first(x)
    y = torch.tanh(y)
    return self.second(y)
"""

REFUSES = """
def refuse(*args):
    raise RuntimeError("no second pass here")
import sys
sys.modules["_llavavit_verify.observer.{module}"].{name} = refuse
"""


def refusing(op: str) -> str:
    """The end of a module of model code that lets its side fail at one operation of the observer."""
    return refusing_within("session", f"OPERATIONS[{op!r}]")


def refusing_within(module: str, name: str) -> str:
    """The same of what a module of the observer calls by a name, where an operation itself imports the model's code."""
    return REFUSES.format(module=module, name=name)


def unsought(report: Report) -> list[str]:
    """Why places could not be sought."""
    return [s.reason for s in report.skipped if "first differs" in s.reason]


def told_as_refused(report: Report, file: str = "net.py") -> None:
    """Asserts that the report tells, once and in both languages, that the candidate refused its second pass."""
    (skipped,) = [s for s in report.skipped if "first differs" in s.reason]
    start = "where it first differs could not be sought: the candidate did not finish the second pass: "
    assert skipped.reason.startswith(start + f"RuntimeError: no second pass here (at {file}:"), skipped.reason
    assert "候选实现未完成第二遍运行：RuntimeError" in skipped.reason_zh
