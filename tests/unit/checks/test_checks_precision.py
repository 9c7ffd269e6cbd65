"""The statistic of `precision`: it is sharp, and its false alarm rate is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from unit_builders import job_of, trace_of

from verify.checks import precision
from verify.report import Verdict

SIZE = 4000


def answer(error: float, seed: int, dtype: str = "bfloat16", shift: float = 0.0) -> dict:
    """Every draw's output: the truth, and a relative error of that size. The truth of one draw is the same for all."""
    arrays = {}
    for draw in range(precision.DRAWS):
        truth = np.random.default_rng(draw).standard_normal(SIZE)
        arrays[f"{draw}/out"] = truth * (1 + shift) + error * np.random.default_rng([seed, draw]).standard_normal(SIZE)
    outputs = [{"path": path, "kind": "tensor", "shape": [SIZE], "dtype": dtype} for path in arrays]
    return {"outputs": outputs, "container": "mapping", "arrays": arrays}


def judged(ratio: float, shift: float = 0.0, dtype: str = "bfloat16", error: float = 3e-3):
    """The outcome for bf16, of a candidate with so many times the reference's error."""
    job = job_of()
    exact, theirs = answer(0.0, 0, "float64"), answer(0.0, 0, "float64", shift)
    traces = [
        trace_of(
            role,
            {
                "v/precision/image/bf16": native,
                "v/precision/image/bf16/exact": exact,
                "v/precision/image/fp32/exact": own,
            },
        )
        for role, native, own in (
            ("reference", answer(error, 1), exact),
            ("candidate", answer(error * ratio, 2, dtype, shift), theirs),
        )
    ]
    return next(o for o in precision.compare(job, *traces) if o.name == "image bf16")


@pytest.mark.parametrize(
    ("ratio", "verdict", "kinds"),
    [
        (1.0, Verdict.EQUAL, []),
        (1.3, Verdict.EQUAL, []),
        (1.7, Verdict.DIFFERENT, ["less-precise"]),
        (100.0, Verdict.DIFFERENT, ["less-precise"]),
        (0.5, Verdict.EQUAL, ["more-precise"]),
    ],
)
def test_ratios_of_errors(ratio, verdict, kinds):
    outcome = judged(ratio)
    assert (outcome.verdict, [f.kind for f in outcome.findings]) == (verdict, kinds)
    assert outcome.measured == pytest.approx(ratio, rel=0.05)


def test_one_draw_within_the_factor_is_enough_to_acquit():
    outcome = judged(precision.FACTOR)  # the median lies at the factor: half of the draws are above, half below
    assert outcome.verdict == Verdict.EQUAL


def test_the_false_alarm_rate_is_that_of_the_sign_test():
    assert precision.DRAWS == 24
    random = np.random.default_rng(0)
    above = random.random((200_000, 6)) > 0.5  # six draws instead of 24, to see it happen
    assert above.all(1).mean() == pytest.approx(2**-6, rel=0.1)


def test_another_function_is_said_to_be_one():
    outcome = judged(1.0, shift=0.05)
    assert [f.kind for f in outcome.findings] == ["other-function"]


def test_another_dtype_is_found():
    outcome = judged(1.0, dtype="float32")
    assert [f.subject for f in outcome.findings] == ["out.dtype"]


def test_the_same_loss_on_both_sides_is_no_comparison():
    assert judged(1.0, error=float("inf")).verdict == Verdict.SKIPPED


def test_a_candidate_that_overflows_alone_is_found():
    assert [f.kind for f in judged(float("inf")).findings] == ["not-finite"]
