"""The report as JUnit XML: one suite a check, one test case a comparison group.

A test case that failed says where in two ways. Its attributes `file` and `line` are what GitLab and most viewers read;
Jenkins' own reader ignores them, and only the strict schema of its xunit plugin knows neither. So the message ends with
the place too, and all else keeps to that schema.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from junit_xml import TestCase, TestSuite, to_xml_report_string

from verify.report import Finding, Group, Report, Verdict
from verify.sinks.files import save
from verify.sinks.text import clean, number


def render(report: Report) -> str:
    """XML that Jenkins' and GitLab's readers take. Never an empty message: junit-xml would write a pass."""
    suites = []
    for check in report.checks:
        cases = [_case(group, report) for group in check.groups]
        if not cases:  # a check that compared nothing must show as an error
            lost = TestCase(check.name, classname=f"llavavit-verify.{check.name}")
            lost.add_error_info(clean(check.reason.strip() or "nothing was compared"))
            cases = [lost]
        suites.append(TestSuite(f"llavavit-verify.{check.name}", cases))
    return _strict(to_xml_report_string(suites, prettyprint=False))


def write(report: Report, file: Path) -> None:
    save(render(report), file)


def _strict(text: str) -> str:
    """Without the attributes that the strict schema refuses, times with three decimals, lines broken in attributes kept."""
    root = ET.fromstring(text)
    for element in root.iter():
        element.attrib.pop("disabled", None)
        if "time" in element.attrib:
            element.set("time", f"{float(element.get('time', '0')):.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(group: Group, report: Report) -> TestCase:
    findings = [
        f for f in report.findings if (f.check, f.variant, f.case) == (group.check, group.variant, group.name)
    ]  # fmt: skip
    serious = [f for f in findings if f.verdict != Verdict.NOTE]
    place = next((f.candidate for f in serious if f.candidate), None)
    case = TestCase(
        clean(f"{group.variant}/{group.name}"),
        classname=f"llavavit-verify.{group.check}",
        elapsed_sec=max(round(group.seconds, 3), 0.001),
        file=clean(place.path or place.file) if place else None,
        line=place.line if place else None,
    )
    body, reason = "\n".join(_line(f) for f in findings), group.reason.strip()
    if group.verdict == Verdict.DIFFERENT:
        case.add_failure_info(clean(_line(serious[0]) if serious else reason or "different"), clean(body, 100_000))
    elif group.verdict == Verdict.ERROR:
        case.add_error_info(
            clean(_line(serious[0]) if serious else reason or "nothing was compared"), clean(body, 100_000)
        )
    elif group.verdict == Verdict.SKIPPED:
        case.add_skipped_info(clean(reason or "skipped"))
    elif body:
        case.stdout = clean(body)
    return case


def _line(finding: Finding) -> str:
    place = finding.candidate
    at = f" ({place.at})" if place else ""
    figures = f" [measured {number(finding.measured)}, allowed {number(finding.allowed)}]" if finding.allowed else ""
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"{finding.subject}: {finding.message}{figures}{hint}{at}"
