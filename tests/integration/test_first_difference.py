"""Where two small models first part: the line, on both sides, in code that makes it hard to tell."""

from __future__ import annotations

import json
import sys

import pytest
from rich.console import Console
from second_pass import PLAIN, refusing, source, told_as_refused

from verify.report import Report
from verify.sinks import console, json_file, markdown


@pytest.mark.parametrize("op", ["modules", "operations"])
def test_a_second_pass_that_fails_is_told_with_its_fault(compared, op):
    candidate = source(PLAIN.replace("torch.tanh", "torch.sin")) + refusing(op)
    report = compared(source(PLAIN), candidate, checks=("forward",))
    assert report.verdict == "different"
    told_as_refused(report)
    line = candidate.splitlines().index("        y = torch.sin(y)") + 1
    found = report.first_divergence
    assert found.candidate.line == line if op == "modules" else found.confidence == "module"


def test_an_operation_that_differs_is_confirmed(localise):
    found = localise(source(PLAIN), source(PLAIN.replace("torch.tanh(y)", "torch.tanh(y * 1.01)  # here")))
    assert found.kind == "first-extra" or found.kind == "first-differs"
    assert found.confidence == "confirmed"
    assert found.reference.line == source(PLAIN).splitlines().index("        y = torch.tanh(y)") + 1
    assert found.callers == []
    assert found.evidence[-1].endswith("in Model.forward is the reference's, every output agrees")
    assert float(found.details["relative"]) > 1e-4


def test_another_way_to_the_same_value_before_it_is_not_blamed(localise):
    candidate = """
    def forward(self, x):
        y = torch.einsum("bld,ed->ble", x, self.first.weight) + self.first.bias
        y = (torch.exp(2 * y) - 1) / (torch.exp(2 * y) + 1)
        y = y.clamp(max=0.5)  # here
        return F.linear(y, self.second.weight, self.second.bias)
    """
    assert localise(source(PLAIN), source(candidate)).confidence == "confirmed"


def test_a_guess_between_two_operations_of_a_line_is_not_confirmed(localise):
    found = localise(source(PLAIN), source(PLAIN.replace("torch.tanh(y)", "torch.sin(y) * torch.cos(y)  # here")))
    assert found.operation in ("aten.sin.default", "aten.cos.default")
    assert found.confidence == "aligned"


def test_a_missing_operation_is_named_as_missing(localise):
    reference = PLAIN.replace("torch.tanh(y)", "torch.tanh(y)\n    y = F.layer_norm(y, y.shape[-1:])")
    found = localise(source(reference), source(PLAIN), here=False)
    assert found.kind == "first-missing"
    assert "lacks" in found.message
    assert found.reference.line == next(n for n, t in enumerate(source(reference).splitlines(), 1) if "layer_norm" in t)
    assert abs(found.candidate.line - next(n for n, t in enumerate(source(PLAIN).splitlines(), 1) if "tanh" in t)) <= 1


def test_an_extra_operation_is_named_as_extra(localise):
    candidate = PLAIN.replace("return self", "y = F.layer_norm(y, y.shape[-1:])  # here\n    return self")
    assert localise(source(PLAIN), source(candidate)).kind in ("first-extra", "first-differs")


def test_two_independent_faults_are_both_named(compared):
    candidate = PLAIN.replace("self.first(x)", "self.first(x) * 1.5").replace(
        "return self.second(y)", "return self.second(y) + 1"
    )
    report = compared(source(PLAIN), source(candidate))
    first = report.first_divergence
    lines = source(candidate).splitlines()
    assert "1.5" in lines[first.candidate.line - 1]
    assert ["+ 1" in lines[o.candidate.line - 1] for o in first.others] == [True]


def test_a_loop_names_the_call(localise):
    body = """
    def forward(self, x):
        for step in range(40):
            x = torch.tanh(x) + SCALE
        return self.second(self.first(x))
    """
    found = localise(
        source(body.replace("SCALE", "0.1")), source(body.replace("SCALE", "(0.2 if step == 7 else 0.1)  # here"))
    )
    assert (found.call, found.calls) == (7, 40)


def test_a_branch_on_a_computed_value_is_named(localise):
    body = """
    def forward(self, x):
        y = self.first(x)
        if y.abs().mean() > LIMIT:
            y = torch.tanh(y) * 3
        return self.second(y)
    """
    reference = source(body.replace("LIMIT", "1e9"))
    candidate = source(body.replace("LIMIT:", "1e-9:  # here"))
    assert localise(reference, candidate).kind == "first-branch"


