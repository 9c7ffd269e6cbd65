"""The verifier's JSON report as this package reads it: untrusted data, checked before anything is done with it.

Knows the fields that are published and leaves the others alone, so that a newer verifier's report can be read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from entrypoint import files

LARGEST = 64 * 2**20
"""Bytes of a report that is still read."""

Verdict = Literal["equal", "different", "error", "skipped", "note"]
Short = Annotated[str, StringConstraints(max_length=20_000)]
Number = float | Annotated[str, StringConstraints(max_length=20_000)] | None
WEIGHT = {"different": 4, "error": 3, "equal": 2, "note": 1, "skipped": 0}
EXIT_CODES = {"equal": 0, "different": 1, "error": 2}


class ReportError(Exception):
    """There is no report that can be used; the message says why, in words fit for a summary."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Location(_Read):
    file: Short
    line: Annotated[int, Field(ge=0, le=10_000_000)]
    name: Short = ""


class Finding(_Read):
    check: Short
    variant: Short
    case: Short
    subject: Short
    verdict: Verdict
    kind: Short
    message: Short
    message_zh: Short = ""
    measured: Number = None
    allowed: Number = None
    reference: Location | None = None
    candidate: Location | None = None
    hint: Short = ""
    hint_zh: Short = ""


class Group(_Read):
    check: Short
    variant: Short
    name: Short
    verdict: Verdict
    compared: int
    measured: Number = None
    allowed: Number = None
    reason: Short = ""


class Check(_Read):
    name: Short
    verdict: Verdict
    compared: int
    seconds: float
    reason: Short = ""
    reason_zh: Short = ""
    groups: list[Group] = []


class LayerError(_Read):
    path: Short
    error: float


class Divergence(_Read):
    check: Short
    variant: Short
    case: Short
    subject: Short
    confidence: Short
    message: Short
    message_zh: Short = ""
    measured: Number = None
    allowed: Number = None
    reference: Location | None = None
    candidate: Location | None = None
    layers: list[LayerError] = []


class Skipped(_Read):
    check: Short
    variant: Short
    case: Short
    reason: Short
    reason_zh: Short = ""


class Report(_Read):
    schema_version: Literal[1]
    tool_version: Short
    verdict: Literal["equal", "different", "error"]
    seed: int = 0
    variants: list[Short]
    sides: dict[str, Short]
    seconds: float
    checks: list[Check]
    findings: list[Finding]
    first_divergence: Divergence | None = None
    skipped: list[Skipped] = []
    environment: dict[str, dict[str, Any]] = {}

    @property
    def groups(self) -> list[Group]:
        return [group for check in self.checks for group in check.groups]

    def count(self, *verdicts: str) -> int:
        """Comparison groups with one of these verdicts; a check without groups counts as one."""
        units: list[Group | Check] = []
        for check in self.checks:
            units += check.groups or [check]
        return sum(unit.verdict in verdicts for unit in units)


def parse(data: bytes) -> Report:
    """The report in `data`. Raises ReportError with what is wrong with it."""
    return _parse(data)[0]


def _parse(data: bytes) -> tuple[Report, bytes]:
    if len(data) > LARGEST:
        raise ReportError(f"the verifier's report is longer than {LARGEST} bytes")
    try:
        whole = json.dumps(json.loads(data), ensure_ascii=False, indent=2).encode(
            "utf-8", "replace"
        )  # no lone surrogate
        report = Report.model_validate_json(whole)
    except (ValueError, RecursionError) as error:  # ValidationError and JSONDecodeError are ValueErrors
        raise ReportError(f"the verifier's report cannot be read: {_short(error)}") from error
    _consistent(report)
    return report, whole + b"\n"


def read(folder: Path, name: str) -> tuple[Report, bytes]:
    """The report in a file of a folder that untrusted code could write, and all of it as JSON of our writing."""
    try:
        data = files.read(folder, name, LARGEST)
    except FileNotFoundError:
        raise ReportError("the verifier wrote no report") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"the verifier's report cannot be read: {error}") from error
    return _parse(data)


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']} ({error.error_count()} such)"
    return f"{type(error).__name__}: {error}"


def _consistent(report: Report) -> None:
    """Refuses a report whose verdict does not follow from its parts: a forged one, or a broken verifier."""
    parts = [c.verdict for c in report.checks if c.verdict != "skipped"]
    worst = max(parts, key=lambda v: WEIGHT[v], default="error")
    if worst in ("note", "skipped"):
        worst = "error"
    if worst != report.verdict:
        raise ReportError(f"the verifier's report contradicts itself: {report.verdict} over checks that say {worst}")
    if report.verdict == "equal":
        if any(f.verdict in ("different", "error") for f in report.findings):
            raise ReportError("the verifier's report contradicts itself: equal, with findings that are not")
        if any(c.compared < 1 for c in report.checks if c.verdict == "equal"):
            raise ReportError("the verifier's report contradicts itself: equal, with nothing compared")
