"""preprocessing: do the two sides make the same tensor of the same image, pixel for pixel?

The spec names what turns an image into the model's input on each side (`preprocessing`). Drawn images of several sizes,
aspect ratios and modes go through both. Whole numbers must be equal; floats may differ by a few roundings of float32,
which is what another order of the same arithmetic gives. One grey level of 256 is ten thousand times as much.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from verify.checks.base import Job, Maker, Outcome, faults
from verify.compare import gap
from verify.report import Verdict
from verify.spec import PreprocessingSpec
from verify.trace import BOTH, Ask, Trace

SUMMARY = "the same images through both sides' processors, pixel for pixel"
RUNS_CASES = False

CHECK = "preprocessing"
ROUNDINGS = 32
"""Units in the last place of float32, at the largest value, that floats may lie apart."""


def plan(job: Job) -> list[Ask]:
    about = job.spec.preprocessing
    if about is None:
        return []
    make = {
        role: {"target": side.make, "kwargs": side.kwargs, "arguments": side.arguments, "output": side.output}
        for role, side in zip(BOTH, (about.reference, about.candidate), strict=True)
    }
    return [
        Ask(
            key=job.key(CHECK, _name(mode, size)),
            op=CHECK,
            args={"make": make, "mode": mode, "size": size, "seed": job.seed},
        )
        for mode, size in _images(about)
    ]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    if job.spec.preprocessing is None:
        yield Outcome(name="images", skipped=True, reason="the spec names no `preprocessing`")
        return
    for mode, size in _images(job.spec.preprocessing):
        name = _name(mode, size)
        yield _image(Maker(job=job, check=CHECK, group=name), reference, candidate)


def _images(about: PreprocessingSpec) -> list[tuple[str, list[int]]]:
    """Every mode in every size."""
    return [(mode, size) for mode in about.modes for size in about.sizes]


def _name(mode: str, size: list[int]) -> str:
    return f"{mode} {size[0]}x{size[1]}"


def _image(make: Maker, reference: Trace, candidate: Trace) -> Outcome:
    """One image. Where both sides refuse it, there is nothing to compare."""
    outcome = Outcome(name=make.group)
    r, c = (trace.get(make.job.key(CHECK, make.group)) for trace in (reference, candidate))
    refused = [a.fault for a in (r, c) if a.fault is not None and a.fault.kind == "raised"]
    if len(refused) == len(BOTH):
        outcome.skipped, outcome.reason = True, f"both sides refuse this image: {refused[0]} / {refused[1]}"
        return outcome
    if r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
        return outcome
    left, right = ({k: a["outputs"][0][k] for k in ("shape", "dtype")} for a in (r.result, c.result))
    outcome.findings += make.differences(left, right, "pixels")
    a, b = r.arrays["pixels"], c.arrays["pixels"]
    if a.shape != b.shape or not a.size or make.ignored("pixels"):
        return outcome
    found = gap(a, b)
    largest = float(np.max(np.abs(a[np.isfinite(a)].astype(np.float64)), initial=0.0))
    outcome.compared, outcome.measured = a.size, found.absolute
    outcome.allowed = ROUNDINGS * 2.0**-23 * largest if left["dtype"].startswith(("float", "bfloat")) else 0.0
    outcome.reason = f"{ROUNDINGS} roundings of float32" if outcome.allowed else "whole numbers are equal or not"
    if not found.finite:
        both = found.alike
        details = {"side": "both sides" if both else "one side"}
        verdict = Verdict.ERROR if both else Verdict.DIFFERENT
        outcome.findings.append(make.finding("not-finite", "pixels", verdict, details=details))
    elif not found.absolute <= outcome.allowed:
        details = {
            "different": str(found.different), "count": str(a.size), "where": str(list(found.where)),
            "candidate": str(found.candidate), "reference": str(found.reference),
        }  # fmt: skip
        outcome.findings.append(
            make.finding("pixels", "pixels", details=details, measured=found.absolute, allowed=outcome.allowed)
        )
    return outcome
