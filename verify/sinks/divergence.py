"""Where the sides first part, as plain lines of text that every other rendering is made of. Nothing here is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from verify.messages import SIDES, Language, label, say, translated
from verify.report import Divergence, Line, Location, Report, Skipped, Verdict
from verify.sinks.text import number

APART = {"gradients": "gradients-apart", "precision": "errors-apart"}
"""What a check's figures are, where they are no differences of outputs."""


def not_done(item: Skipped, language: Language) -> str:
    """What was not done, and why."""
    text = " ".join(part for part in (item.check, item.variant, item.case) if part)
    return f"{text}: {translated(item.reason, language)}"


def place(location: Location | None) -> str:
    """path:line (name)."""
    if location is None:
        return "?"
    return location.at + (f" ({location.name})" if location.name else "")


def excerpt(lines: list[Line]) -> Iterator[str]:
    """Source with line numbers, the marked line with an arrow."""
    for line in lines:
        yield f"{'>' if line.marked else ' '} {line.number:>5} {line.text}"


def how_sure(found: Divergence, language: Language) -> str:
    """The confidence, in words."""
    return label(found.confidence, language)


def sure(found: Divergence, language: Language) -> str:
    """The confidence, and which call it is where there are several."""
    return " · ".join(part for part in (how_sure(found, language), calls(found, language)) if part)


def seen(found: Divergence, language: Language) -> list[str]:
    """What was seen that speaks for it."""
    return [translated(line, language) for line in found.evidence]


def marked(found: Divergence, role: str) -> list[Line]:
    """The line itself of a side's excerpt."""
    return [line for line in found.excerpts.get(role, []) if line.marked]


def calls(found: Divergence, language: Language) -> str:
    """Which call of the line it is, where there are several."""
    if found.call is None or not found.calls or found.calls < 2:
        return ""
    return f"{label('call', language)} {found.call + 1} / {found.calls}"


def story(found: Divergence, report: Report, language: Language) -> Iterator[str]:
    """All that is known of one divergence: the sentence, both sources, values, callers, data flow, hints, and the
    difference of each output of the case."""
    yield from _heart(found, language)
    if {"where", "reference_value", "candidate_value"} <= found.details.keys():
        details = found.details
        yield ""
        yield label("values-of" if "shape" in details else "values", language, **details)
        for role in SIDES:
            made = f" ({details[f'{role}_made']})" if f"{role}_made" in details else ""
            yield f"  {label(role, language)} {details[f'{role}_value']}{made}"
    for title, lines in (
        ("called-from", [place(c) for c in found.callers]),
        ("flow", found.flow),
        ("hint", [translated(hint, language) for hint in found.hints]),
        (APART.get(found.check, "outputs-apart"), list(_differences(found, report, language))),
        ("layers", list(_layers(found))),
    ):
        if lines:
            yield ""
            yield label(title, language)
            yield from (f"  {part}" for line in lines for part in line.splitlines())
    for other in found.others:
        yield ""
        yield label("other-faults", language)
        yield from _heart(other, language)


def _heart(found: Divergence, language: Language) -> Iterator[str]:
    """The sentence, how sure it is, and both sources."""
    yield say(found.kind, found.details, language)
    yield sure(found, language)
    yield from seen(found, language)
    for role, location in zip(SIDES, (found.reference, found.candidate), strict=True):
        yield ""
        yield f"{label(role, language)} {place(location)}"
        yield from excerpt(found.excerpts.get(role, []))


def _differences(found: Divergence, report: Report, language: Language) -> Iterator[str]:
    """What was measured of the case, where it is a number. Notes, and what is different by itself, have none."""
    for finding in report.findings:
        here = (finding.check, finding.variant, finding.case) == (found.check, found.variant, found.case)
        if here and finding.verdict != Verdict.NOTE and isinstance(finding.measured, float):
            yield f"{finding.subject}: {number(finding.measured)} ({label('allowed', language)} {number(finding.allowed)})"


def _layers(found: Divergence) -> Iterator[str]:
    width = max((len(layer.path) for layer in found.layers), default=0)
    for layer in found.layers:
        yield f"{layer.path:<{width}}  {layer.error:.3g}"
