"""The report as markdown, for a job summary or a comment."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from verify.messages import SIDES, Language, check_name, label, named, say, translated
from verify.report import Divergence, Finding, Location, Report, Verdict
from verify.sinks.divergence import excerpt, marked, not_done, seen, sure
from verify.sinks.files import save
from verify.sinks.text import clean, number, one_line

MARKS = {Verdict.EQUAL: "✅", Verdict.DIFFERENT: "❌", Verdict.ERROR: "⚠️", Verdict.SKIPPED: "⏭️", Verdict.NOTE: "ℹ️"}
HEADLINES = {Verdict.EQUAL: "same-model", Verdict.DIFFERENT: "not-same-model", Verdict.ERROR: "undecided"}
MOST_FINDINGS = 50
APART = "&#8203;"


def render(report: Report, language: Language = "en") -> str:
    """Markdown with every untrusted text escaped."""
    return "\n".join(_lines(report, language)) + "\n"


def write(report: Report, file: Path, language: Language = "en") -> None:
    save(render(report, language), file)


def escape(text: str) -> str:
    """Text that markdown shows as it is, on one line: no HTML, mention, reference, link, emphasis, list or table cell.

    GitHub looks for mentions and issue references in the rendered text, where an escape is gone already: a zero-width
    space after @ and # keeps them apart from what follows.
    """
    flat = html.escape(one_line(text), quote=False)
    flat = re.sub(r"([\\`*_{}\[\]()#+!|~@:$])", r"\\\1", flat)
    flat = re.sub(r"^([-=]|\d+(?=\.))", _at_the_start, flat)
    flat = re.sub(r"(?i)(?<![a-z0-9])(www|gh)([.-])", r"\1\\\2", flat).replace("\\:", "&#58;")
    return flat.replace("\\@", f"&#64;{APART}").replace("\\#", f"\\#{APART}")


def _at_the_start(found: re.Match[str]) -> str:
    """What would begin a list, a rule or a heading there."""
    return f"&#{ord(found[0][0])};{found[0][1:]}"


def headline(report: Report, language: Language) -> str:
    """What the verdict says, in a sentence."""
    return label(
        "nothing-found" if report.exit_code == 0 and not report.proves else HEADLINES[report.verdict], language
    )


def gate_lines(report: Report, language: Language) -> Iterator[str]:
    """What a self-test said of the gate, where the report holds one, and whether that was with other code."""
    told = report.selftest
    if told is None:
        return
    torch = " / ".join(dict.fromkeys(str(packages.get("torch")) for packages in told.packages.values()))
    yield label("selftest" if told.moved else "selftest-nothing", language, torch=torch, **told.model_dump())
    if told.outdated:
        yield label("outdated", language, parts=", ".join(label(part, language) for part in told.outdated))


def _lines(report: Report, language: Language) -> Iterator[str]:
    yield f"## {MARKS[report.verdict]} {headline(report, language)}"
    yield ""
    titles = [escape(report.sides[role]) for role in ("reference", "candidate")]
    yield f"{label('reference', language)}: {titles[0]} · {label('candidate', language)}: {titles[1]}"
    yield ""
    yield "| " + " | ".join(label(k, language) for k in ("check", "verdict", "compared", "seconds")) + " |"
    yield "|---|---|---:|---:|"
    for check in report.checks:
        verdict = f"{MARKS[check.verdict]} {label(check.verdict.value, language)}"
        reason = f" ({escape(translated(check.reason, language))})" if check.reason else ""
        yield f"| {escape(check_name(check.name, language))} | {verdict}{reason} | {check.compared} | {check.seconds:.1f} |"
    first = report.first_divergence
    if first is not None:
        yield from ("", f"### {label('first-divergence', language)}", "")
        yield from _divergence(first, language)
    yield from _findings(report, language)
    if report.skipped:
        yield from ("", f"### {label('not-done', language)}", "")
        yield from (f"- {escape(not_done(item, language))}" for item in report.skipped)
    for line in gate_lines(report, language):
        yield from ("", escape(line))


def _divergence(found: Divergence, language: Language) -> Iterator[str]:
    yield escape(say(found.kind, found.details, language))
    yield ""
    yield escape("; ".join([sure(found, language), *seen(found, language)]))
    for role, place in (("reference", found.reference), ("candidate", found.candidate)):
        yield from ("", f"- {label(role, language)}: {_place(place)}")
        lines = list(excerpt(found.excerpts.get(role, [])))
        yield from _block(lines)
    for hint in found.hints:
        head, *code = translated(hint, language).splitlines() or [""]
        yield f"- {label('hint', language)}: {escape(head)}"
        yield from _block(code)
    for other in found.others:
        text = f"{say(other.kind, other.details, language)} ({sure(other, language)})"
        yield f"- {label('other-faults', language)}: {escape(text)}"
        yield from _block(
            [f"{label(role, language)} {line}" for role in SIDES for line in excerpt(marked(other, role))]
        )


def _block(lines: list[str]) -> Iterator[str]:
    """Code below an item of a list: indented, so that nothing in it is markdown."""
    if lines:
        yield ""
        yield from ("      " + clean(line).replace("\n", "\\n") for line in lines)
        yield ""


def _findings(report: Report, language: Language) -> Iterator[str]:
    if not report.findings:
        return
    yield from ("", f"### {label('findings', language)} ({len(report.findings)})", "")
    columns = ("check", "subject", "message", "measured", "allowed", "where")
    yield "| " + " | ".join(label(c, language) for c in columns) + " |"
    yield "|---" * len(columns) + "|"
    for finding in report.findings[:MOST_FINDINGS]:
        yield _row(finding, language)
    if len(report.findings) > MOST_FINDINGS:
        yield f"\n… {label('more-in-json', language, count=len(report.findings) - MOST_FINDINGS)}"


def _row(finding: Finding, language: Language) -> str:
    cells = [
        f"{MARKS[finding.verdict]} {escape(finding.check)} / {escape(finding.variant)} / {escape(finding.case)}",
        escape(named(finding.subject, language)),
        escape(say(finding.kind, finding.details, language)),
        escape(number(finding.measured)),
        escape(number(finding.allowed)),
        f"{_place(finding.candidate)} {escape(translated(finding.hint, language))}".strip(),
    ]
    return "| " + " | ".join(cells) + " |"


def _place(place: Location | None) -> str:
    return escape(f"{place.at} {place.name}".strip()) if place else ""