def test_writes_in_place_through_a_view_are_followed(localise):
    body = """
    def forward(self, x):
        y = self.first(x)
        part = y[:, 1:3]
        part.mul_(2.0)
        part[..., 0].add_(AMOUNT)
        return self.second(y)
    """
    reference, candidate = source(body.replace("AMOUNT)", "1.0)")), source(body.replace("AMOUNT)", "1.5)  # here"))
    assert localise(reference, candidate).operation == "aten.add_.Tensor"


def test_writes_in_place_are_no_difference_by_themselves(compared):
    candidate = PLAIN.replace("y = torch.tanh(y)", "y.tanh_()")
    assert compared(source(PLAIN), source(candidate)).verdict == "equal"


def test_a_shared_module_is_blamed_at_the_call_that_differs(localise):
    body = """
    def forward(self, x):
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.first(x))
        x = torch.sin(self.first(x))
        return self.second(x)
    """
    found = localise(source(body), source(body.replace("torch.sin(self.first(x))", "torch.cos(self.first(x))  # here")))
    assert found.operation == "aten.cos.default"


def test_a_custom_autograd_function_is_entered(localise):
    text = """
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.tanh(x) * FACTOR

    @staticmethod
    def backward(ctx, grad):
        return grad
"""
    body = "def forward(self, x):\n    return self.second(Scale.apply(self.first(x)))\n"

    def whole(factor: str) -> str:
        return source(body).replace("\n\nclass Model", f"{text.replace('FACTOR', factor)}\n\nclass Model")

    found = localise(whole("2.0"), whole("2.5  # here"))
    qualified = sys.version_info >= (3, 11)  # before, code objects do not know their class
    assert found.candidate.name == ("Scale.forward" if qualified else "forward")


def test_a_setting_leads_to_the_line_that_made_it(localise):
    init = "def __init__(self, width):\n    super().__init__()\n    self.norm = nn.LayerNorm(width, eps=EPS)\n"
    body = "def forward(self, x):\n    return self.norm(x * 0.01)\n"
    reference = source(body, init.replace("EPS)", "1e-6)"))
    candidate = source(body, init.replace("EPS)", "1e-5)  # here"))
    found = localise(reference, candidate)
    assert found.kind == "first-setting"
    assert "norm.eps = 1e-05 (the reference has 1e-06)" in found.message
    assert "norm.eps = 1e-05（参考实现为 1e-06）" in found.message_zh


def test_every_rendering_shows_both_lines(compared, tmp_path):
    report = compared(source(PLAIN), source(PLAIN.replace("torch.tanh(y)", "torch.sin(y)")))
    shown = Console(record=True, width=200)
    console.show(report, shown)
    console.explain_finding(report, 0, shown, "both")
    for text in (shown.export_text(), markdown.render(report)):
        assert "y = torch.sin(y)" in text
        assert "y = torch.tanh(y)" in text
    json_file.write(report, tmp_path / "report.json")
    again = Report.model_validate(json.loads((tmp_path / "report.json").read_text()))
    assert again.first_divergence == report.first_divergence


def test_a_renamed_and_fused_model_is_aligned_by_value(compared, localise):
    reference = source(
        """
        def forward(self, x):
            return {"y": self.second(torch.tanh(self.first(x))), "z": torch.sin(self.second(x))}
        """
    )
    init = "def __init__(self, width):\n    super().__init__()\n    self.both = nn.Linear(width, 2 * width)\n"
    body = """
    def forward(self, states):
        (w, v), (a, b) = self.both.weight.chunk(2), self.both.bias.chunk(2)
        hidden = torch.tanh(states @ w.T + a)
        other = torch.sin(F.linear(states, v, b))
        return other, F.linear(hidden, v, b)
    """
    mapping = {
        "parameters": [{"candidate": "both.{p}", "reference": ["first.{p}", "second.{p}"]}],
        "inputs": {"x": "states"},
        "outputs": {"y": "1", "z": "0"},
    }
    equal = compared(reference, source(body, init), mapping=mapping)
    assert [f for f in equal.findings if f.check == "forward" and f.kind == "output-values"] == []
    candidate = source(body.replace("torch.tanh(states @ w.T + a)", "torch.tanh(states @ w.T - a)  # here"), init)
    assert localise(reference, candidate, mapping=mapping).confidence == "confirmed"


