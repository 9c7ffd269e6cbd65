"""The report on a terminal."""

from __future__ import annotations

import re
from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verify.messages import SIDES, Language, check_name, label, named, say, translated
from verify.report import CheckResult, Divergence, Finding, Line, Location, Report, Verdict
from verify.sinks.divergence import excerpt, marked, not_done, seen, story, sure
from verify.sinks.markdown import gate_lines, headline
from verify.sinks.text import clean, number

STYLES = {
    Verdict.EQUAL: "green",
    Verdict.DIFFERENT: "bold red",
    Verdict.ERROR: "yellow",
    Verdict.SKIPPED: "dim",
    Verdict.NOTE: "cyan",
}
SOURCE = re.compile(r"[> ] +\d+ ")
"""How a line of source begins in a story."""
MOST_FINDINGS = 12
MOST_OF_A_CHECK = 3
"""Findings of a check that come before those of others are left out."""


def put(console: Console, markup: str = "", style: str | None = None) -> None:
    """Prints a line of markup; `:name:` in it stays as it is and becomes no picture."""
    console.print(markup, style=style, emoji=False)


def row(table: Table, *cells: str) -> None:
    """Adds a row of markup; see `put`."""
    table.add_row(*(Text.from_markup(cell, emoji=False) for cell in cells))


def show(report: Report, console: Console, language: Language = "en", *, verbose: bool = False) -> None:
    """Prints the checks, what was found, where the sides first part, and the verdict last."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for key in ("check", "verdict", "compared", "seconds"):
        table.add_column(label(key, language), justify="right" if key in ("compared", "seconds") else "left")
    for check in report.checks:
        name = escape(clean(check_name(check.name, language)))
        row(table, name, _verdict(check.verdict, language), str(check.compared), f"{check.seconds:.1f}")
        if verbose or check.verdict not in (Verdict.EQUAL, Verdict.SKIPPED):
            for group in check.groups:
                if verbose or group.verdict != Verdict.EQUAL:
                    figures = (
                        f"  {number(group.measured)} ≤ {number(group.allowed)}" if verbose and group.allowed else ""
                    )
                    name = escape(clean(f"  {group.variant}/{group.name}{figures}"))
                    row(table, name, _verdict(group.verdict, language), str(group.compared), "")
    console.print(table)
    for check in report.checks:
        if check.reason and (not check.groups or told_elsewhere(check, report)):
            reason = escape(clean(f"{check.name}: {translated(check.reason, language)}"))
            put(console, f"{_verdict(check.verdict, language)} {reason}")
    _findings(report, console, language, verbose=verbose)
    _divergence(report, console, language)
    for item in report.skipped:
        put(console, f"[dim]{label('not-done', language)}: {escape(clean(not_done(item, language)))}[/dim]")
    for line in gate_lines(report, language):
        put(console, escape(clean(line)))
    style = STYLES[report.verdict]
    put(console, f"[{style}]{headline(report, language)}[/{style}] [dim]({report.seconds:.1f} s)[/dim]")


def told_elsewhere(check: CheckResult, report: Report) -> bool:
    """Whether a check failed by what another check's finding tells, so that its reason is all there is to show."""
    failed = check.verdict in (Verdict.DIFFERENT, Verdict.ERROR)
    return failed and not any(f.check == check.name for f in report.findings)


def _findings(report: Report, console: Console, language: Language, *, verbose: bool) -> None:
    """The gravest findings, or all; then how many there are besides."""
    serious = [f for f in report.findings if f.verdict != Verdict.NOTE]
    for finding in report.findings if verbose else _gravest(serious):
        _finding(finding, console, language)
    left = {"more-by-flag": len(serious) - MOST_FINDINGS, "notes-by-flag": len(report.findings) - len(serious)}
    for key, count in left.items():
        if count > 0 and not verbose:
            put(console, f"[dim]… {escape(label(key, language, count=count))}[/dim]")


def _gravest(findings: list[Finding]) -> list[Finding]:
    """As many as are shown, in order: a few of each check before more of any, so that none hides another."""
    seen: Counter[str] = Counter()
    late = []
    for finding in findings:
        seen[finding.check] += 1
        late.append(seen[finding.check] > MOST_OF_A_CHECK)
    places = sorted(range(len(findings)), key=lambda place: (late[place], place))[:MOST_FINDINGS]
    return [findings[place] for place in sorted(places)]


