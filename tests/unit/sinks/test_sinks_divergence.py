"""The story of a divergence as lines of text."""

from __future__ import annotations

import pytest
from unit_builders import finding_of, full_report, group_of, report_of

from verify.report import Report, Verdict
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
