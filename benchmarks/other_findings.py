"""Where findings that are about no value of an eval pass are placed: the third group of `localisation.py`.

Of a fault that one of CHECKS must find, that check alone is run, and the line of its first finding that has one is compared
with the lines that the seeding changed. A fault of which no finding has a line counts as not placed.
"""

from __future__ import annotations

import shutil
import time

from mutant import Fault
from placement import Row, changed, folder, functions, plain, preset

from verify.report import Finding, Report, Verdict
from verify.run import Options, run
from verify.side import Servers

CORPUS = "other findings"
CHECKS = ("gradients", "precision", "roundtrip", "training", "structure", "settings", "initialisation", "buffers")


def other_findings(fault: Fault, servers: Servers) -> Row:
    """Seeds a fault and runs the check that must find it, on the cases that the fault names or those of one model."""
    place = folder()
    try:
        before = (place / fault.file).read_text(encoding="utf-8")
        fault.apply(place)
        after = (place / fault.file).read_text(encoding="utf-8")
        tiny = preset()
        cases = fault.cases or tuple(name for name, case in tiny.cases.items() if not case.config)
        started = time.perf_counter()
        options = Options(checks=(fault.check,), cases=cases, device="cpu", processors=1)
        report = run(tiny, place, options, servers=servers)
        seconds = time.perf_counter() - started
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if report.verdict != Verdict.DIFFERENT:
        raise RuntimeError(f"{fault.name}: {fault.check} does not find it: {report.verdict.value}")
    found = first_placed(report, fault.check)
    lines = changed(before, after)
    return Row(
        corpus=fault.check,
        fault=fault.name,
        rewrites=(),
        lines=lines,
        functions=functions(after, lines),
        case=found.case,
        file=found.candidate.file if found.candidate else "",
        line=found.candidate.line if found.candidate else 0,
        function=plain(found.candidate.name) if found.candidate else "",
        kind=found.kind,
        confidence=confidence(report, found),
        seconds=round(seconds, 2),
        at=fault.file,
    )


def first_placed(report: Report, check: str) -> Finding:
    """The first finding of a check that says where in the candidate it comes from; the first of all where none does."""
    found = [f for f in report.findings if f.check == check and f.verdict == Verdict.DIFFERENT]
    return next((f for f in found if f.candidate), found[0])


def confidence(report: Report, found: Finding) -> str:
    """Of the first divergence, where the place is that one's; "found" where the check itself knows it."""
    if found.candidate is None:
        return "none"
    first = report.first_divergence
    return first.confidence if first is not None and first.candidate == found.candidate else "found"
