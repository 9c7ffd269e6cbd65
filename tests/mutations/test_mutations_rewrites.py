"""No harmless rewrite is reported."""

from __future__ import annotations

import pytest
from harmless_rewrites import REWRITES

from verify.checks import available
from verify.report import Verdict


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)
def test_a_harmless_rewrite_is_not_reported(rewrite, gate):
    report = gate(rewrite)
    loud = [f for f in report.findings if f.verdict != Verdict.NOTE]
    assert not loud, loud
    assert report.verdict == Verdict.EQUAL
    assert report.first_divergence is None
    # this pair has no processors to compare
    assert [c.name for c in report.checks] == [name for name in available() if name != "preprocessing"]
    assert not [c.name for c in report.checks if not c.compared]


def test_names_are_unique():
    names = [rewrite.name for rewrite in REWRITES]
    assert len(set(names)) == len(names)
    assert len(names) >= 40
