"""The JSON report: standard JSON that fits its schema, whatever is in it."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_builders import HOSTILE, finding_of, full_report, group_of, report_of

from verify.report import Report, Verdict
from verify.sinks import json_file

SCHEMA = Report.model_json_schema(mode="serialization")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def strict(text: str):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("text", ["plain", *HOSTILE])
def test_a_report_is_strict_json_that_fits_its_schema(text):
    rendered = json_file.render(full_report(text))
    assert rendered.isascii()
    data = strict(rendered)
    VALIDATOR.validate(data)
    assert data["findings"][0]["subject"] == text
    assert data["verdict"] == "different"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7e308])
def test_every_number_is_told(value):
    report = report_of(
        [finding_of(measured=value, allowed=value)], [group_of(Verdict.DIFFERENT, measured=value, allowed=value)]
    )
    data = strict(json_file.render(report))
    VALIDATOR.validate(data)
    for part in (data["findings"][0], data["checks"][0]["groups"][0]):
        assert float(part["measured"]) == value or (math.isnan(float(part["measured"])) and math.isnan(value))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(anything)
def test_whatever_a_side_says_of_its_environment_is_strict_json(value):
    data = strict(json_file.render(full_report().model_copy(update={"environment": {"candidate": value}})))
    assert set(data["environment"]) == {"candidate"}


def test_the_written_file_is_read_back_as_the_report(tmp_path):
    report = full_report("中文 <b>")
    json_file.write(report, tmp_path / "r.json")
    assert Report.model_validate_json((tmp_path / "r.json").read_bytes()) == report


def test_keys_are_in_the_schemas_order():
    assert list(strict(json_file.render(full_report()))) == list(SCHEMA["properties"])
