"""Blocks of markdown that the summary and the comment share. Every untrusted text goes through `text`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from entrypoint import text
from entrypoint.inputs import Settings
from entrypoint.outcome import Outcome, Place, excerpt, place
from entrypoint.report import Divergence, Location, Report
from entrypoint.words import MARKS, said, word

MOST_BARS = 40
_PLAIN_PATH = re.compile(r"[\w./+-]+")
SAFETY = ("user", "privileges", "limits", "files", "signals", "network")


def headline(settings: Settings, outcome: Outcome) -> str:
    return f"## {MARKS[outcome.verdict]} {word(outcome.verdict, settings.language)}"


def sides(settings: Settings, report: Report) -> str:
    names = {role: text.markdown(report.sides.get(role, "?"), 200) for role in ("reference", "candidate")}
    variants = text.markdown(", ".join(report.variants), 200)
    return " · ".join(f"{word(role, settings.language)}: {name}" for role, name in names.items()) + f" · {variants}"


def sentence(settings: Settings, english: str, chinese: str, longest: int = 600) -> str:
    """A sentence of the report in the chosen language; of two, each is cut to `longest`."""
    return " / ".join(text.markdown(one, longest) for one in said(english, chinese, settings.language))


def figures(settings: Settings, measured: float | str | None, allowed: float | str | None) -> str:
    """What goes on after a sentence: what was measured, what was allowed. Not escaped."""
    known = {"measured": measured, "allowed": allowed} if measured is not None else {}
    told = [f"{word(k, settings.language)} {text.number(v)}" for k, v in known.items() if v is not None]
    return f"; {', '.join(told)}" if told else ""


def verdict(settings: Settings, name: str) -> str:
    return f"{MARKS[name]} {word(f'verdict-{name}', settings.language)}"


def checks(settings: Settings, report: Report) -> Iterator[str]:
    """The table of checks."""
    heads = [word(key, settings.language) for key in ("check", "verdict", "compared", "seconds")]
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---:|---:|"
    for check in report.checks[:50]:
        reason = f" {sentence(settings, check.reason, check.reason_zh, 200)}" if check.reason else ""
        yield (
            f"| {text.markdown(check.name, 100)} | {verdict(settings, check.verdict)}{reason} "
            f"| {check.compared} | {check.seconds:.1f} |"
        )


def divergence(settings: Settings, report: Report, first: Divergence) -> Iterator[str]:
    """Where the sides part: the sentence, then both places with their source."""
    yield f"### {word('first', settings.language)}"
    yield ""
    about = text.markdown(f"{first.check} {first.variant}/{first.case}")
    about += text.markdown(figures(settings, first.measured, first.allowed))
    yield f"{sentence(settings, first.message, first.message_zh)} ({about})"
    for role, location in (("candidate", first.candidate), ("reference", first.reference)):
        yield ""
        yield f"**{word(role, settings.language)}** {linked(settings, report, role, location)}"
        at = place(settings, report, role, location)
        lines = {"before": 1, "after": 14} if first.confidence == "module" else {}  # a class: its body is what counts
        source = excerpt(settings, at, **lines) if at else ""
        if source:
            yield ""
            yield text.fence(source, "python")


def linked(settings: Settings, report: Report, role: str, location: Location | None) -> str:
    """file:line, linked to the commit's source where it lies in the repository."""
    if location is None:
        return ""
    at = place(settings, report, role, location)
    name = f" {text.markdown(location.name, 120)}" if location.name else ""
    if at is None:
        return text.markdown(f"{location.file}:{location.line}", 300) + name
    return _link(settings, at) + name


def _link(settings: Settings, at: Place) -> str:
    if not (settings.repository and settings.head and _PLAIN_PATH.fullmatch(at.path)):
        return text.markdown(str(at), 300)
    return f"[`{at}`]({settings.server_url}/{settings.repository}/blob/{settings.head}/{at.path}#L{at.line})"


def findings(settings: Settings, outcome: Outcome, most: int) -> Iterator[str]:
    """The rows of the table of findings, worst first; the caller writes as many as fit."""
    assert outcome.report is not None
    for finding in outcome.findings[:most]:
        cells = [
            f"{MARKS[finding.verdict]} {text.markdown(f'{finding.check} {finding.variant}/{finding.case}', 200)}",
            f"**{text.markdown(finding.subject, 200)}** {sentence(settings, finding.message, finding.message_zh, 500)}",
            text.markdown(text.number(finding.measured)),
            text.markdown(text.number(finding.allowed)),
            linked(settings, outcome.report, "candidate", finding.candidate)
            or linked(settings, outcome.report, "reference", finding.reference),
        ]
        yield f"| {' | '.join(cells)} |"


def findings_head(settings: Settings) -> list[str]:
    heads = [word(key, settings.language) for key in ("check", "finding", "measured", "allowed", "where")]
    return [f"| {' | '.join(heads)} |", "|---|---|---:|---:|---|"]


