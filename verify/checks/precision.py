"""precision: does each side lose as little to rounding as the other, in the formats that people run?

`forward` asks in exact arithmetic whether both are the same function. Here each side runs natively in float32, bfloat16,
float16 and under autocast to either, and its error is taken against the reference's exact float64 answer to the same
rounded weights and inputs. A softmax, a norm or a rotary table in a narrower type than the reference's shows as a larger
error, whatever the two outputs look like next to each other.

The verdict is a statistic over DRAWS independent draws of inputs. For each output the error of the candidate over that
of the reference is taken draw by draw. It is `different` where this ratio is above FACTOR in every draw. If the ratio's
median is FACTOR or less, that happens by chance with a probability of 2^-DRAWS at most (a sign test): with 24 draws 6e-8
for each output of each case and format, so less than 1e-5 for a run that compares 160 of them. A ratio below 1 / FACTOR
in every draw is a note: the candidate is the more precise one. FIRST draws are run, and the others only where all of these
are on one side: elsewhere they could change nothing of that. Overflow, which one draw proves, is looked for in the draws
that are run.

Where the two are different functions, errors say nothing about precision; then this check says so and no more.

The first case also runs with inputs of another type than the weights: wider ones that hold what the weights' type can,
and narrower ones. Whether the model takes them, and what it loses by it, must be as in the reference; that neither side
takes them is agreement.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checks import passes
from verify.checks.base import Job, Maker, Outcome, faults
from verify.checks.passes import Pass
from verify.mapping import inverse
from verify.report import Verdict
from verify.trace import BOTH, Answer, Ask, Role, Trace

SUMMARY = "the rounding error of each side in float32, bfloat16, float16 and autocast, over many draws"
RUNS_CASES = True

CHECK = "precision"
DRAWS = 24
"""Draws of inputs for each case. The false alarm rate of one comparison is 2^-DRAWS."""
FIRST = 8

FACTOR = 1.5
"""How many times the reference's error the candidate's may be."""

FORMATS = {"fp32": 2.0**-24, "bf16": 2.0**-8, "fp16": 2.0**-11, "autocast": 2.0**-8, "autocast fp16": 2.0**-11}
"""Native formats and their rounding."""

AUTOCAST = ("autocast", "autocast fp16")
"""Those of a float32 model in which torch chooses bfloat16, or float16, by operation."""

GIVEN = {"fp32 given fp64": ("fp32", "fp64"), "fp32 given bf16": ("fp32", "bf16"), "bf16 given fp32": ("bf16", "fp32")}
"""By name: the format of the weights, another one of the float inputs."""

JUDGED = ("less-precise", "more-precise")
"""Findings of which all draws must be."""

SHARE = 0.25
"""Two exact answers that lie further apart than this share of the reference's error are different functions' answers."""


def exact_of(form: str) -> str:
    """The format whose rounded weights and inputs the exact answer is for: autocast keeps them in float32, and inputs
    in a wider type than the weights hold the same values."""
    if form in AUTOCAST:
        return "fp32"
    weights, inputs = GIVEN.get(form, (form, form))
    return weights if FORMATS.get(inputs, 0.0) <= FORMATS[weights] else form


def plan(job: Job) -> list[Ask]:
    asks: list[Ask] = []
    for name in job.cases(CHECK):
        for form in _forms(job, name):
            asks += _asks(job, name, form, range(FIRST))
    return asks


def further(job: Job, reference: Trace, candidate: Trace) -> list[Ask]:
    """The other draws of cases and formats in which the first say that one side rounds worse than the other."""
    asks: list[Ask] = []
    for name in job.cases(CHECK):
        for form in _forms(job, name):
            make = Maker(job=job, check=CHECK, group=f"{name} {form}")
            if any(f.kind in JUDGED for f in _of(make, name, form, reference, candidate).findings):
                for one in dict.fromkeys((form, exact_of(form), "fp32")):
                    asks += _asks(job, name, one, range(FIRST, DRAWS))
    return list({ask.key: ask for ask in asks}.values())


def _forms(job: Job, case: str) -> list[str]:
    """The formats that a case runs in: all, the first case of the check also in those of other inputs than weights."""
    return [*FORMATS, *(GIVEN if case == job.cases(CHECK)[0] and _floats(job, case) else ())]


def _floats(job: Job, case: str) -> bool:
    """Whether a case has inputs that can be given in several float types."""
    inputs = job.scenes[CHECK, case].case.inputs.values()
    return any(i.dtype == "float" or (i.dtype is None and i.below is None) for i in inputs)


def _asks(job: Job, case: str, form: str, draws: range) -> Iterator[Ask]:
    """Some draws in a format and, where another format's is not theirs too, the exact answer to them."""
    for lifted in (False, True) if exact_of(form) == form else (False,):
        kind = f"{form}/exact" if lifted else form
        sides: tuple[Role, ...] = BOTH if form == "fp32" or not lifted else ("reference",)
        more: dict[str, Any] = {"arithmetic": kind, "draws": [draws.start, draws.stop], **arguments(form, lifted)}
        yield job.ask("precision", CHECK, case, f"{kind}/more" if draws.start else kind, sides=sides, **more)


