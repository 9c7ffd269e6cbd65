"""The statistic of `precision`: it is sharp, and its false alarm rate is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from unit_builders import job_of, trace_of

from verify.checks import precision
from verify.checks.base import Maker, Outcome
from verify.checks.passes import Pass
from verify.report import Verdict
from verify.trace import Fault

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


def verdict_of(ratios: np.ndarray) -> Verdict:
    """Of one output whose candidate has so many times the reference's error in each draw. One value a draw."""
    paths = [f"{draw}/out" for draw in range(len(ratios))]
    values = [
        dict.fromkeys(paths, np.ones(1)),
        {p: np.array([1 + 0.01 * r]) for p, r in zip(paths, ratios, strict=True)},
    ]
    true, candidate = (Pass(container="", leaves={}, values=v) for v in values)
    reference = Pass(container="", leaves={}, values=dict.fromkeys(paths, np.array([1.01])))
    outcome = Outcome(name="image bf16")
    make = Maker(job=job_of(), check="precision", group=outcome.name)
    precision._output(make, outcome, "bf16", "out", (reference, candidate, true), (true, true))
    assert outcome.compared == 1
    return outcome.verdict


@pytest.mark.parametrize("draws", [3, 5])
def test_the_false_alarm_rate_is_that_of_the_sign_test(monkeypatch, draws):
    """The true median is at the factor: each draw is above or below it, evenly. With few draws it is seen to happen."""
    monkeypatch.setattr(precision, "DRAWS", draws)
    random, runs = np.random.default_rng(0), 4000
    ratios = precision.FACTOR * np.exp(random.standard_normal((runs, draws)) / 10)
    alarms = sum(verdict_of(row) == Verdict.DIFFERENT for row in ratios)
    expected = runs * 2.0**-draws
    assert abs(alarms - expected) < 5 * expected**0.5


def test_with_all_its_draws_chance_raises_no_alarm():
    random = np.random.default_rng(1)
    ratios = precision.FACTOR * np.exp(random.standard_normal((2000, precision.DRAWS)) / 10)
    assert precision.DRAWS == 24  # 2^-24 is the rate that the documentation tells
    assert {verdict_of(row) for row in ratios} == {Verdict.EQUAL}
    assert verdict_of(np.full(precision.DRAWS, precision.FACTOR * 1.01)) == Verdict.DIFFERENT


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


@pytest.mark.parametrize(
    ("lacking", "verdict", "kinds"),
    [
        (("candidate",), Verdict.DIFFERENT, ["fault-one"]),
        (("reference",), Verdict.SKIPPED, []),
        (("reference", "candidate"), Verdict.SKIPPED, []),
    ],
)
def test_an_operation_that_a_format_lacks_is_a_difference_on_the_candidate_alone(lacking, verdict, kinds):
    fault = Fault(kind="setup", type="Unusable", message="\"det\" not implemented for 'BFloat16'")
    exact = answer(0.0, 0, "float64")
    traces = []
    for role in ("reference", "candidate"):
        native = fault if role in lacking else answer(3e-3, 1)
        keys = {"bf16": native, "bf16/exact": exact, "fp32/exact": exact}
        traces.append(trace_of(role, {f"v/precision/image/{key}": value for key, value in keys.items()}))
    outcome = next(o for o in precision.compare(job_of(), *traces) if o.name == "image bf16")
    assert (outcome.verdict, [f.kind for f in outcome.findings]) == (verdict, kinds)


def asked(ratio: float) -> list[str]:
    """What `further` asks for after the first draws, of a candidate with so many times the reference's error in bf16."""
    job = job_of()
    exact = first_draws(answer(0.0, 0, "float64"))
    native = [first_draws(answer(error, seed)) for error, seed in ((3e-3, 1), (3e-3 * ratio, 2))]
    kinds = ("fp32", "fp16", "autocast")
    traces = []
    for role, one in zip(("reference", "candidate"), native, strict=True):
        answers = {"bf16": one} | dict.fromkeys(kinds, native[0])
        answers |= {f"{kind}/exact": exact for kind in ("bf16", "fp16", "fp32")}
        traces.append(trace_of(role, {f"v/precision/image/{kind}": found for kind, found in answers.items()}))
    return [ask.key.removeprefix("v/precision/image/") for ask in precision.further(job, *traces)]


def first_draws(given: dict) -> dict:
    kept = [f"{draw}/out" for draw in range(precision.FIRST)]
    return {
        **given,
        "outputs": [o for o in given["outputs"] if o["path"] in kept],
        "arrays": {path: given["arrays"][path] for path in kept},
    }


@pytest.mark.parametrize("ratio", [1.0, 1.4])
def test_draws_that_could_change_nothing_are_not_run(ratio):
    assert asked(ratio) == []


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_all_draws_are_run_where_the_first_are_on_one_side(ratio):
    assert asked(ratio) == ["bf16/more", "bf16/exact/more", "fp32/more", "fp32/exact/more"]


def test_draws_that_only_the_reference_ran_are_not_compared():
    """The self-test's reference answers them for one changed candidate and is then compared with others."""
    exact, native = answer(0.0, 0, "float64"), answer(3e-3, 1)
    others = {"/more": native, "/exact/more": exact}
    traces = []
    for role in ("reference", "candidate"):
        first = {"bf16": native, "bf16/exact": exact, "fp32/exact": exact}
        answers = {key: first_draws(value) for key, value in first.items()}
        if role == "reference":
            answers |= {f"bf16{key}": value for key, value in others.items()} | {"fp32/exact/more": exact}
        traces.append(trace_of(role, {f"v/precision/image/{key}": value for key, value in answers.items()}))
    outcome = next(o for o in precision.compare(job_of(), *traces) if o.name == "image bf16")
    assert (outcome.verdict, outcome.findings) == (Verdict.EQUAL, [])
    assert outcome.compared


def test_the_first_draws_alone_are_no_verdict():
    exact = first_draws(answer(0.0, 0, "float64"))
    traces = [
        trace_of(
            role,
            {
                "v/precision/image/bf16": first_draws(answer(error, seed)),
                "v/precision/image/bf16/exact": exact,
                "v/precision/image/fp32/exact": exact,
            },
        )
        for role, error, seed in (("reference", 3e-3, 1), ("candidate", 6e-3, 2))
    ]
    outcome = next(o for o in precision.compare(job_of(), *traces) if o.name == "image bf16")
    assert (outcome.skipped, outcome.findings) == (True, [])
