"""The story of a divergence as lines of text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from unit_builders import finding_of, full_report, group_of, report_of

from verify.report import Line, Report, Verdict
from verify.sinks import console, junit, markdown
from verify.sinks.divergence import story


def told(report: Report, language="en", **changes) -> str:
    first = report.first_divergence.model_copy(update=changes)
    return "\n".join(story(first, report, language))


def report_with(findings, **changes) -> Report:
    first = full_report().first_divergence.model_copy(update={"case": "image", **changes})
    return report_of(findings, [group_of(Verdict.DIFFERENT)], first_divergence=first)


def test_figures_are_those_that_were_measured():
    findings = [finding_of(), finding_of(Verdict.NOTE, subject="reference", measured=None, allowed=None),
                finding_of(subject="lost", measured="timeout", allowed=None),
                finding_of(Verdict.NOTE, subject="noted", measured=0.25)]  # fmt: skip
    text = told(report_with(findings))
    assert "largest difference by output\n  last_hidden_state: 0.5 (allowed 1e-13)" in text
    assert "reference:  (allowed" not in text
    assert "lost" not in text
    assert "noted" not in text


@pytest.mark.parametrize(
    ("check", "en", "zh"),
    [("gradients", "difference of gradients", "梯度的差异"), ("precision", "rounding error as a multiple", "舍入误差")],
)
def test_figures_of_other_checks_are_called_what_they_are(check, en, zh):
    report = report_with([finding_of(check=check)], check=check)
    assert en in told(report)
    assert zh in told(report, "zh")
    assert "largest difference by output" not in told(report)


FURTHER = full_report("further").first_divergence.model_copy(
    update={
        "confidence": "aligned",
        "call": 2,
        "calls": 5,
        "excerpts": {
            "reference": [Line(number=8, text="a = 1"), Line(number=9, text="b = two(a)", marked=True)],
            "candidate": [Line(number=4, text="b = three(a)", marked=True)],
        },
    }
)


def renderings(report: Report) -> dict[str, str]:
    texts = {"markdown": markdown.render(report), "story": told(report)}
    for name, render in (("console", lambda c: console.show(report, c)),):
        out = Console(file=io.StringIO(), width=200)
        render(out)
        texts[name] = out.file.getvalue()
    return texts


@pytest.mark.parametrize("name", ["markdown", "story", "console"])
def test_a_further_fault_has_its_lines_and_how_sure_it_is(name):
    text = renderings(report_with([finding_of()], others=[FURTHER]))[name].split("further", 1)[1]
    for part in ("aligned by value, not confirmed", "call 3 / 5", ">     9 b = two(a)", ">     4 b = three(a)"):
        assert part in text
    assert ("a = 1" in text) == (name == "story")


def test_markdown_tells_which_call_it_is():
    assert "call 3 / 5" in renderings(report_with([finding_of()], call=2, calls=5))["markdown"]


def test_values_are_of_something():
    values = {"where": "[0, 1]", "reference_value": "1.5", "candidate_value": "-2.0"}
    found = full_report().first_divergence.details | values
    made = {
        "shape": "[2, 3]",
        "reference_made": "tanh at net.py:9 in forward",
        "candidate_made": "sin at new.py:3 in f",
    }
    for language, head in (
        ("en", "values at [0, 1] of [2, 3]\n  reference 1.5 (tanh"),
        ("zh", "形状 [2, 3] 中 [0, 1] 处"),
    ):
        text = told(full_report(), language, details=found | made)
        assert head in text
        assert "-2.0 (sin at new.py:3 in f)" in text
    assert "values at [0, 1]\n  reference 1.5\n  candidate -2.0\n" in told(full_report(), details=found) + "\n"


def test_what_an_inferred_place_rests_on_is_told():
    hint = "inferred: in image the same module differs first, and this line runs here too"
    report = report_with([finding_of(confidence="inferred", hint=hint)])
    for name in ("markdown", "console"):
        assert hint in renderings(report)[name].replace("&#58;", ":")
    assert f"; {hint} (hub/model.py:9)" in junit.render(report)
    assert "推断：在 image 中" in markdown.render(report, "zh")


def test_code_in_a_hint_is_code():
    hint = (
        "how the function differs from the reference's, told in the candidate's names:\n- y = value / x\n+ y = <b>*x*"
    )
    report = report_with([finding_of()], hints=[hint])
    texts = renderings(report)
    assert "names&#58;\n\n      - y = value / x\n      + y = <b>*x*\n" in texts["markdown"]
    assert "names:\n    - y = value / x\n    + y = <b>*x*\n" in texts["console"]
    assert "names:\n  - y = value / x\n  + y = <b>*x*" in texts["story"]
    assert "以候选实现的名称表示）：\n  - y = value / x\n" in told(report, "zh")


def test_what_was_seen_is_told_apart_from_how_sure_the_line_is():
    evidence = [
        "every value before it agrees",
        "once the value of sin at net.py:3 in f is the reference's, every output agrees",
    ]
    report = report_with([finding_of()], evidence=evidence)
    for text in renderings(report).values():
        for line in evidence:
            assert line in text.replace("&#58;", ":")
    assert "将 sin at net.py:3 in f 的值换为参考值后，所有输出一致" in told(report, "zh")
