"""source: are files that the spec declares copies of one another the same, byte for byte?"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from verify import copies
from verify.checks.base import Job, Maker, Outcome
from verify.report import Location, Verdict
from verify.trace import Ask, Trace

SUMMARY = "declared copies of files, byte for byte"
RUNS_CASES = False
ONCE = True


def plan(job: Job) -> list[Ask]:
    return []


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    make = Maker(job=job, check="source", group="copies")
    outcome = Outcome(name="copies")
    for copy, original in sorted(job.spec.copies.items()):
        if make.ignored(copy):
            continue
        try:
            line = copies.first_difference(job.base, copy, original)
        except copies.CopyError as error:
            details = {"what": copy, "fault": str(error)}
            outcome.findings.append(make.finding("copy-unread", copy, Verdict.ERROR, details=details))
            continue
        outcome.compared += 1
        if line is None:
            continue
        details = {"original": original, "line": str(line)}
        places = [
            Location(file=posixpath.relpath(job.base / name, job.base / side.path), line=max(line, 1), path=name)
            for side, name in ((job.spec.reference, original), (job.spec.candidate, copy))
        ]
        kind = "copy-differs" if line else "copy-missing"
        outcome.findings.append(make.finding(kind, copy, details=details, reference=places[0], candidate=places[1]))
    if not job.spec.copies:
        outcome.skipped, outcome.reason = True, "the spec declares no copies"
    yield outcome
