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
    assert [c.compared for c in report.checks] == [0]
