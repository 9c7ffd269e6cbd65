"""Nothing compared is never equal: a spec that ignores everything is an error."""

from __future__ import annotations

import pytest

from verify import spec
from verify.report import Verdict
from verify.run import Options, run


@pytest.mark.parametrize("check", ["configuration", "structure", "buffers", "forward"])
def test_a_check_that_ignores_everything_is_an_error(pair, check):
    data = spec.load(spec.PRESET).model_dump() | {"checks": {check: {"ignore": ["*"]}}}
    report = run(spec.Spec.model_validate(data), pair, Options(variants=("small",), depth=1, cases=("image",)))
    assert report.verdict == Verdict.ERROR
    assert {c.compared for c in report.checks} == {0}


def test_a_run_of_skipped_checks_says_that_nothing_was_compared(duo):
    duo.spec(checks=["source", "preprocessing", "backends"])
    report = duo.run()
    assert report.verdict == Verdict.ERROR
    assert {c.name: c.verdict for c in report.checks}["run"] == Verdict.ERROR
    assert report.checks[-1].reason == "nothing was compared: every check was skipped"
