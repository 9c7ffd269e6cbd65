"""Pairs of tiny models that are one function, written in two ways that once were told apart, and faults beside them."""

from __future__ import annotations

import pytest

from verify.report import Verdict

HEAD = """
import functools
import torch
from torch import nn
from torch.nn import functional as F
"""

PADDED = f"""{HEAD}
class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(5, 4, 3, padding=1, padding_mode="zeros")
        self.pool = nn.AvgPool1d(2, count_include_pad=True)

    def forward(self, x):
        return self.pool(self.conv(x))
"""


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ('padding=1, padding_mode="zeros")', "padding=0)", "equal"),
        ("count_include_pad=True", "count_include_pad=False", "equal"),
        ('padding_mode="zeros"', 'padding_mode="reflect"', "different"),
    ],
)
def test_a_padding_beside_its_module_is_a_note_where_outputs_are_equal(compared, old, new, verdict):
    candidate = PADDED.replace(old, new)
    if "padding=0" in new:
        candidate = candidate.replace("self.conv(x)", "self.conv(F.pad(x, (1, 1)))")
    report = compared(PADDED, candidate, checks=("settings", "forward"))
    assert report.verdict == verdict, report.findings
    told = [f for f in report.findings if f.check == "settings"]
    assert told
    assert {f.verdict for f in told} == {Verdict.NOTE if verdict == "equal" else Verdict.DIFFERENT}
    alone = compared(PADDED, candidate, checks=("settings",))
    assert alone.verdict == "different"


STATEFUL = f"""{HEAD}
class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.register_buffer("seen", torch.zeros(width), persistent=False)

    def forward(self, x):
        y = self.linear(x) + self.seen
        self.seen = self.seen * 0.9 + y.detach().mean((0, 1)) * 0.1
        return y * 3
"""

DRAWS = f"""{HEAD}
class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mean, self.spread = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return self.mean(x) + torch.exp(self.spread(x) / 2) * torch.randn_like(x)
"""


@pytest.mark.parametrize(
    ("reference", "old", "new", "verdict"),
    [
        (STATEFUL, "y * 3", "y + 2 * y", "equal"),
        (STATEFUL, "self.seen = self.seen * 0.9 + y.detach().mean((0, 1)) * 0.1",
         "self.seen.lerp_(y.detach().mean((0, 1)), 0.1)", "equal"),
        (STATEFUL, "* 0.1", "* 0.2", "different"),
        (STATEFUL, "self.seen = ", "_ = ", "different"),
        (DRAWS, "torch.exp(self.spread(x) / 2)", "torch.exp(self.spread(x)).sqrt()", "equal"),
        (DRAWS, "torch.randn_like(x)", "torch.empty_like(x).normal_()", "equal"),
        (DRAWS, "torch.randn", "0 * torch.randn", "different"),
    ],
)  # fmt: skip
def test_what_both_sides_do_from_call_to_call_is_a_note(compared, reference, old, new, verdict):
    assert old in reference
    report = compared(
        reference, reference.replace(old, new), checks=("forward", "determinism", "training", "precision")
    )
    assert report.verdict == verdict, report.findings
    told = [f for f in report.findings if f.kind == "not-repeatable"]
    if verdict == "equal":
        assert [f.verdict for f in told] == [Verdict.NOTE] * 2
    else:
        assert Verdict.DIFFERENT in {f.verdict for f in report.findings if f.check in ("determinism", "forward")}


NET = (
    HEAD
    + """
class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
{init}

    def forward(self, {takes}):
        q = self.linear({first})
{end}
"""
)
TABLE = """
def table(n, d):
    angles = torch.outer(torch.arange(n, dtype=torch.float32), 100 ** -(torch.arange(0, d, 2, dtype=torch.float32) / d))
    return torch.cos(angles), torch.sin(angles)
"""
ROTATED = "cos, sin = table(x.shape[1], 16)\na, b = q[..., ::2], q[..., 1::2]\nreturn "
REAL = f"{ROTATED}torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)"
COMPLEX = f"{ROTATED}torch.view_as_real(torch.complex(a, b).to(torch.complex64) * torch.complex(cos, sin)).flatten(-2).to(x.dtype)"


def net(end: str, *, init: str = "pass", takes: str = "x", first: str = "x", head: str = "") -> str:
    indented = [text.replace("\n", "\n" + " " * 8) for text in (init, end)]
    return head + NET.format(init=" " * 8 + indented[0], takes=takes, first=first, end=" " * 8 + indented[1])


