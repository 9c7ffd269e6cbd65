"""A finding on what a model is made of names the line of the constructor that made it, on both sides."""

from __future__ import annotations

import pytest

from verify.report import Verdict

NORM = "self.norm = nn.LayerNorm(config.width, eps={eps})"


def line_of(duo, side: str, text: str) -> int:
    lines = (duo.folder / side / "model.py").read_text().splitlines()
    (found,) = (number for number, line in enumerate(lines, 1) if text in line)
    return found


@pytest.mark.parametrize(
    ("check", "subject", "left", "right"),
    [
        ("settings", "norm.eps", NORM.format(eps=1e-5), NORM.format(eps=1e-6)),
        ("structure", "more.weight.shape", "self.more = nn.Linear(3, 4)", "self.more = nn.Linear(4, 4)"),
        ("structure", "own.shape", "self.own = nn.Parameter(torch.ones(3))", "self.own = nn.Parameter(torch.ones(5))"),
        (
            "structure",
            "seen.dtype",
            "self.register_buffer('seen', torch.ones(3))",
            "self.register_buffer('seen', torch.ones(3).half())",
        ),
        (
            "buffers",
            "seen",
            "self.register_buffer('seen', torch.ones(3))",
            "self.register_buffer('seen', torch.full((3,), 2.0))",
        ),
        (
            "initialisation",
            "own",
            "self.own = nn.Parameter(torch.ones(3))",
            "self.own = nn.Parameter(torch.ones(3) * 2)",
        ),
    ],
)
def test_a_finding_names_the_line_that_made_what_differs(duo, check, subject, left, right):
    common = "self.scale = 1.0\n"
    duo.write("left", init=common + left)
    duo.write("right", init=common + "self.other = 'a line more'\n" + right)
    duo.spec(checks={check: {}})
    report = duo.run()
    (finding,) = (f for f in report.findings if f.subject == subject)
    assert finding.verdict == Verdict.DIFFERENT
    for side, place, text in (("left", finding.reference, left), ("right", finding.candidate, right)):
        assert place.file.endswith("model.py")
        assert place.line == line_of(duo, side, text)


def test_what_one_side_lacks_names_the_line_of_the_other(duo):
    duo.write("left", init="self.more = nn.Linear(3, 4)")
    duo.write("right")
    report = duo.run(checks=("structure",))
    (finding,) = (f for f in report.findings if f.subject == "more.weight")
    assert finding.reference.line == line_of(duo, "left", "self.more = ")
    assert finding.candidate.name == "Model"


def test_a_finding_of_initial_values_names_the_line_that_filled_them_last(duo):
    made = "self.more = nn.Linear(3, 4)\n"
    fills = {"left": "nn.init.ones_(self.more.bias)", "right": "nn.init.constant_(self.more.bias, 2)"}
    for side, fill in fills.items():
        duo.write(side, init=made + "self.scale = 1.0\n" + fill)
    duo.spec(checks={"initialisation": {}})
    report = duo.run()
    (finding,) = (f for f in report.findings if f.subject == "more.bias")
    assert finding.reference.line == line_of(duo, "left", fills["left"])
    assert finding.candidate.line == line_of(duo, "right", fills["right"])


LACKS = "self.more = nn.Linear(3, 4)"


@pytest.mark.parametrize(
    ("subject", "left", "right"),
    [
        ("more.bias", LACKS, "self.more = nn.Linear(3, 4, bias=False)"),
        ("more.weight", LACKS, "self.less = nn.Linear(3, 4)"),
        ("own", "self.own = nn.Parameter(torch.ones(7))", "self.mine = nn.Parameter(torch.ones(7))"),
        ("own", "self.own = nn.Parameter(torch.ones(7))", "self.register_buffer('own', torch.ones(7))"),
        ("more.1.weight", "self.more = nn.ModuleList(nn.Linear(3, 4) for _ in range(2))", "self.more = nn.ModuleList([nn.Linear(3, 4)])"),
    ],
)  # fmt: skip
def test_what_one_side_made_instead_is_named(duo, subject, left, right):
    duo.write("left", init="self.scale = 1.0\n" + left)
    duo.write("right", init=right)
    report = duo.run(checks=("structure",))
    (finding,) = (f for f in report.findings if f.subject == subject and f.kind == "missing-in-candidate")
    assert finding.candidate.line == line_of(duo, "right", right)


def test_a_parameter_of_another_shape_is_not_taken_for_what_is_lacking(duo):
    duo.write("left", init="self.own = nn.Parameter(torch.ones(7))")
    duo.write("right", init="self.mine = nn.Parameter(torch.ones(8))")
    report = duo.run(checks=("structure",))
    (finding,) = (f for f in report.findings if f.subject == "own")
    assert finding.candidate.name == "Model"


def test_a_buffer_is_named_where_it_is_registered_or_filled_by_what_differs(duo):
    made = "self.register_buffer('seen', torch.empty({n}), persistent={saved})\n"
    for side, saved, value in (("left", True, 1), ("right", False, 2)):
        duo.write(side, init=made.format(n=3, saved=saved) + f"with torch.no_grad(): self.seen.fill_({value})")
    duo.spec(checks={"structure": {}, "buffers": {}})
    report = duo.run()
    (saved,) = (f for f in report.findings if f.subject == "seen.persistent")
    (values,) = (f for f in report.findings if f.subject == "seen")
    assert saved.candidate.line == line_of(duo, "right", "register_buffer('seen'")
    assert values.candidate.line == line_of(duo, "right", "self.seen.fill_(2)")
