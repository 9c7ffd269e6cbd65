"""Nothing compared is never equal: a spec that ignores everything is an error."""

from __future__ import annotations

import pytest

from verify import spec
from verify.checks import available
from verify.report import Verdict
from verify.run import Options, run

SKIPPED = ("preprocessing",)  # this pair has no processors


@pytest.mark.parametrize("check", [name for name in available() if name not in SKIPPED])
def test_a_check_that_ignores_everything_is_an_error(pair, servers, check):
    """With the preset's own options beside, so that there is something to ignore."""
    preset = spec.load(spec.PRESET)
    own = preset.options(check)
    data = preset.model_dump() | {"checks": {check: own.model_dump() | {"ignore": ["*"]}}}
    options = Options(variants=("small",), depth=1, cases=tuple(own.cases[:1]) or ("image",))
    report = run(spec.Spec.model_validate(data), pair, options, servers=servers)
    assert report.verdict == Verdict.ERROR
    assert {c.compared for c in report.checks} == {0}, (report.findings, report.skipped)
    assert {f.kind for f in report.findings if f.verdict != Verdict.NOTE} <= {"ignored-output"}, report.findings


def test_a_run_of_skipped_checks_says_that_nothing_was_compared(duo):
    duo.spec(checks=["source", "preprocessing", "backends"])
    report = duo.run()
    assert report.verdict == Verdict.ERROR
    assert {c.name: c.verdict for c in report.checks}["run"] == Verdict.ERROR
    assert report.checks[-1].reason == "nothing was compared: every check was skipped"
