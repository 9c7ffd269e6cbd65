"""Report: verdicts, exit codes, schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_builders import ROOT, finding_of, full_report, group_of, report_of

from verify.messages import say
from verify.report import EXIT_CODES, Location, Report, Verdict, worst

verdicts = st.lists(st.sampled_from(Verdict), max_size=6)


@given(verdicts)
def test_a_whole_is_equal_different_or_error(parts):
    assert worst(parts) in EXIT_CODES


@given(verdicts, st.randoms())
def test_the_worst_does_not_depend_on_order(parts, random):
    shuffled = parts[:]
    random.shuffle(shuffled)
    assert worst(parts) == worst(shuffled)


@given(verdicts)
def test_a_proven_difference_stands_and_nothing_compared_is_never_equal(parts):
    assert (worst(parts) == Verdict.DIFFERENT) == (Verdict.DIFFERENT in parts)
    if worst(parts) == Verdict.EQUAL:
        assert Verdict.EQUAL in parts
        assert not {Verdict.ERROR, Verdict.DIFFERENT} & set(parts)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], "error"),
        (["skipped"], "error"),
        (["note", "skipped"], "error"),
        (["equal", "note", "skipped"], "equal"),
        (["equal", "error"], "error"),
        (["equal", "error", "different"], "different"),
    ],
)
def test_worst(parts, whole):
    assert worst(map(Verdict, parts)) == whole


def test_weights_are_a_strict_order():
    assert len({v.weight for v in Verdict}) == len(Verdict)


@pytest.mark.parametrize(("verdict", "code"), [("equal", 0), ("different", 1), ("error", 2)])
def test_exit_codes(verdict, code):
    assert report_of([], [group_of(Verdict(verdict))]).exit_code == code


def test_a_report_is_frozen_and_strict_about_keys():
    with pytest.raises(ValueError, match="frozen"):
        finding_of().subject = "x"
    with pytest.raises(ValueError, match="Extra"):
        Location(file="a", line=1, column=2)


def test_a_report_survives_json():
    report = full_report()
    assert Report.model_validate_json(report.model_dump_json()) == report


def with_more(value: Any) -> Any:
    """Every object of a report with a key that nobody knows, but for those whose keys are free."""
    if isinstance(value, list):
        return [with_more(part) for part in value]
    if not isinstance(value, dict):
        return value
    free = ("details", "sides", "environment", "facts", "excerpts")
    return {key: part if key in free else with_more(part) for key, part in value.items()} | {"later": {"of": [1]}}


def test_a_newer_report_is_read_without_what_is_new_in_it():
    written = json.loads(full_report().model_dump_json())
    newer = with_more(written)
    assert json.dumps(newer).count('"later"') > 12
    assert Report.model_validate_json(json.dumps(newer)) == full_report()
    with pytest.raises(ValueError, match=r"(?s)Extra.*findings\.0\.later"):
        Report.model_validate(newer)
    for change in ({"schema_version": 2}, {"verdict": "fine"}, {"findings": [{"later": 1}]}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Report.model_validate_json(json.dumps({**newer, **change}))


def test_a_kind_that_is_not_known_is_told_in_its_own_words():
    written = json.loads(full_report().model_dump_json())
    for told in (written["findings"][0], written["first_divergence"]):
        told |= {"kind": "of-tomorrow", "details": {"weather": "{fair}"}, "message": "tomorrow {fair}"}
    report = Report.model_validate_json(json.dumps(written))
    for found in (report.findings[0], report.first_divergence):
        assert say(found.kind, found.details) == found.message == found.message_zh == "tomorrow {fair}"


@pytest.mark.parametrize("details", [{}, {"weather": "fair"}, {"where": "[0]"}])
def test_a_kind_with_other_details_is_told_in_its_own_words(details):
    written = json.loads(full_report().model_dump_json())
    for told in (written["findings"][0], written["first_divergence"]):
        told |= {"details": details, "message": "tomorrow {fair}"}
    report = Report.model_validate_json(json.dumps(written))
    for found in (report.findings[0], report.first_divergence):
        assert say(found.kind, found.details) == found.message == found.message_zh == "tomorrow {fair}"
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("change", [{"kind": []}, {"details": 5}, {"details": {"what": 5}}, {"message": None}])
def test_what_is_no_finding_at_all_is_refused(change):
    written = json.loads(full_report().model_dump_json())
    written["findings"][0] |= change
    with pytest.raises(ValueError, match=rf"findings\.0\.{next(iter(change))}"):
        Report.model_validate_json(json.dumps(written))


def test_every_sentence_is_written_in_chinese_too():
    reason = "nothing was compared"
    report = full_report(reason)
    first = report.first_divergence.model_copy(
        update={"hints": ["LayerNorm runs scripted code, whose lines are not seen: the line is that of its call"]}
    )
    written = json.loads(report.model_copy(update={"first_divergence": first}).model_dump_json())
    assert written["findings"][0]["message_zh"].endswith("参考实现为 nothing was compared")
    assert written["first_divergence"]["message_zh"].startswith("首个输入一致而输出不同的模块是")
    assert written["skipped"][0]["reason_zh"] == written["checks"][0]["groups"][2]["reason_zh"] == "没有可比较的内容"
    assert len(written["first_divergence"]["hints_zh"]) == 1
    english = {key.removesuffix("_zh") for key in keys(written) if key.endswith("_zh")}
    assert english == {"message", "reason", "hint", "hints", "evidence"} <= set(keys(written))


def test_the_chinese_follows_the_finding_and_not_the_file():
    found = finding_of()
    changed = found.model_copy(update={"details": {**found.details, "what": "eps"}})
    assert changed.message_zh == "eps 为 2；参考实现为 1"
    assert type(found).model_validate({**found.model_dump(), "message_zh": "forged"}) == found


def keys(value: Any) -> Iterator[str]:
    """Every key at every depth."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(part)
    yield from value if isinstance(value, dict) else ()


def test_the_packaged_schema_is_the_generated_one():
    schema = Report.model_json_schema(mode="serialization")
    packaged = json.loads((ROOT / "verify" / "report.schema.json").read_text())
    assert packaged == schema, "run `make schema`"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_schema_refuses_what_is_no_report():
    schema, good = Report.model_json_schema(mode="serialization"), json.loads(full_report().model_dump_json())
    jsonschema.validate(good, schema)
    for change in ({"verdict": "fine"}, {"schema_version": 2}, {"extra": 1}, {"findings": [{}]}, {"seconds": "long"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, **change}, schema)
