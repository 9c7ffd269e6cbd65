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
        "configuration", "source", "preprocessing", "backends",
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
    ("left", "right"),
    [
        ("torch.complex(y, y.detach())", "torch.complex(y.detach(), y)"),
        ("torch.complex(2 * y, -y)", "torch.complex(2 * y, y.detach())"),
    ],
)
def test_gradients_of_both_parts_of_a_complex_output_are_compared(compare, left, right):
    both = (("return {", f"return {left}\n        return {{"),)
    assert compare(both=both, checks=["gradients"]).verdict == Verdict.EQUAL
    report = compare((left, right), both=both, checks=["gradients"])
    assert report.verdict == Verdict.DIFFERENT


def test_the_precision_of_a_complex_output_is_judged(compare):
    both = (("return {", "return torch.complex(y, -y)\n        return {"),)
    report = compare(both=both, checks=["precision"])
    assert {g.name: g.compared for c in report.checks for g in c.groups}["one fp32"] == 1
    rounded = ("torch.complex(y, -y)\n", "torch.complex(y.bfloat16().to(y.dtype), -y)\n")
    report = compare(rounded, both=both, checks=["precision"])
    assert "less-precise" in {f.kind for f in report.findings}


def test_a_conjugate_moves_by_every_parameter(compare):
    """The real parts of z and the imaginary ones of its conjugate must not cancel out."""
    both = (("return {", "return torch.complex(y, y).conj()\n        return {"),)
    report = compare(both=both, checks=["gradients"])
    assert report.verdict == Verdict.EQUAL
    assert [f.kind for f in report.findings] == []


@pytest.mark.parametrize("check", [n for n, module in available().items() if module.RUNS_CASES])
def test_a_sparse_output_is_compared_as_it_would_be_written_out(compare, check):
    both = (("return {", "return {'y': y.to_sparse()}\n        return {"),)
    options = {"vary": {"width": [4, 4]}} if check == "backends" else {}
    report = compare(both=both, checks={check: options})
    assert report.verdict == Verdict.EQUAL, report.findings


@pytest.mark.parametrize(("right", "subject"), [("(2 * y).to_sparse()", "y"), ("y", "y")])
def test_a_fault_in_a_sparse_output_is_found(compare, right, subject):
    both = (("return {", "return {'y': y.to_sparse()}\n        return {"),)
    report = compare(("{'y': y.to_sparse()}", f"{{'y': {right}}}"), both=both, checks=["forward", "gradients"])
    assert report.verdict == Verdict.DIFFERENT
    assert {f.subject for f in report.findings if f.check == "forward" and f.verdict == Verdict.DIFFERENT} == {subject}


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        ("Both(y=y)", "{'y': y}", [("output-access", "container")]),
        ("Named(y)", "{'y': y}", [("output-access", "container")]),
        ("[y, y]", "(y, y)", [("output-access", "container")]),
        ("{'y': (y, y)}", "{'y': [y, y]}", [("output-access", "y")]),
        ("{'y': y}", "OrderedDict(y=y)", []),
        ("(y, [y])", "(y, [y])", []),
    ],
)
def test_a_container_that_is_read_otherwise_is_a_note(compare, left, right, told):
    head = "from collections import OrderedDict, namedtuple\nfrom transformers.utils import ModelOutput\nimport torch\n"
    kinds = (
        "\n\n@dataclass\nclass Both(ModelOutput):\n    y: torch.Tensor = None\n\n\nNamed = namedtuple('Named', 'y')\n"
    )
    both = (
        ("import torch\n", head),
        ("\n\nclass Model", f"{kinds}\n\nclass Model"),
        ("return {", f"return {left}\n        return {{"),
    )
    edits = ((f"return {left}\n", f"return {right}\n"),)
    report = compare(*edits, both=both, checks=QUICK)
    assert report.verdict == Verdict.EQUAL
    assert [(f.kind, f.subject) for f in report.findings] == told


MASKED = {
    "one": {
        "inputs": {
            "x": {"shape": [2, 5, "width"]},
            "mask": {"shape": [2, 5], "dtype": "bool"},
            "at": {"shape": [5], "draw": "permutation", "below": 5},
            "all": {"shape": [2, 5], "dtype": "bool", "draw": "constant"},
            "count": {"shape": [1], "draw": "integers", "below": 1},
        }
    }
}


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        ("x", "x", {"all": "note", "at": "note", "mask": "note"}),
        ("x * mask[..., None]", "x * mask[..., None]", {"all": "note", "at": "note"}),
        ("x[:, at] * mask[..., None] * all[..., None]", "x[:, at] * mask[..., None] * all[..., None]", {}),
        ("x[:, at]", "x", {"all": "note", "at": "different", "mask": "note"}),
        ("x * all[..., None]", "x", {"all": "different", "at": "note", "mask": "note"}),
    ],
)
def test_whole_numbers_and_booleans_are_shown_to_matter(compare, left, right, told):
    both = (
        ("forward(self, x)", "forward(self, x, mask, at, all, count)"),
        ("self.linear(x)\n", f"self.linear({left})\n"),
    )
    edits = () if left == right else ((f"self.linear({left})\n", f"self.linear({right})\n"),)
    report = compare(*edits, both=both, cases=MASKED, checks=["gradients"])
    found = {f.subject: f.verdict.value for f in report.findings if f.kind == "no-effect"}
    assert found == {f"input:{name}": verdict for name, verdict in told.items()}
    assert {f.subject for f in report.findings if f.kind == "not-tried"} == {"input:count"}