def arguments(form: str, lifted: bool) -> dict[str, Any]:
    """What an ask in one of FORMATS or GIVEN says of the format. lifted: of the exact answer to it."""
    weights, inputs = GIVEN.get(form, (form, ""))
    return {"format": weights, "given": inputs, "lifted": lifted}


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    for name in job.cases(CHECK):
        judged = False
        for form in _forms(job, name):
            make = Maker(job=job, check=CHECK, group=f"{name} {form}")
            outcome = _of(make, name, form, reference, candidate)
            early = [f for f in outcome.findings if f.kind in JUDGED and f.details["draws"] != str(DRAWS)]
            if early:  # the run was cut short
                outcome.findings = [f for f in outcome.findings if f not in early]
                if not outcome.findings:
                    outcome.skipped, outcome.reason = True, "the draws that would decide were not run"
            judged |= form in FORMATS and bool(outcome.compared)
            if (
                form in GIVEN and not judged
            ):  # that both refuse other inputs proves nothing of a model without any error
                outcome.skipped |= not outcome.findings
            yield outcome


def _of(make: Maker, case: str, form: str, reference: Trace, candidate: Trace) -> Outcome:
    """One case in one format, by all draws that both sides ran: the reference may have been asked for another candidate."""
    more = f"{make.job.key(CHECK, case, form)}/more" in candidate.answers

    def both(kind: str) -> tuple[Answer, Answer]:
        key = make.job.key(CHECK, case, kind)
        return _whole(reference, key, more=more), _whole(candidate, key, more=more)

    exact = _whole(reference, make.job.key(CHECK, case, exact_of(form), "exact"), more=more)
    return _format(make, form, both(form), exact, both("fp32/exact"))


def _whole(trace: Trace, key: str, *, more: bool) -> Answer:
    """The answers of the first draws and, where they count, of the others."""
    first, others = trace.get(key), trace.answers.get(f"{key}/more") if more else None
    if others is None or first.result is None or others.result is None:
        return first if others is None or first.result is None else others
    result = {**first.result, "outputs": [*first.result["outputs"], *others.result["outputs"]]}
    return Answer(
        key=key, result=result, arrays={**first.arrays, **others.arrays}, seconds=first.seconds + others.seconds
    )


def _format(
    make: Maker, form: str, pair: tuple[Answer, Answer], exact: Answer, function: tuple[Answer, Answer]
) -> Outcome:
    lacking = [a.fault if a.fault and a.fault.kind == "setup" else None for a in pair]
    if lacking[0]:
        return Outcome(name=make.group, skipped=True, reason=str(lacking[0]))
    if lacking[1] and pair[0].result is not None:  # what the candidate alone cannot do is no matter of this machine
        details = {"side": "candidate", "fault": lacking[1]}
        return Outcome(name=make.group, findings=[make.finding("fault-one", make.group, details=details)])
    refused = [a.fault for a in pair if a.fault and a.fault.kind == "raised"]
    if form in GIVEN and len(refused) == len(pair):
        reason = f"both sides refuse such inputs: {refused[0]}"
        return Outcome(name=make.group, compared=make.counted([make.group]), reason=reason)
    if form != "fp32" and len(refused) == len(pair):
        reason = f"neither side runs in {form}: {refused[0]} / {refused[1]}"
        return Outcome(name=make.group, skipped=True, reason=reason)
    if form != "fp32" and form not in GIVEN and refused and pair[1].result is not None:
        reason = f"the reference does not run in {form}, in which the candidate runs: {refused[0]}"
        return Outcome(name=make.group, skipped=True, reason=reason)
    for two in (pair, function):
        if two[0].result is None or two[1].result is None:
            return Outcome(name=make.group, findings=list(faults(make, *two)))
    if exact.result is None:
        return Outcome(name=make.group, findings=list(faults(make, exact, Answer(key="", result={}))))
    theirs = inverse(make.job.spec.mapping.outputs)
    r, c = passes.read(pair[0]), passes.read(pair[1], theirs, sections=True)
    true = passes.read(exact)
    both = passes.read(function[0]), passes.read(function[1], theirs, sections=True)
    outcome = Outcome(name=make.group, reason=f"{FACTOR:g} x the reference's own error, in each of {DRAWS} draws")
    left, right = ({f"{path}.dtype": dtype for path, dtype in _dtypes(side).items()} for side in (r, c))
    if form not in AUTOCAST:  # there the last operation decides, and none is more right than another
        outcome.findings += make.differences(left, right)
    for path in _dtypes(r):
        if path in _dtypes(c) and not make.ignored(path):
            _output(make, outcome, form, path, (r, c, true), both)
    kept = [path for path in _dtypes(r) if not make.ignored(path)]
    if kept and not outcome.compared and not outcome.findings:
        outcome.skipped, outcome.reason = True, _nothing(form, [r.values[f"0/{path}"] for path in kept])
    elif not _dtypes(r) and not _dtypes(c):
        outcome.skipped, outcome.reason = True, "there is no floating-point output"
    return outcome


