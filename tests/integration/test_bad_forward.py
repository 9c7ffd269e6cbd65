"""Models that cannot be built or run: what each costs, and that it costs no other result."""

from __future__ import annotations

import pytest

RAISE = 'raise ValueError("no such trick")'


def test_two_equal_models_are_equal(duo):
    report = duo.run()
    assert report.verdict == "equal", report.findings
    assert [c.verdict for c in report.checks] == ["equal"] * 4


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_forward_that_raises_on_one_side_only_is_a_difference(duo, kept, side):
    duo.write(side, trap=RAISE)
    finding = kept(duo.run(), "different")
    role = {"left": "reference", "right": "candidate"}[side]
    assert f"{role} failed where the other side did not" in finding.message
    assert f"ValueError: no such trick (at {side}/model.py:" in finding.message
    place = getattr(finding, role)
    assert (place.file, place.path, place.line) == ("model.py", f"{side}/model.py", 21)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (
            {"inputs": {"z": {"shape": [2, "width"]}}},
            "case `wrong` lacks the input `x`, which the reference's forward(x) needs; add it under cases.wrong.inputs",
        ),
        (
            {"inputs": {"x": {"shape": [2, "width"]}}, "arguments": {"mask": None}},
            "case `wrong` gives `mask`, which the reference's forward(x) does not take; see cases.wrong",
        ),
    ],
)
def test_a_case_that_the_references_forward_does_not_take_is_an_error_of_the_spec(duo, case, text):
    file = duo.folder / "right" / "model.py"
    file.write_text(file.read_text().replace("forward(self, x):", "forward(self, x=None, z=None, mask=None):"))
    duo.spec(cases={"wrong": case}, checks=["forward", "gradients", "training"])
    report = duo.run()
    assert {g.verdict for c in report.checks for g in c.groups} <= {"error", "skipped"}
    assert report.verdict == "error"
    assert [f.message for f in report.findings] == [text]


def test_a_type_error_of_the_references_own_is_a_difference(duo, kept):
    duo.write("left", trap="len(3)")
    assert "TypeError: object of type 'int' has no len()" in kept(duo.run(), "different").message


def test_a_forward_that_raises_on_both_sides_is_an_error(duo, kept):
    for side in ("left", "right"):
        duo.write(side, trap=RAISE)
    finding = kept(duo.run(), "error")
    assert finding.message.startswith(
        "both sides failed alike, fed x [3, 4]: ValueError: no such trick (at model.py:21"
    )
    assert [place.at for place in (finding.reference, finding.candidate)] == ["left/model.py:21", "right/model.py:21"]


def test_two_faults_of_the_two_sides_are_both_told(duo, kept):
    for side in ("left", "right"):
        duo.write(side, trap=RAISE.replace("such", side))
    finding = kept(duo.run(), "error")
    head, *sides = finding.message.splitlines()
    assert head.startswith("both sides failed, fed x [")
    for line, role, folder in zip(sides, ("reference", "candidate"), ("left", "right"), strict=True):
        assert line.startswith(f"{role}: ValueError: no {folder} trick (at {folder}/model.py:")


def test_a_constructor_that_raises_on_one_side_is_a_difference(duo):
    duo.write("right", init='raise RuntimeError("cannot be built")')
    report = duo.run()
    verdicts = {c.name: c.verdict.value for c in report.checks}
    assert verdicts == {
        "configuration": "equal", "structure": "different", "buffers": "different", "forward": "different",
    }  # fmt: skip
    assert report.exit_code == 1
    assert all("RuntimeError: cannot be built (at right/model.py:14 in __init__)" in f.message for f in report.findings)


