"""In which order the self-test asks, and when it stops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit_builders import job_of, trace_of

from verify.checks.base import Outcome
from verify.report import Verdict
from verify.selftest import gate
from verify.selftest.alike import Stage
from verify.selftest.gate import Gate, _by_case
from verify.trace import Ask

CASES = {name: {"inputs": {"x": {"shape": [2, 3]}}} for name in ("image", "image-2")}
KEYS = ("v/precision/image-2/bf16/more", "v/precision/image/bf16/more", "v/precision/x", "v/precision/image/fp32/more")
ASKS = [Ask(key=key, op="precision") for key in KEYS]


def stage_of(**checks: Any) -> Stage:
    return Stage(check="precision", job=job_of(cases=CASES, **checks), asks=[])


def test_further_asks_come_case_by_case_and_those_of_none_last():
    second, first, other, too = ASKS
    assert _by_case(stage_of(), ASKS) == [[first, too], [second], [other]]
    assert _by_case(stage_of(), []) == [[]]


@pytest.fixture
def judged(monkeypatch):
    """What a stage says, by verdict, and the asks that a candidate answered, where its check finds something once the case
    `finds` is answered."""

    def run(finds: str, *, asks: list[Ask]) -> tuple[list[Verdict], list[str]]:
        asked: list[str] = []
        trace = trace_of("candidate", {})

        def compare(*_: Any) -> list[Outcome]:
            found = any(key.startswith(f"v/precision/{finds}/") for key in asked)
            return [SimpleNamespace(verdict=Verdict.DIFFERENT if found else Verdict.EQUAL)]  # type: ignore[list-item]

        side = SimpleNamespace(trace=trace, observe=lambda asks, _: asked.extend(ask.key for ask in asks))
        monkeypatch.setattr(gate, "available", lambda: {"precision": SimpleNamespace(compare=compare)})
        monkeypatch.setattr(gate, "further", lambda *_: asks)
        monkeypatch.setattr(gate.pair, "observe", lambda *_: None)
        both = [SimpleNamespace(trace=trace)] * 2
        stage = stage_of()
        judge = Gate(spec=stage.job.spec, base=Path(), sides=both, scratch=Path(), checks=[], job=stage.job)  # type: ignore[arg-type]
        return [outcome.verdict for outcome in judge._compared(stage, side)], asked  # type: ignore[arg-type]

    return run


def test_one_case_that_tells_a_difference_is_enough(judged):
    assert judged("image", asks=ASKS) == ([Verdict.DIFFERENT], [KEYS[1], KEYS[3]])
    assert judged("image-2", asks=ASKS) == ([Verdict.DIFFERENT], [KEYS[1], KEYS[3], KEYS[0]])


def test_where_none_does_all_are_asked(judged):
    verdicts, asked = judged("none", asks=ASKS)
    assert (verdicts, sorted(asked)) == ([Verdict.EQUAL], sorted(KEYS))
    assert judged("none", asks=[]) == ([Verdict.EQUAL], [])


def test_one_call_is_made_before_several_models_are():
    job = job_of(cases=CASES)
    checks = [
        "configuration",
        "buffers",
        "initialisation",
        "forward",
        "roundtrip",
        "precision",
        "gradients",
        "structure",
    ]
    judge = Gate(spec=job.spec, base=Path(), sides=[], scratch=Path(), checks=checks, job=job)
    order = list(dict.fromkeys(stage.check for stage in judge._stages()))
    assert order.index("structure") < order.index("forward") < order.index("buffers") < order.index("gradients")
    assert order[-2:] == ["roundtrip", "precision"]
    assert sorted(order) == sorted(checks)