INNER = """
class Inner(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return self.fc(x)
"""


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ("self.fc(x)[:, :-1]", True),
        ("self.fc(x)[..., :-1].sum(-1)", True),
        ("self.fc(x)[None]", False),  # the same values in another layout: inside a model that is no difference
    ],
)
def test_an_output_of_another_shape_leads_to_its_module_where_values_tell(compared, change, known):
    init = "def __init__(self, width):\n    super().__init__()\n    self.inner = Inner(width)\n"
    body = "def forward(self, x):\n    return {'y': self.inner(x) + 0, 'z': x * 2}\n"
    whole = source(body, init).replace("\n\nclass Model", f"\n{INNER}\n\nclass Model")
    report = compared(whole, whole.replace("return self.fc(x)\n", f"return {change}\n"))
    (finding,) = [f for f in report.findings if (f.check, f.case, f.subject) == ("forward", "x", "y")]
    first = report.first_divergence
    assert finding.kind == "value"
    if not known:
        assert (first, finding.candidate) == (None, None)
        return
    assert first.subject == "inner", first
    assert (first.module.name, first.candidate.file) == ("Inner", "net.py"), first
    assert finding.candidate == first.candidate


def test_a_place_in_a_case_that_was_not_searched_is_marked_as_inferred(compared):
    candidate = source(PLAIN.replace("torch.tanh(y)", "torch.tanh(y * 1.01)"))
    case = {"inputs": {"x": {"shape": [3, 5, "width"]}}}
    report = compared(source(PLAIN), candidate, cases={str(number): case for number in range(5)}, checks=("forward",))
    found = [f for f in report.findings if f.check == "forward"]
    assert [f.case for f in found] == ["0", "1", "2", "3", "4"]
    assert [f.confidence for f in found] == ["confirmed"] * 3 + ["inferred"] * 2
    assert {f.candidate for f in found} == {report.first_divergence.candidate}


def line_of(text: str, part: str) -> int:
    """The one line of a source that holds a part."""
    (line,) = [n for n, one in enumerate(text.splitlines(), 1) if part in one]
    return line


def test_a_value_that_is_not_finite_is_no_tolerance_of_the_search(compared):
    body = """
    def forward(self, x):
        y = self.first(x) * 1.0
        y = torch.sigmoid(self.second(y)) + 5.0
        return {"y": y}
    """
    scaled = body.replace("* 1.0", "* 1.01")
    candidate = source(scaled.replace("return {", "y = torch.where(y > 5.7, (5.7 - y).sqrt(), y)\n        return {"))
    report = compared(source(body), candidate, checks=("forward",))
    (finding,) = [f for f in report.findings if f.kind == "not-finite"]
    assert finding.measured == "nan"
    assert float(finding.allowed) > 5
    first = report.first_divergence
    assert first.allowed < 1e-9
    assert line_of(candidate, "1.01") in {d.candidate.line for d in (first, *first.others)}, first.message


def test_what_differs_in_train_mode_is_sought_there_and_not_in_an_eval_pass(compared):
    body = """
    def forward(self, x):
        y = self.first(x)
        if self.training:
            y = y * 1.0
        return {"y": self.second(torch.tanh(y)) * 1.0}
    """
    candidate = source(body.replace("y = y * 1.0", "y = y * 3.0").replace("(y)) * 1.0", "(y)) * 1.0000001"))
    report = compared(source(body), candidate, checks=("training",))
    found = [f for f in report.findings if f.kind == "output-values"]
    assert [f.case for f in found] == ["x", "x after"]
    line = next(n for n, text in enumerate(candidate.splitlines(), 1) if "y * 3.0" in text)
    assert [f.candidate and f.candidate.line for f in found] == [line, None]
    assert report.first_divergence.case == "x"