def test_a_constructor_that_raises_on_both_sides_is_an_error(duo):
    for side in ("left", "right"):
        duo.write(side, init='raise RuntimeError("cannot be built")')
    report = duo.run()
    assert report.verdict == "error"
    assert report.checks[0].verdict == "equal"
    assert [(f.kind, f.check) for f in report.findings] == [("fault-alike", "structure")]
    later = {c.name: (c.verdict.value, c.reason) for c in report.checks[2:]}
    seen = ("error", "not compared: see structure tiny/construct")
    assert later == {"buffers": seen, "forward": seen}


def test_one_mistake_is_told_once_and_no_check_is_equal_for_it(duo):
    duo.write("right", head="import no_such_package_at_all")
    duo.spec(variants={"tiny": {"width": 4}, "wide": {"width": 6}})
    code, output, report = duo.command("--variant", "all")
    assert code == 2
    assert [f["check"] for f in report["findings"]] == ["configuration"]
    assert {g["verdict"] for c in report["checks"] for g in c["groups"]} == {"error"}
    reasons = [g["reason"] for c in report["checks"] for g in c["groups"]][1:]
    assert set(reasons) == {"not compared: see configuration tiny/construct"}
    assert output.count("no_such_package_at_all'") <= 3
    assert "not compared: see configuration tiny/construct" in " ".join(output.split())


def test_the_same_end_of_a_process_twice_is_told_twice(duo):
    duo.write("right", trap="os._exit(3)")
    duo.spec(cases={n: {"inputs": {"x": {"shape": [3, "width"]}}} for n in ("one", "two")}, checks=["forward"])
    assert [(f.case, f.kind) for f in duo.run().findings] == [("one", "fault-run"), ("two", "fault-run")]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_values_that_are_not_finite_differ_from_values(duo, kept, value):
    duo.write("right", trap=f'y = y.clone(); y[0, 1] = float("{value}")')
    finding = kept(duo.run(), "different")
    assert finding.kind == "not-finite"
    assert "one side has NaN or infinity in y" in finding.message


def test_nan_on_both_sides_is_an_error_and_never_equal(duo, kept):
    for side in ("left", "right"):
        duo.write(side, trap="y = y * float('nan')")
    assert kept(duo.run(), "error").details["side"] == "both sides"


def test_a_scalar_nan_on_both_sides_is_an_error_and_never_equal(duo, kept):
    for side in ("left", "right"):
        duo.write(side, trap='return {"y": y, "loss": float("nan")}')
    assert kept(duo.run(), "error").subject == "loss"


@pytest.mark.parametrize("output", ["None", "{}", "torch.empty(0, 4)", '"text"'])
def test_an_output_without_a_tensor_is_an_error(duo, kept, output):
    for side in ("left", "right"):
        duo.write(side, trap=f"return {output}")
    assert kept(duo.run(), "error").kind == ("no-elements" if "empty" in output else "empty-output")


def test_two_outputs_of_one_name_are_an_error(duo, kept):
    duo.write("right", trap='return {"y": y, 1: y, "1": y}')
    assert "outputs: two are called '1'" in kept(duo.run(), "error").message


def test_a_message_of_megabytes_or_of_control_characters_is_cut_and_kept(duo, kept):
    duo.write("right", trap='raise ValueError("\\x1b[2J\\ud800<b>" + "x" * 5_000_000)')
    finding = kept(duo.run(), "different")
    assert len(finding.message) < 2000


def test_an_exception_that_cannot_be_printed_is_told(duo, kept):
    duo.write(
        "right",
        head="class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError('no text')",
        trap="raise Odd",
    )
    assert "Odd: <the message itself raised RuntimeError>" in kept(duo.run(), "different").message


def test_a_side_that_cannot_be_built_in_exact_arithmetic_is_told_with_the_reason(duo):
    duo.write(
        "right", init="if torch.zeros(1, dtype=torch.float32).dtype != torch.float32: raise TypeError('not mine')"
    )
    report = duo.run()
    assert report.verdict == "equal"
    (note,) = report.findings
    assert (note.kind, note.verdict, note.subject) == ("not-exact", "note", "candidate")
    assert "TypeError: not mine" in note.message


