"""report.py: forged, broken and future reports."""

from __future__ import annotations

import json

import pytest
from action_builders import document, finding

from entrypoint import report
from entrypoint.outcome import excerpt, place
from verify.report import Report

GROUP = document()["checks"][0]["groups"][0]


def test_it_reads_what_the_verifier_writes():
    made = Report.model_validate(document()).model_dump(mode="json")
    read = report.parse(json.dumps(made).encode())
    assert read.first_divergence is not None
    assert read.first_divergence.candidate == report.Location(file="llavavit/model.py", line=12, name="Attention")


def test_the_verifier_says_the_same_in_chinese_as_the_tests_assume():
    whole = document()
    made = Report.model_validate(whole).model_dump(mode="json")
    assert made["findings"][0]["message_zh"] == whole["findings"][0]["message_zh"]
    assert made["first_divergence"]["message_zh"] == whole["first_divergence"]["message_zh"]


def test_every_field_that_is_read_is_one_that_the_verifier_writes():
    for mine, theirs in ((report.Report, "Report"), (report.Finding, "Finding"), (report.Group, "Group"), (report.Check, "CheckResult"),
                         (report.Divergence, "Divergence"), (report.Location, "Location"), (report.Skipped, "Skipped")):  # fmt: skip
        schema = Report.model_json_schema(mode="serialization")
        known = schema if theirs == "Report" else schema["$defs"][theirs]
        assert set(mine.model_fields) <= set(known["properties"])


def test_a_newer_verifier_may_say_more():
    later = document(more={"a": 1})
    later["first_divergence"]["confidence"] = "operation"
    for part in (later["first_divergence"], later["findings"][0], later["checks"][0], later["checks"][0]["groups"][0]):
        part["expression"] = "x * cos"
    assert report.parse(json.dumps(later).encode()).first_divergence.confidence == "operation"


FORGED = {
    "empty": b"",
    "not-json": b"}{",
    "not-an-object": b"[]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "not-utf8": b"\xff\xfe",
    "no-checks": json.dumps(document("equal", checks=[])).encode(),
    "equal-over-different": json.dumps({**document(), "verdict": "equal"}).encode(),
    "equal-with-findings": json.dumps(document("equal", findings=[finding()])).encode(),
    "equal-nothing-compared": json.dumps(
        document("equal", checks=[{"name": "forward", "verdict": "equal", "compared": 0, "seconds": 0, "groups": []}])
    ).encode(),
    "equal-all-skipped": json.dumps(
        document("equal", checks=[{"name": "forward", "verdict": "skipped", "compared": 0, "seconds": 0}])
    ).encode(),
    "other-verdict": json.dumps(document(verdict="fine")).encode(),
    "other-version": json.dumps(document(schema_version=99)).encode(),
    "huge-string": json.dumps(document(tool_version="A" * 30_000)).encode(),
    "huge-chinese": json.dumps(document(findings=[finding(message_zh="对" * 30_000)])).encode(),
    "chinese-that-is-no-text": json.dumps(document(findings=[finding(message_zh=["::error::x"])])).encode(),
    "line-not-a-number": json.dumps(document(findings=[finding(candidate={"file": "x", "line": "1::error"})])).encode(),
    "negative-line": json.dumps(document(findings=[finding(candidate={"file": "x", "line": -1})])).encode(),
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED.keys())
def test_a_forged_report_is_no_report(data):
    with pytest.raises(report.ReportError) as caught:
        report.parse(data)
    assert len(str(caught.value)) < 1000


def test_a_report_over_the_limit_is_not_even_parsed(workspace):
    with (workspace / "report.json").open("wb") as stream:
        stream.truncate(report.LARGEST + 1)
    with pytest.raises(report.ReportError, match="longer than"):
        report.read(workspace, "report.json")


@pytest.mark.parametrize(
    "file",
    ["../../etc/passwd", "/etc/passwd", "/proc/self/environ", "llavavit", "gone.py", "", "a\0b", "link.py", "x" * 5000],
)
def test_a_location_outside_the_checkout_is_no_place(settings, workspace, outcome, file):
    (workspace / "link.py").symlink_to("/proc/self/environ")
    read = outcome(findings=[finding(candidate={"file": file, "line": 3})]).report
    assert place(settings(), read, "candidate", read.findings[0].candidate) is None


def test_a_side_may_not_lead_out_either(settings, outcome):
    read = outcome(
        environment={"candidate": {"path": "../../../etc"}}, findings=[finding(candidate={"file": "passwd", "line": 1})]
    ).report
    assert place(settings(), read, "candidate", read.findings[0].candidate) is None


def test_places_count_from_the_root_of_the_repository(settings, workspace, outcome):
    (workspace / "a/b/side").mkdir(parents=True)
    (workspace / "a/b/side/x.py").write_text("x\n" * 9)
    (workspace / "a/b/v.yml").write_text("")
    read = outcome(
        environment={"candidate": {"path": "side"}}, findings=[finding(candidate={"file": "x.py", "line": 3})]
    ).report
    made = settings(working_directory="a", spec="b/v.yml")
    assert str(place(made, read, "candidate", read.findings[0].candidate)) == "a/b/side/x.py:3"


def test_an_excerpt_marks_the_line(settings, outcome):
    read = outcome().report
    at = place(settings(), read, "candidate", read.first_divergence.candidate)
    lines = excerpt(settings(), at).split("\n")
    assert lines[3] == ">   12  line 12"
    assert len(lines) == 7