def _nothing(form: str, values: list[NDArray[Any]]) -> str:
    """Why no output is compared. values: the reference's own, in this format."""
    if not any(array.size for array in values):
        return "no floating-point output has an element"
    if not all(np.isfinite(array).all() for array in values):
        return f"{form} holds none of the reference's own outputs: they overflow"
    return "no floating-point output has the same shape on both sides"


def _dtypes(side: Pass) -> dict[str, str]:
    """The dtypes of floating and complex outputs, of the first draw."""
    leaves = side.section("0").leaves.items()
    tensors = {path: str(leaf["dtype"]) for path, leaf in leaves if leaf["kind"] == "tensor"}
    return {path: dtype for path, dtype in tensors.items() if "float" in dtype or "complex" in dtype}


def _output(
    make: Maker, outcome: Outcome, form: str, path: str, sides: tuple[Pass, Pass, Pass], function: tuple[Pass, Pass]
) -> None:
    """One output in one format."""
    names = _names(path, sides[0])
    if all(names[0] in side.values for side in sides) and any(n not in sides[1].values for n in names):
        outcome.findings += make.differences({path: f"there in {len(names)} draws"}, {})
        return
    if any(n not in side.values or side.values[n].shape != sides[0].values[n].shape for n in names for side in sides):
        return  # `forward` and `outputs` report it
    if not sides[0].values[names[0]].size:
        return  # no value has an error
    floor = FORMATS[GIVEN.get(form, (form,))[0]] / 64
    left, right = ([_error(sides[2].values[n], side.values[n]) for n in names] for side in sides[:2])
    if not all(map(math.isfinite, left)):
        return  # the format cannot hold the reference's own values
    outcome.compared += 1
    if not all(map(math.isfinite, right)):
        details = {"side": "the candidate alone"}
        outcome.findings.append(make.finding("not-finite", path, details=details))
        return
    apart = [_error(*(side.values[n] for side in function)) for n in names if all(n in s.values for s in function)]
    if (
        len(apart) < len(names)
        or statistics.median(a / max(e, floor) for a, e in zip(apart, left, strict=True)) > SHARE
    ):
        details = {"format": form}
        outcome.findings.append(make.finding("other-function", path, details=details, measured=max(apart, default=0.0)))
        return
    ratios = [max(b, floor) / max(a, floor) for a, b in zip(left, right, strict=True)]
    ratio = statistics.median(ratios)
    if outcome.measured is None or ratio > outcome.measured:
        outcome.measured, outcome.allowed = ratio, FACTOR
    less, more = min(ratios) > FACTOR, max(ratios) < 1 / FACTOR
    if less or more:
        details = {
            "reference": f"{statistics.median(left):.3g}",
            "candidate": f"{statistics.median(right):.3g}",
            "ratio": f"{ratio:.3g}",
            "draws": str(len(names)),
            "format": form,
        }
        outcome.findings.append(
            make.finding(
                "less-precise" if less else "more-precise",
                path,
                Verdict.DIFFERENT if less else Verdict.NOTE,
                details=details,
                measured=ratio,
                allowed=FACTOR,
            )
        )


def _names(path: str, reference: Pass) -> list[str]:
    """Of one output the paths in all draws that were run, by the reference's."""
    draws = [f"{draw}/{path}" for draw in range(DRAWS)]
    return draws if draws[-1] in reference.values else draws[:FIRST]


def _error(true: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Root mean square of the difference over that of the truth, but for infinities that both have; infinite where
    anything else is not finite, or there is nothing else."""
    rest = ~(np.isinf(true) & (true == found))
    true, found = true[rest], found[rest]
    if not true.size:
        return math.inf
    with np.errstate(all="ignore"):
        size = float(np.sqrt(np.mean(np.square(true))))
        error = float(np.sqrt(np.mean(np.square(found - true))))
    if not math.isfinite(error) or not math.isfinite(size):
        return math.inf
    return 0.0 if error == 0 else error / size if size > 0 else math.inf