def test_operations_that_are_lifted_are_told_once_a_side(duo):
    for side in ("left", "right"):
        duo.write(side)
        file = duo.folder / side / "model.py"
        file.write_text(file.read_text().replace("self.linear(x)", "self.linear(x).float().to(x.dtype)"))
    report = duo.run()
    assert report.verdict == "equal"
    assert [(f.kind, f.case, f.subject) for f in report.findings] == [
        ("lifted", "one", "reference"), ("lifted", "one", "candidate"),
    ]  # fmt: skip
    assert report.findings[0].details["count"] == "1"


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("self.linear = ", "self.half = torch.ones(1, dtype=torch.float32); self.linear = ", "forward"),
        ("y = self", "torch.tensor([0.1], dtype=torch.float32); y = self", "forward"),
        ("y = self", "torch.tensor([0.1], dtype=torch.float32); y = self", "gradients"),
        ("y = self", "self.training and torch.tensor([0.1], dtype=torch.float32); y = self", "training"),
        ("self.linear = ", "self.half = torch.ones(1, dtype=torch.float32); self.linear = ", "training"),
    ],
)
def test_what_is_lifted_while_a_model_is_built_or_trained_is_told_too(duo, old, new, check):
    duo.spec(cases={"one": {"inputs": {"x": {"shape": [2, "width"]}}}}, checks=[check])
    duo.write("right")
    file = duo.folder / "right" / "model.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    report = duo.run()
    assert report.verdict == "equal"
    assert [(f.kind, f.check, f.subject) for f in report.findings] == [("lifted", check, "candidate")]


@pytest.mark.parametrize("both", [False, True])
def test_a_model_that_writes_to_what_it_is_given_differs_from_one_that_does_not(duo, both):
    duo.spec(cases={"one": {"inputs": {"x": {"shape": [2, "width"]}}}}, checks=["forward", "determinism"])
    for side in ("left", "right") if both else ("right",):
        duo.write(side)
        file = duo.folder / side / "model.py"
        file.write_text(
            file.read_text().replace("y = self.linear(x) + self.table", "y = self.linear(x) + self.table; x.zero_()")
        )
    report = duo.run()
    verdict = "note" if both else "different"
    assert [(f.kind, f.case, f.subject, f.verdict) for f in report.findings] == [
        ("input-written", "one, inputs", "input:x", verdict)
    ]
    assert report.verdict == ("equal" if both else "different")


@pytest.mark.parametrize(("shared", "whose"), [("x", "an input's"), ("self.linear.weight", "a parameter's")])
def test_an_output_that_lies_in_the_memory_of_another_tensor_on_one_side_is_noted(duo, shared, whose):
    duo.spec(cases={"one": {"inputs": {"x": {"shape": [2, "width"]}}}}, checks=["forward"])
    for side, more in (("left", f"{shared}[:1]"), ("right", f"{shared}[:1].clone()")):
        duo.write(side)
        file = duo.folder / side / "model.py"
        text = file.read_text()
        head = text.rpartition("return ")[0]
        file.write_text(f"{head}return {{'more': {more}, 'y': y}}\n")
    report = duo.run()
    assert report.verdict == "equal"
    (note,) = report.findings
    assert (note.kind, note.subject, note.verdict) == ("output-shares", "more", "note")
    assert note.message.startswith(f"the output lies in its own memory, in the reference in {whose}")


def test_a_second_variant_is_compared_where_the_first_fails(duo):
    duo.spec(variants={"tiny": {"width": 4}, "wide": {"width": 6}})
    duo.write("right", init='if config.width == 4: raise RuntimeError("too small")')
    report = duo.run(variants=("all",))
    verdicts = {(g.variant, g.check): g.verdict.value for c in report.checks for g in c.groups}
    assert verdicts["tiny", "forward"] == "different"
    assert verdicts["wide", "forward"] == "equal"
    assert {f.variant for f in report.findings} == {"tiny"}
