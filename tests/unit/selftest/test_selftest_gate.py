"""In which order the self-test asks."""

from __future__ import annotations

from unit_builders import job_of

from verify.selftest.alike import Stage
from verify.selftest.gate import _by_case
from verify.trace import Ask


def asks(*keys: str) -> list[Ask]:
    return [Ask(key=key, op="precision") for key in keys]


def test_further_asks_come_case_by_case_and_those_of_none_last():
    job = job_of()
    (case,) = job.cases("precision")
    stage = Stage(check="precision", job=job, asks=[])
    other, one, two = asks(
        "v/precision/with a prefix", f"v/precision/{case}/bf16/more", f"v/precision/{case}/fp32/more"
    )
    assert _by_case(stage, [other, one, two]) == [[one, two], [other]]
    assert _by_case(stage, []) == [[]]
