"""Second passes that fail, and what a report tells of them."""

from __future__ import annotations

from verify.report import Report

REFUSES = """
def refuse(*args):
    raise RuntimeError("no second pass here")
import sys
sys.modules["_llavavit_verify.observer.session"].OPERATIONS[{op!r}] = refuse
"""
"""The end of a module of model code that lets its side fail at one operation of the observer."""


def unsought(report: Report) -> list[str]:
    """Why places could not be sought."""
    return [s.reason for s in report.skipped if "first differs" in s.reason]


def told_as_refused(report: Report) -> None:
    """Asserts that the report tells, once and in both languages, that the candidate refused its second pass."""
    (skipped,) = [s for s in report.skipped if "first differs" in s.reason]
    start = "where it first differs could not be sought: the candidate did not finish the second pass: "
    assert skipped.reason.startswith(start + "RuntimeError: no second pass here (at net.py:"), skipped.reason
    assert "候选实现未完成第二遍运行：RuntimeError" in skipped.reason_zh
