"""Every seeded fault is found, by the check that should find it, and forward faults are traced to their module."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest
from seeded_faults import FAULTS

from verify.checks import available
from verify.report import Verdict


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_is_found(fault, gate):
    report = gate(fault)
    assert report.verdict == Verdict.DIFFERENT
    assert report.exit_code == 1
    loud = [f for f in report.findings if f.verdict != Verdict.NOTE]
    found = [f for f in loud if f.verdict == Verdict.DIFFERENT and f.check == fault.check]
    assert any(fault.case in ("", f.case) and fnmatchcase(f.subject, fault.subject) for f in found), loud
    if fault.check == "forward":
        assert not {f.check for f in loud} & {"configuration", "signature", "structure", "buffers", "source"}, (
            "what only a forward pass can show is reported by a check that runs none"
        )
    if fault.owner:
        first = report.first_divergence
        assert first is not None
        assert (first.module.file, first.module.name) == (fault.file, fault.owner), first.message
        assert first.subject == fault.module, first.message


def test_names_are_unique_and_every_check_finds_something():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    finders = Counter(fault.check for fault in FAULTS)
    assert set(finders) == set(available()) - {"preprocessing"}, "this pair has no processors: tests/integration"
    assert finders.total() >= 45
