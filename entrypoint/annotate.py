"""Annotations on the source lines that differ: worst first, one a place, within GitHub's limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from entrypoint.commands import Commands, Level
from entrypoint.inputs import Settings
from entrypoint.outcome import Outcome, Place, place
from entrypoint.report import Finding, Location, Report
from entrypoint.text import line, number


@dataclass
class _Spot:
    """All that was found at one line of one side."""

    level: Level
    title: str
    message: str
    at: Place | None
    more: int = 0


def publish(settings: Settings, outcome: Outcome, commands: Commands) -> int:
    """Annotates; returns how many more there were than GitHub shows."""
    for spot in _spots(settings, outcome):
        more = f"\nand {spot.more} more findings at this line" if spot.more else ""
        commands.annotate(
            spot.level,
            spot.message + more,
            title=spot.title,
            file=spot.at.path if spot.at else "",
            line=spot.at.line if spot.at else 0,
        )
    return commands.refused


def _spots(settings: Settings, outcome: Outcome) -> Iterator[_Spot]:
    bad: Level = "error" if outcome.fails(settings.fail_on) else "warning"
    report = outcome.report
    if report is None or (outcome.reason and not report.findings):
        yield _Spot(bad, "llavavit-verify: no verdict", outcome.reason or "the verifier wrote no report", None)
        return
    spots: dict[tuple[object, ...], _Spot] = {}
    first = report.first_divergence
    if first is not None:
        at = place(settings, report, "candidate", first.candidate)
        other = _where(settings, report, "reference", first.reference)
        spots[("candidate", at)] = _Spot(
            bad,
            f"first divergence: {first.check}, {first.subject or 'the model'}",
            f"{line(first.message)}{_figures(first.measured, first.allowed)}\n"
            f"case {first.variant}/{first.case}; compare with the reference at {other}",
            at,
        )
        there = place(settings, report, "reference", first.reference)
        if there is not None and there != at:
            spots[("reference", there)] = _Spot(
                "notice",
                f"reference of the first divergence: {first.subject or 'the model'}",
                f"the candidate's counterpart is at {_where(settings, report, 'candidate', first.candidate)}",
                there,
            )
    for finding in outcome.findings:
        _add(spots, settings, outcome, finding, bad)
    for check in report.checks:
        if check.verdict == "error" and not any(f.check == check.name for f in report.findings):
            spots[("check", check.name)] = _Spot(
                bad, f"{check.name}: no verdict", line(check.reason or "undecided"), None
            )
    order = {"error": 0, "warning": 1, "notice": 2}
    yield from sorted(spots.values(), key=lambda s: order[s.level])


def _add(
    spots: dict[tuple[object, ...], _Spot], settings: Settings, outcome: Outcome, finding: Finding, bad: Level
) -> None:
    assert outcome.report is not None
    at = place(settings, outcome.report, "candidate", finding.candidate)
    role = "candidate"
    if at is None:
        at, role = place(settings, outcome.report, "reference", finding.reference), "reference"
    key = (role, at) if at else (finding.check, finding.subject, finding.kind)
    if key in spots:
        spots[key].more += 1
        return
    others = {"candidate": ("reference", finding.reference), "reference": ("candidate", finding.candidate)}
    look = _where(settings, outcome.report, *others[role])
    spots[key] = _Spot(
        "notice" if finding.verdict in ("note", "equal", "skipped") else bad,
        f"{finding.check}: {finding.subject}",
        f"{line(finding.message)}{_figures(finding.measured, finding.allowed)}\n"
        f"case {finding.variant}/{finding.case}" + (f"; compare with {look}" if look else ""),
        at,
    )


def _figures(measured: float | str | None, allowed: float | str | None) -> str:
    if measured is None:
        return ""
    return f"; measured {number(measured)}" + (f", allowed {number(allowed)}" if allowed is not None else "")


def _where(settings: Settings, report: Report, role: str, location: Location | None) -> str:
    """A place from the repository's root on, where it is one; else as the report tells it."""
    if location is None:
        return ""
    at = place(settings, report, role, location)
    return line(str(at) if at else f"{location.file}:{location.line}", 300)