def trouble(settings: Settings, outcome: Outcome) -> Iterator[str]:
    """Why there is no report, with the end of the log."""
    yield f"**{text.markdown(outcome.reason or 'no report')}**"
    if outcome.tail:
        yield ""
        yield f"<details><summary>{word('last', settings.language)}</summary>"
        yield ""
        yield text.fence("\n".join(outcome.tail[-30:]))
        yield ""
        yield "</details>"


def chart(settings: Settings, report: Report) -> Iterator[str]:
    """The relative difference in powers of ten: by layer up to where the sides part and on, else by case."""
    first = report.first_divergence
    if first is not None and any(_positive(layer.error) for layer in first.layers):
        yield from _by_layer(settings, first)
    else:
        yield from _by_case(settings, report)


def _by_layer(settings: Settings, first: Divergence) -> Iterator[str]:
    """Each layer's output against the reference's. A layer that agrees to the bit stands at the foot."""
    layers = first.layers[:MOST_BARS]
    errors = [math.log10(layer.error) for layer in layers if _positive(layer.error)]
    low = math.floor(min(errors)) - 1
    bars = [math.log10(layer.error) if _positive(layer.error) else low for layer in layers]
    limits = [math.log10(first.allowed)] * len(layers) if _positive(first.allowed) else []  # type: ignore[arg-type]
    title = f"{word('error-by-layer', settings.language)}: {text.markdown(first.case)}"
    yield from _bars(settings, title, [layer.path for layer in layers], bars, limits, low)


def _by_case(settings: Settings, report: Report) -> Iterator[str]:
    """The largest of each case against what was allowed."""
    groups = [g for g in report.groups if _positive(g.measured) and _positive(g.allowed)][:MOST_BARS]
    if not groups:
        return
    measured = [math.log10(float(g.measured)) for g in groups if g.measured is not None]
    allowed = [math.log10(float(g.allowed)) for g in groups if g.allowed is not None]
    low = math.floor(min(measured + allowed))
    yield from _bars(settings, word("error-by", settings.language), [g.name for g in groups], measured, allowed, low)


def _bars(
    settings: Settings, title: str, names: list[str], bars: list[float], limits: list[float], low: int
) -> Iterator[str]:
    """A mermaid chart. names: untrusted; they are cut to what a label in quotes may hold."""
    labels = [re.sub(r"[^\w.-]+", "-", text.line(name, 40)) or "-" for name in names]
    high = math.ceil(max(bars + limits))
    scale = "; ".join(word(key, settings.language) for key in ("scale", "scale-limit")[: 1 + bool(limits)])
    yield f"### {title}"
    yield ""
    yield "```mermaid"
    yield "xychart-beta"
    yield f'    title "{scale}"'
    yield f"    x-axis [{', '.join(chr(34) + label + chr(34) for label in labels)}]"
    yield f"    y-axis {low} --> {high + (low == high)}"
    yield f"    bar [{', '.join(f'{v:.2f}' for v in bars)}]"
    if limits:
        yield f"    line [{', '.join(f'{v:.2f}' for v in limits)}]"
    yield "```"


def _positive(value: float | str | None) -> bool:
    return isinstance(value, float) and 0 < value < math.inf


def safety(held: Mapping[str, bool], language: str) -> str:
    """One line: which protections held while model code ran."""
    return " · ".join(f"{'✓' if held.get(key) else '✗'} {word(key, language)}" for key in SAFETY)


def footer(settings: Settings, outcome: Outcome) -> str:
    parts = []
    if settings.run_id and settings.repository:
        parts.append(f"[{word('run', settings.language)} {text.markdown(settings.run_id)}]({settings.run_url})")
    if settings.head:
        parts.append(f"{word('commit', settings.language)} {text.markdown(settings.head[:12])}")
    parts.append(f"{outcome.seconds:.0f} s")
    return f"<sub>{' · '.join(parts)}</sub>"


def fitted(
    before: Iterable[str],
    rows: Iterable[str],
    after: Iterable[str],
    most: int,
    total: int,
    rest: str,
    language: str = "en",
    spare: Iterable[str] = (),
) -> str:
    """Lines, with as many whole rows as fit into `most` bytes, and a line that says what was cut; rest: where that is.

    `spare` comes last and is the first to go. Where even the lines around the rows do not fit, they are dropped from the
    end of `before`, never split.
    """
    head, body, tail, extra = list(before), list(rows), list(after), list(spare)
    cut, more = f"\n… {word('cut', language)}: {rest}", f"\n… {word('more', language, count=total)}: {rest}"
    most -= max(_size(cut), _size(more))
    if sum(map(_size, [*head, *body, *tail, *extra])) <= most:
        tail += extra
    room = most - sum(map(_size, tail))
    kept: list[str] = []
    shown = 0
    dropped = False
    for block in head:
        room -= _size(block)
        if room < 0:
            dropped = True
            break
        kept.append(block)
    for row in () if dropped else body:
        room -= _size(row)
        if room < 0:
            break
        kept.append(row)
        shown += 1
    if dropped:
        kept.append(cut)
    elif shown < total:
        kept.append(f"\n… {word('more', language, count=total - shown)}: {rest}")
    return "\n".join([*kept, *tail]) + "\n"


def _size(line: str) -> int:
    return len(line.encode("utf-8", "backslashreplace")) + 1
