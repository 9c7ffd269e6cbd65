"""JUnit XML: against a strict schema, verdict by verdict.

Decided: a test case that failed has `file` and `line`, since the readers that annotate sources need them; the strict
schema of Jenkins' xunit plugin knows neither, so everything else keeps to it and the message names the place too.
"""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from unit_builders import HOSTILE, ROOT, finding_of, full_report, group_of, report_of

from verify.report import CheckResult, Location, Verdict
from verify.sinks import junit

SCHEMA = etree.XMLSchema(etree.parse(str(ROOT / "tests" / "data" / "junit-strict.xsd")))
EXTENSION = ("file", "line")


def parsed(report) -> etree._Element:
    """The file as a strict reader sees it. The two attributes that go beyond the schema are taken off for validation."""
    root = etree.fromstring(junit.render(report).encode(), etree.XMLParser(resolve_entities=False, huge_tree=False))
    bare = copy.deepcopy(root)
    for case in bare.iter("testcase"):
        for name in EXTENSION:
            case.attrib.pop(name, None)
    SCHEMA.assertValid(bare)
    return root


def cases(root) -> dict[str, etree._Element]:
    return {case.get("name"): case for case in root.iter("testcase")}


@pytest.mark.parametrize("text", ["plain", "", " ", *HOSTILE])
def test_any_text_is_valid_and_no_verdict_is_lost(text):
    root = parsed(full_report(text))
    counts = {k: root.find("testsuite").get(k) for k in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    for problem in root.xpath("//failure | //error | //skipped"):
        assert problem.get("message").strip()
    assert [len(c) for c in root.iter("testcase")].count(0) == 2


@given(st.text(st.characters(), max_size=60))
def test_no_text_breaks_the_xml(text):
    assert len(cases(parsed(full_report(text)))) >= 5


@pytest.mark.parametrize(
    ("verdict", "tag"),
    [(Verdict.EQUAL, None), (Verdict.DIFFERENT, "failure"), (Verdict.ERROR, "error"), (Verdict.SKIPPED, "skipped")],
)
@pytest.mark.parametrize("with_finding", [True, False])
@pytest.mark.parametrize("reason", ["", " \n", "because"])
def test_each_verdict_has_its_element_and_a_message(verdict, tag, with_finding, reason):
    findings = [finding_of(verdict)] if with_finding and tag in ("failure", "error") else []
    root = parsed(report_of(findings, [group_of(verdict, reason=reason)]))
    (case,) = cases(root).values()
    assert [child.tag for child in case] == ([tag] if tag else [])
    totals = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    for name, attribute in totals.items():
        assert root[0].get(attribute) == ("1" if tag == name else "0")
    if tag:
        assert case[0].get("message").strip()


def test_a_failure_says_what_and_where():
    (case,) = cases(parsed(report_of([finding_of()], [group_of(Verdict.DIFFERENT)]))).values()
    assert (case.get("file"), case.get("line")) == ("hub/model.py", "9")
    assert case.get("classname") == "llavavit-verify.forward"
    message = "last_hidden_state: x is 2; the reference has 1 [measured 0.5, allowed 1e-13] (hub/model.py:9)"
    assert case[0].get("message") == message
    assert case[0].text == message


def test_file_and_line_are_the_only_extension_and_only_where_it_failed():
    root = parsed(full_report())
    assert not SCHEMA.validate(root)
    found = {name for case in root.iter("testcase") for name in case.attrib}
    assert found - {"name", "classname", "time"} == set(EXTENSION)
    assert [c.get("name") for c in root.iter("testcase") if c.get("file")] == ["base/plain"]
    equal = etree.fromstring(junit.render(report_of([], [group_of(Verdict.EQUAL)])).encode())
    SCHEMA.assertValid(equal)


@pytest.mark.parametrize("attribute", ["disabled", "assertions", "status"])
def test_what_the_strict_schema_refuses_is_not_written(attribute):
    assert not parsed(full_report()).xpath(f"//@{attribute}")


def test_notes_are_output_and_no_failure():
    root = parsed(report_of([finding_of(Verdict.NOTE)], [group_of(Verdict.EQUAL)]))
    (case,) = cases(root).values()
    assert [child.tag for child in case] == ["system-out"]
    assert "x is 2" in case[0].text
    assert case.get("file") is None


def test_every_finding_is_in_the_body():
    findings = [finding_of(subject=f"s{n}") for n in range(300)]
    (case,) = cases(parsed(report_of(findings, [group_of(Verdict.DIFFERENT)]))).values()
    assert len(case[0].text.splitlines()) == 300
    findings = [finding_of(Verdict.ERROR, subject=f"s{n}") for n in range(300)]
    (case,) = cases(parsed(report_of(findings, [group_of(Verdict.ERROR)]))).values()
    assert len(case[0].text.splitlines()) == 300


def test_findings_stay_with_their_group():
    findings = [finding_of(case="a"), finding_of(case="a", variant="other"), finding_of(case="a", check="structure")]
    root = parsed(report_of(findings, [group_of(Verdict.DIFFERENT, "a"), group_of(Verdict.EQUAL, "b")]))
    assert len(cases(root)["base/a"][0].text.splitlines()) == 1
    assert len(cases(root)["base/b"]) == 0


@pytest.mark.parametrize("reason", ["", "no interpreter"])
def test_a_check_without_groups_is_an_error(reason):
    lost = CheckResult(name="start", verdict=Verdict.ERROR, compared=0, seconds=0.0, reason=reason)
    root = parsed(report_of([], [], checks=[lost], verdict=Verdict.ERROR))
    assert root[0].get("errors") == "1"
    assert root.xpath("//error/@message") == [reason or "nothing was compared"]


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.1, 1 / 3, 12345.6789])
def test_times_are_plain_decimals(seconds):
    groups = [group_of(Verdict.EQUAL, str(n), seconds=seconds) for n in range(3)]
    for time in parsed(report_of([], groups)).xpath("//@time"):
        assert "e" not in time
        assert float(time) > 0


def test_a_place_without_candidate_has_no_file():
    finding = finding_of(candidate=None, reference=Location(file="r.py", line=1))
    (case,) = cases(parsed(report_of([finding], [group_of(Verdict.DIFFERENT)]))).values()
    assert case.get("file") is None


def test_the_file_is_written_as_utf8(tmp_path):
    junit.write(full_report("中文"), tmp_path / "r.xml")
    root = etree.parse(str(tmp_path / "r.xml")).getroot()
    assert root.xpath("//testcase[@name='base/中文']")