@pytest.mark.parametrize(
    ("reference", "candidate", "checks"),
    [
        (net(REAL, head=HEAD + TABLE), net(COMPLEX, head=HEAD + TABLE), ("forward",)),
        (net(REAL, head=HEAD + TABLE), net(REAL, head=HEAD + TABLE.replace("def", "@functools.cache\ndef")), ("forward", "outputs", "precision")),
        (net("return q + x", takes="x, /"), net("return x + q", takes="x, /"), ("forward", "gradients")),
        (net("return q + x[1]", takes="*x", first="x[0]"), net("return x[1] + q", takes="*x", first="x[0]"),
         ("forward", "determinism")),
        (net("return q.log_softmax(-1).masked_fill(x > 1, -torch.inf)"),
         net("return (q - q.logsumexp(-1, True)).masked_fill(x > 1, -torch.inf)"), ("forward", "precision")),
        (net("return {'y': q, 'norm': q.norm().item()}"),
         net("return {'y': q, 'norm': q.square().sum().sqrt().item()}"), ("forward", "outputs")),
        (net("return torch.zeros_like(x).index_add_(1, torch.arange(x.shape[1], device=x.device), q)"),
         net("return torch.zeros_like(x) + q"), ("forward", "precision")),
        (net("return q * sum(self.held)", init="self.one = nn.Parameter(torch.ones(width))\nself.held = [self.one]"),
         net("return self.one * q", init="self.one = nn.Parameter(torch.ones(width))"), ("forward", "gradients")),
    ],
)  # fmt: skip
def test_one_function_in_two_ways_is_equal(compared, reference, candidate, checks):
    report = compared(reference, candidate, checks=checks)
    assert report.verdict == "equal", report.findings
    assert all(check.compared for check in report.checks)


def test_sparse_gradients_are_compared(compared):
    codes = {"x": {"inputs": {"x": {"shape": [2, 5], "draw": "integers", "below": 7}}}}
    embedded = {"init": "self.table = nn.Embedding(7, width, sparse=True)", "first": "self.table(x)"}
    for end, verdict in (("return q", "equal"), ("return q + self.table(x).detach() - self.table(x)", "different")):
        report = compared(net("return q", **embedded), net(end, **embedded), cases=codes, checks=("gradients",))
        assert report.verdict == verdict, report.findings


def test_pieces_of_several_sizes_are_those_of_several_counts(compared):
    fused = net(
        "return q",
        init="self.qkv = nn.Linear(width, 2 * width)",
        first="self.qkv(x)[..., :16]".replace("width", "16"),
    )
    fused = fused.replace(
        "return q", "a, b, c = self.qkv(q).split([16, 8, 8], -1)\n        return a + torch.cat((b, c), -1)"
    )
    split = fused.replace(
        "self.qkv = nn.Linear(width, 2 * width)", "self.a, self.b, self.c = (nn.Linear(width, n) for n in (16, 8, 8))"
    )
    split = split.replace("self.qkv(x)[..., :16]", "self.a(x)").replace(
        "self.qkv(q).split([16, 8, 8], -1)", "(f(q) for f in (self.a, self.b, self.c))"
    )
    rules = [
        {"candidate": f"{name}.{{p}}", "reference": "qkv.{p}", "part": part}
        for name, part in (("a", [0, 2]), ("b", [2, 4]), ("c", [3, 4]))
    ]
    report = compared(fused, split, mapping={"parameters": rules}, checks=("structure", "forward", "gradients"))
    assert report.verdict == "equal", report.findings
    rules[2]["part"] = [2, 4]
    report = compared(fused, split, mapping={"parameters": rules}, checks=("structure",))
    assert any("cut into 4, nothing is made of the pieces [3]" in f.message for f in report.findings)


def test_a_tied_head_may_be_an_operation_where_the_mapping_says_of_what(compared):
    codes = {"x": {"inputs": {"x": {"shape": [2, 5], "draw": "integers", "below": 7}}}}
    tied = "self.table = nn.Embedding(7, width)\nself.head = nn.Linear(width, 7, bias=False)\nself.head.weight = self.table.weight"
    reference = net("return self.head(q)", init=tied, first="self.table(x)")
    candidate = net("return F.linear(q, self.table.weight)", init=tied.partition("\n")[0], first="self.table(x)")
    rules = {"parameters": [{"candidate": "table.weight", "reference": "head.weight"}]}
    report = compared(reference, candidate, cases=codes, mapping=rules, checks=("forward", "gradients"))
    assert report.verdict == "equal", report.findings