def test_rounding_is_not_blamed_for_another_shape(compared):
    body = """
    def forward(self, x):
        y = torch.tanh(self.first(x))
        z = SECOND
        return {"y": z, "n": torch.zeros(COUNT)}
    """
    reference = source(body.replace("SECOND", "self.second(y)").replace("COUNT", "3"))
    halves = "y[..., :8] @ self.second.weight[:, :8].T + y[..., 8:] @ self.second.weight[:, 8:].T + self.second.bias"
    candidate = source(body.replace("SECOND", halves).replace("COUNT", "4"))
    report = compared(reference, candidate, checks=("forward",), arithmetic="fp32")
    assert [(f.kind, f.subject) for f in report.findings if f.verdict == "different"] == [("value", "n")]
    first = report.first_divergence
    assert (first.confidence, first.kind, first.subject, first.operation) == ("module", "first-module", "", "")


def test_a_place_is_of_the_outputs_that_it_leads_to(compared):
    body = """
    def forward(self, x):
        y = self.second(torch.tanh(self.first(x) * 1.0))
        z = self.first(x)
        return {"y": y, "z": z}
    """
    candidate = source(body.replace("* 1.0", "* 1.01").replace("z = self.first(x)", "z = self.first(x)[:2]"))
    report = compared(source(body), candidate, checks=("forward",))
    places = {f.subject: f.candidate and f.candidate.line for f in report.findings}
    assert places == {"y": line_of(candidate, "1.01"), "z": None}
    assert report.first_divergence.confidence == "aligned"  # that every output agrees then is not so


def test_outputs_that_the_spec_ignores_are_not_sought_and_keep_nothing_from_being_confirmed(compared):
    body = """
    def forward(self, x):
        y = self.second(torch.tanh(self.first(x) * 1.0))
        return {"y": y, "z": self.first(x), "w": torch.sin(self.first(x))}
    """
    changed = body.replace("* 1.0", "* 1.01").replace('"z": self.first(x)', '"z": self.first(x)[:2]')
    candidate = source(changed.replace("torch.sin(", "2 * torch.sin("))
    report = compared(source(body), candidate, checks={"forward": {"ignore": ["z", "w"]}})
    first = report.first_divergence
    assert (first.candidate.line, first.confidence) == (line_of(candidate, "1.01"), "confirmed")
    assert first.others == []


def test_the_worst_output_gets_the_place_that_leads_to_it(compared):
    body = """
    def forward(self, x):
        y = self.second(torch.tanh(self.first(x) * 1.0))
        z = self.first(torch.tanh(self.second(x) * 1.0))
        return {"y": y, "z": z}
    """
    changed = body.replace("first(x) * 1.0", "first(x) * 1.001").replace("second(x) * 1.0", "second(x) * 3.0")
    candidate = source(changed)
    report = compared(source(body), candidate, checks=("forward",))
    (finding,) = report.findings
    assert (finding.subject, finding.candidate.line) == ("z", line_of(candidate, "3.0"))
    assert report.first_divergence.candidate.line == line_of(candidate, "1.001")
    assert [other.candidate.line for other in report.first_divergence.others] == [finding.candidate.line]


SWAPPED = """
import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))
        self.register_buffer("table", torch.arange(float(width)) * FACTOR)

    def forward(self, x):
        return x * WEIGHT + self.table


class Other(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return self.fc(x)


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two = MADE

    def forward(self, x):
        return {"y": CALLED}
"""


def swapped(factor: str, weight: str, made: str, called: str) -> str:
    text = SWAPPED.replace("FACTOR", factor).replace("WEIGHT", weight)
    return text.replace("MADE", made).replace("CALLED", called)


def test_a_renamed_value_is_placed_at_the_module_that_holds_it(compared):
    reference = swapped("1", "self.weight", "Own(width), Other(width)", "self.two(self.one(x))")
    candidate = swapped("2", "self.weight.detach()", "Other(width), Own(width)", "self.one(self.two(x))")
    rules = [
        {"candidate": "two.{name}", "reference": "one.{name}"},
        {"candidate": "one.fc.{name}", "reference": "two.fc.{name}"},
    ]
    report = compared(reference, candidate, mapping={"parameters": rules}, checks=("buffers", "gradients"))
    held = [f for f in report.findings if f.subject in ("one.table", "one.weight") and f.kind != "no-effect"]
    assert {f.kind for f in held} == {"buffer-values", "gradient-none"}
    classes = [place.name.partition(".")[0] for f in held for place in (f.reference, f.candidate)]
    assert set(classes) == {"Own"}
    filled = next(f.candidate.line for f in held if f.kind == "buffer-values")
    assert "self.register_buffer" in candidate.splitlines()[filled - 1]