def _verdict(verdict: Verdict, language: Language) -> str:
    return f"[{STYLES[verdict]}]{label(verdict.value, language)}[/]"


def place(location: Location | None) -> str:
    """path:line (name), harmless for the terminal."""
    if location is None:
        return "?"
    name = f" ({location.name})" if location.name else ""
    return escape(clean(f"{location.at}{name}"))


def _finding(finding: Finding, console: Console, language: Language) -> None:
    head = f"{finding.check} {finding.variant}/{finding.case}: {named(finding.subject, language)}"
    put(console, f"{_verdict(finding.verdict, language)} {escape(clean(head))}")
    for line in clean(say(finding.kind, finding.details, language)).splitlines():
        put(console, f"  {escape(line)}")
    if isinstance(finding.measured, float):
        figures = {"measured": finding.measured, "allowed": finding.allowed}
        told = ", ".join(f"{label(k, language)} {number(v)}" for k, v in figures.items() if v is not None)
        put(console, f"  {escape(told)}")
    for role, location in (("reference", finding.reference), ("candidate", finding.candidate)):
        if location is not None:
            put(console, f"  [dim]{label(role, language)}[/dim] {place(location)}")
    if finding.hint:
        put(console, f"  [dim]{escape(clean(translated(finding.hint, language)))}[/dim]")


def _divergence(report: Report, console: Console, language: Language) -> None:
    first = report.first_divergence
    if first is None:
        return
    put(
        console,
        f"[bold]{label('first-divergence', language)}[/bold] ({escape(clean(f'{first.variant}/{first.case}'))})",
    )
    put(console, f"  {escape(clean(say(first.kind, first.details, language)))}")
    for line in (sure(first, language), *seen(first, language)):
        put(console, f"  [dim]{escape(clean(line))}[/dim]")
    for role, location in (("reference", first.reference), ("candidate", first.candidate)):
        put(console, f"  {label(role, language)} {place(location)}")
        _source(first.excerpts.get(role, []), console, "    ")
    for other in first.others:
        text = say(other.kind, other.details, language)
        put(console, f"  {label('other-faults', language)}: {escape(clean(text))}")
        put(console, f"    [dim]{escape(sure(other, language))}[/dim]")
        for role in SIDES:
            _source(marked(other, role), console, f"    {label(role, language)} ")
    for hint in first.hints:
        head, *code = clean(translated(hint, language)).splitlines() or [""]
        put(console, f"  {label('hint', language)}: {escape(head)}")
        for line in code:
            console.print(f"    {escape(line)}", emoji=False, soft_wrap=True)


def _source(lines: list[Line], console: Console, indent: str = "") -> None:
    """Source, its marked line in bold. A line stays one, however narrow the console is: the terminal breaks it, a file
    does not."""
    for line in lines:
        text = escape(clean("".join(excerpt([line]))))
        style = "bold" if line.marked else "dim"
        console.print(f"{indent}[{style}]{text}[/{style}]", emoji=False, soft_wrap=True)


def explain_finding(report: Report, index: int, console: Console, language: Language = "en") -> None:
    """One finding with the source at its place, and the whole story of the run's first divergence, which may be of another
    case and which tells that source itself where it is of this one."""
    shown, first = report.findings[index : index + 1], report.first_divergence
    for finding in shown:
        _finding(finding, console, language)
        for role, location in (("reference", finding.reference), ("candidate", finding.candidate)):
            lines = finding.excerpts.get(role, [])
            if lines and (first is None or location not in (first.reference, first.candidate)):
                put(console, f"\n{label(role, language)} {place(location)}")
                _source(lines, console)
    if first is None:
        if not any(finding.reference or finding.candidate for finding in shown):
            put(console, label("no-divergence", language))
        return
    put(console, "")
    if not any(_of_one_case(finding, first) for finding in report.findings[index : index + 1]):
        other = f"{first.check} {first.variant}/{first.case}"
        put(console, escape(clean(label("elsewhere", language, place=other))))
    for line in story(first, report, language):
        text = escape(clean(line))
        marked = f"[bold]{text}[/bold]" if line.startswith(">") else text
        console.print(marked, emoji=False, soft_wrap=bool(SOURCE.match(line)))


def _of_one_case(finding: Finding, found: Divergence) -> bool:
    return (finding.check, finding.variant, finding.case) == (found.check, found.variant, found.case)
