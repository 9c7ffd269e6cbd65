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