def test_many_frozen_parameters_are_shown_to_matter_at_once(compare):
    frozen = (
        ("self.linear = ", "self.many = nn.ParameterList([nn.Parameter(torch.ones(4), False) for _ in range(60)])\n        self.linear = "),
        ("y = self.linear(x)", "y = self.linear(x) + sum(self.many[:59])"),
    )  # fmt: skip
    report = compare(both=frozen, checks=["gradients"])
    assert report.verdict == Verdict.EQUAL
    assert [(f.kind, f.subject) for f in report.findings] == [("no-effect", "many.59")]


@pytest.mark.parametrize(
    ("fused", "told"),
    [
        ("self.qk[:4].detach()", {"k": "note"}),
        ("self.qk[4:].detach()", {"q": "different", "k": "different"}),
        ("self.qk.detach().view(2, 4).sum(0)", {"k": "different"}),
    ],
)
def test_the_parts_of_a_fused_parameter_are_shown_to_matter_apart(compare, fused, told):
    own = "self.q, self.k = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))"
    both = (
        ("self.linear = ", f"{own}\n        self.linear = "),
        ("y = self.linear(x)", "y = self.linear(x) + self.q.detach()"),
    )
    edits = ((own, "self.qk = nn.Parameter(torch.ones(8))"), ("self.q.detach()", fused))
    rules = {"parameters": [{"candidate": "qk", "reference": ["q", "k"]}]}
    report = compare(*edits, both=both, mapping=rules, checks=["gradients"])
    assert {f.subject: f.verdict.value for f in report.findings if f.kind == "no-effect"} == told


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
    assert check.verdict == Verdict.SKIPPED
    assert check.reason == "no output of either side that has elements has a gradient"


def test_an_input_that_the_case_lacks_is_named(compare):
    more = (("def forward(self, x):", "def forward(self, x, mask):"),)
    report = compare(both=more)
    assert report.verdict == Verdict.ERROR
    told = [f.message for f in report.findings if f.check == "forward"]
    assert told == [
        "case `one` lacks the input `mask`, which the reference's forward(x, mask) needs; add it under cases.one.inputs"
    ]
    one = compare(*more)
    assert one.verdict == Verdict.DIFFERENT
    assert "signature" in {f.check for f in one.findings if f.verdict == Verdict.DIFFERENT}


EMPTY = {"one": {"inputs": {"x": {"shape": [0, 5, "width"]}}}}
KEPT = (  # three of no rows are none; of a distribution and a cache more than tensors is compared
    ("y[:1].expand(3, -1, -1)", "y"),
    ('"distribution": torch.distributions.Normal(y * 7, 1.0, validate_args=False),', ""),
    ('"cache": Cache(y * 6),', ""),
)


@pytest.mark.parametrize("check", [n for n, module in available().items() if module.RUNS_CASES and n != "outputs"])
def test_an_input_without_elements_is_no_proof(compare, check):
    """outputs alone compares shapes and dtypes, which an empty tensor has."""
    options = {"vary": {"width": [4, 4]}} if check == "backends" else {}
    report = compare(("y * 3", "y * 7"), both=KEPT, cases=EMPTY, checks={check: options})
    assert report.verdict == Verdict.ERROR
    result = report.checks[0]
    assert (result.name, result.compared) == (check, 0)
    assert {f.kind for f in report.findings} <= {"no-elements", "no-effect", "not-tried"}


def test_outputs_without_elements_are_no_overflow(compare):
    report = compare(both=KEPT, cases=EMPTY, checks=["precision"])
    told = {s.case: s.reason for s in report.skipped}
    assert told["one fp32"] == "no floating-point output has an element"


@pytest.mark.parametrize(
    "both",
    [(("return {", "return {'only': y[:0]}\n        return {"),), (("y = self.linear(x)", "y = self.linear(x) * 0"),)],
)
def test_gradients_that_are_all_zero_prove_nothing(compare, both):
    report = compare(both=both, checks=["gradients"])
    assert report.verdict == Verdict.ERROR
    result = report.checks[0]
    assert (result.name, result.compared) == ("gradients", 0)
    assert {g.name: g.reason for g in result.groups}["matter"] == "no gradient was compared"


@pytest.mark.parametrize(
    ("both", "options", "kind"),
    [
        ("{'y': y[:0]}", {}, "no-elements"),
        ("{'y': y, 'number': 3}", {"ignore": ["y"]}, "ignored-output"),
        ("{'number': 3}", {}, "empty-output"),
    ],
)
def test_why_no_tensor_was_compared_is_told(compare, both, options, kind):
    report = compare(both=(("return {", f"return {both}\n        return {{"),), checks={"forward": options})
    assert [(f.kind, f.verdict) for f in report.findings] == [(kind, Verdict.ERROR)]


def test_an_output_of_another_shape_is_no_lack_of_outputs(compare):
    left = (("return {", "return {'y': y}\n        return {"),)
    report = compare(("{'y': y}", "{'y': y[:1]}"), both=left, checks=["forward"])
    assert [(f.kind, f.verdict) for f in report.findings] == [("value", Verdict.DIFFERENT)]


@pytest.mark.parametrize("check", [n for n in available() if n not in ("preprocessing", "source")])
def test_a_spec_that_switches_all_of_a_check_off_is_never_equal(compare, check):
    report = compare(checks={check: {"ignore": ["*"]}})
    assert report.verdict == Verdict.ERROR
    result, *more = report.checks
    assert result.compared == 0 or result.verdict == Verdict.SKIPPED
    assert result.reason or report.findings
    # where the only check is skipped, the run says that nothing was compared
    assert [m.name for m in more] == (["run"] if result.verdict == Verdict.SKIPPED else [])
