"""Annotations on the source lines that differ: worst first, one a place, within GitHub's limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from entrypoint.commands import Commands, Level
from entrypoint.inputs import Settings
from entrypoint.outcome import Outcome, Place, place
from entrypoint.render import figures
from entrypoint.report import Divergence, Finding, Location, Report
from entrypoint.text import cut, line
from entrypoint.words import said, word

LONGEST_SENTENCES = 3000
"""Bytes of a message that its sentences may take, in all languages together, so that what follows them is shown too."""


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
        more = f"\n{word('more-here', settings.language, count=spot.more)}" if spot.more else ""
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
    language = settings.language
    report = outcome.report
    if report is None or (outcome.reason and not report.findings):
        title = f"llavavit-verify: {word('no-verdict', language)}"
        yield _Spot(bad, title, outcome.reason or "the verifier wrote no report", None)
        return
    spots: dict[tuple[object, ...], _Spot] = {}
    first = report.first_divergence
    if first is not None:
        at = place(settings, report, "candidate", first.candidate)
        other = _where(settings, report, "reference", first.reference)
        subject = first.subject or word("model", language)
        spots[("candidate", at)] = _Spot(
            bad,
            f"{word('at-first', language)}: {first.check}, {subject}",
            _message(settings, first, word("compare-reference", language, at=other)),
            at,
        )
        there = place(settings, report, "reference", first.reference)
        if there is not None and there != at:
            spots[("reference", there)] = _Spot(
                "notice",
                f"{word('at-reference', language)}: {subject}",
                word("counterpart", language, at=_where(settings, report, "candidate", first.candidate)),
                there,
            )
    for finding in outcome.findings:
        _add(spots, settings, outcome, finding, bad)
    for check in report.checks:
        if check.verdict == "error" and not any(f.check == check.name for f in report.findings):
            title = f"{check.name}: {word('no-verdict', language)}"
            reason = _sentences(settings, check.reason, check.reason_zh) or word("undecided", language)
            spots[("check", check.name)] = _Spot(bad, title, reason, None)
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
    there = _where(settings, outcome.report, *others[role])
    looks = [word("compare", settings.language, at=there)] if there else []
    looks += [_sentences(settings, finding.hint, finding.hint_zh)] if finding.hint else []
    spots[key] = _Spot(
        "notice" if finding.verdict in ("note", "equal", "skipped") else bad,
        f"{finding.check}: {finding.subject}",
        _message(settings, finding, "; ".join(looks)),
        at,
    )


def _message(settings: Settings, found: Finding | Divergence, look: str) -> str:
    """What was measured and what was allowed, then the case and where to look."""
    sentences = _sentences(settings, found.message, found.message_zh)
    case = f"{word('case', settings.language)} {found.variant}/{found.case}"
    return f"{sentences}{figures(settings, found.measured, found.allowed)}\n{case}{f'; {look}' if look else ''}"


def _sentences(settings: Settings, english: str, chinese: str) -> str:
    """A line for each language, cut so that none crowds out the other."""
    told = said(english, chinese, settings.language)
    return "\n".join(cut(line(one), LONGEST_SENTENCES // len(told)) for one in told)


def _where(settings: Settings, report: Report, role: str, location: Location | None) -> str:
    """A place from the repository's root on, where it is one; else as the report tells it."""
    if location is None:
        return ""
    at = place(settings, report, role, location)
    return line(str(at) if at else f"{location.file}:{location.line}", 300)
