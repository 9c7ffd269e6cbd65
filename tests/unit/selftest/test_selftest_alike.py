"""When a change that moved values is called none: the rule is sharp on either side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit_builders import job_of, trace_of

from verify.checks import precision
from verify.checks.base import Maker, Outcome
from verify.report import Verdict
from verify.selftest import alike
from verify.selftest.alike import Pair, Stage, why_equivalent
from verify.trace import BOTH, Ask, Trace

NOISE = 1e-15
OUT = np.random.default_rng(0).standard_normal(500)
KEY, STRUCTURE = "v/forward/image", "v/structure"


def passed(array: Any, **more: Any) -> dict[str, Any]:
    leaf = {"path": "out", "kind": "tensor", "shape": list(array.shape), "dtype": "float64"}
    return {"outputs": [leaf], "container": "mapping", "arrays": {"out": array}, **more}


def native(error: float) -> dict[str, Any]:
    """Every draw's output: the truth, and a relative error of that size."""
    arrays = {
        f"{draw}/out": OUT * (1 + error * np.random.default_rng(draw).standard_normal(OUT.shape))
        for draw in range(precision.DRAWS)
    }
    leaves = [{"path": p, "kind": "tensor", "shape": list(a.shape), "dtype": "bfloat16"} for p, a in arrays.items()]
    return {"outputs": leaves, "container": "mapping", "arrays": arrays}


@pytest.fixture
def judged(monkeypatch):
    """Why a candidate with these outputs, errors and structure is the unchanged one; empty where it is another."""
    monkeypatch.setattr(precision, "FORMATS", {"fp32": 2.0**-24, "bf16": 2.0**-8})
    monkeypatch.setattr(precision, "GIVEN", {})

    def run(out: Any, error: float = 3e-3, line: int = 3, name: str = "w", **spec: Any) -> str:
        job = job_of(**spec)
        asks = {check: [Ask(key=key, op=check)] for check, key in (("forward", KEY), ("structure", STRUCTURE))}
        stages = [Stage(check=check, job=job, asks=found) for check, found in asks.items()]
        stages.append(Stage(check="precision", job=job, asks=[]))

        def side(array: Any, size: float, line: int, name: str) -> Trace:
            exact = {f"v/precision/image/{form}/exact": native(0.0) for form in precision.FORMATS}
            rough = {f"v/precision/image/{form}": native(size) for form in precision.FORMATS}
            told = {"parameters": [{"name": name, "location": {"file": "a.py", "line": line}}]}
            return trace_of("candidate", {KEY: passed(array), STRUCTURE: told, **exact, **rough})

        reference = trace_of("reference", {f"{KEY}/noise": passed(OUT * (1 + NOISE))})
        pair = Pair(reference=reference, candidate=side(OUT, 3e-3, 3, "w"), skipped=set())
        return why_equivalent(stages, pair, side(out, error, line, name))

    return run


def test_values_that_move_as_rounding_moves_them_are_no_change(judged):
    assert judged(OUT).startswith("the same values: in exact arithmetic to the bit; errors in narrow formats are 1.00")
    assert "moved by" in judged(OUT * (1 + 4 * NOISE), error=2e-3, line=7)


@pytest.mark.parametrize(
    "change",
    [
        {"out": OUT * (1 + 1e-13)},
        {"out": np.where(np.arange(500) == 7, OUT + 1e-12, OUT)},
        {"out": OUT[:-1]},
        {"out": OUT * np.nan},
        {"out": OUT, "error": 3e-3 * (alike.LARGER + 0.05)},
        {"out": OUT, "name": "v"},
        {"out": OUT, "mapping": {"outputs": {"out": "0"}}},
    ],
)
def test_what_moves_further_or_cannot_be_told_is_a_change(judged, change):
    assert judged(**change) == ""


def test_a_wide_tolerance_of_the_spec_excuses_nothing(judged):
    assert judged(OUT * (1 + 1e-13), tolerance={"multiple": 4096}) == ""


@pytest.mark.parametrize(
    ("sides", "instead", "harmless"),
    [(BOTH, "sdpa", True), (("candidate",), "sdpa", False), (BOTH, "", False)],
)
def test_a_note_that_the_unchanged_candidate_has_too_is_no_trace_of_a_change(sides, instead, harmless):
    job = job_of()
    make = Maker(job=job, check="backends", group="image")
    notes = [
        make.finding("fell-back", "kind", Verdict.NOTE, details={"side": s, "what": "kind", "instead": instead or s})
        for s in sides
    ]
    outcome = Outcome(name="image", compared=1, findings=notes)
    assert alike._harmless(Stage(check="backends", job=job, asks=[]), outcome, set()) is harmless