WAVES = """
def forward(self, x):
    y = self.first(x)
    a, b = torch.sin(y), torch.cos(y)
    return self.second(mix(x, a, b))
"""
MIX = """
def mix(x, a, b):
    return x * a + torch.tanh(x) * b
"""


def test_two_values_that_change_places_are_found_where_they_are_made(localise):
    candidate = WAVES.replace("torch.sin(y), torch.cos(y)", "torch.cos(y), torch.sin(y)  # here")
    found = localise(source(WAVES) + MIX, source(candidate) + MIX)
    assert (found.kind, found.confidence) == ("first-operand", "aligned")


def test_arguments_that_a_function_names_the_other_way_round_are_found_there(localise):
    found = localise(source(WAVES) + MIX, source(WAVES) + MIX.replace("(x, a, b):", "(x, b, a):  # here"))
    assert (found.kind, found.candidate.name) == ("first-operand", "mix")


def test_steps_that_do_nothing_are_traced_to_what_made_them_so(localise):
    body = """
    def forward(self, x):
        y, scale = self.first(x), torch.tanh(x)
        return self.second(y * scale)
    """
    candidate = body.replace("torch.tanh(x)", "torch.ones_like(x)  # here")
    assert localise(source(body), source(candidate)).kind == "first-differs"


def test_a_module_in_another_ones_place_is_named_at_its_call(localise):
    found = localise(source(PLAIN), source(PLAIN.replace("self.second(y)", "self.first(y)  # here")))
    assert found.kind == "first-operand"


BUFFERED = """
def __init__(self, width):
    super().__init__()
    self.first = nn.Linear(width, width)
    self.register_buffer("table", torch.empty(width), persistent=False)
    self.fill()

def fill(self):
    with torch.no_grad():
        self.table.copy_(torch.arange(len(self.table)) / 10)
"""


def test_a_buffer_that_holds_other_values_is_named_where_it_was_filled(localise):
    body = """
    def forward(self, x):
        return self.first(x) * self.table
    """
    found = localise(source(body, BUFFERED), source(body, BUFFERED.replace("/ 10)", "/ 11)  # here")))
    assert (found.kind, found.details["setting"]) == ("first-setting", "table")


def test_an_order_that_was_left_out_is_named_where_the_index_was_made(localise):
    body = """
    def forward(self, x):
        order = torch.sort(x.sum(-1), dim=1).indices
        order = order.sort(dim=1).values
        return self.first(x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))) * torch.arange(5.0)[:, None]
    """
    candidate = body.replace("order = order.sort(dim=1).values", "pass").replace("indices", "indices  # here")
    assert localise(source(body), source(candidate)).confidence == "aligned"


MASKED = """
def forward(self, x):
    query, key = self.first(x), self.second(x)
    scores = query @ key.transpose(1, 2) / 4
    band = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    scores = scores.masked_fill(~band, MASK)
    return scores.softmax(-1) @ x
"""


@pytest.mark.parametrize("mask", ['float("-inf")', "torch.finfo(x.dtype).min"])
@pytest.mark.parametrize(
    ("right", "wrong"), [(".tril()", ".tril(1)"), ("key.transpose(1, 2) / 4", "key.transpose(1, 2) / 5")]
)
def test_a_mask_hides_neither_itself_nor_what_it_masks(localise, right, wrong, mask):
    reference = MASKED.replace("MASK", 'float("-inf")')
    lines = [f"{text}  # here" if wrong in text else text for text in reference.replace(right, wrong).splitlines()]
    candidate = "\n".join(lines).replace('float("-inf")', mask)
    found = localise(source(reference), source(candidate))
    assert found.candidate.name == "Model.forward"


@pytest.mark.parametrize("line", ["torch.tanh(x) + AMOUNT", "torch.sin(x) * AMOUNT"])
def test_of_a_loop_that_goes_wrong_from_one_call_on_that_call_is_named(localise, line):
    body = """
    def forward(self, x):
        for step in range(60):
            x = LINE
        return self.second(self.first(x))
    """.replace("LINE", line)
    found = localise(
        source(body.replace("AMOUNT", "1.1")), source(body.replace("AMOUNT", "(1.3 if step > 17 else 1.1)  # here"))
    )
    assert (found.call, found.calls, found.confidence) == (18, 60, "aligned")
