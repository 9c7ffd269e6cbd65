"""The job summary: everything, up to what GitHub still shows."""

from __future__ import annotations

from collections.abc import Iterable

from entrypoint import render, text
from entrypoint.inputs import Settings
from entrypoint.outcome import Outcome
from entrypoint.words import word

MOST_BYTES = 1024 * 1024 - 64 * 1024
"""GitHub shows nothing of a summary over 1 MiB; other steps' parts do not count, ours may be written twice."""
MOST_FINDINGS = 2000


def compose(settings: Settings, outcome: Outcome, hidden: int, notes: Iterable[str]) -> str:
    """hidden: annotations that GitHub does not show. notes: what could not be published, in words of ours."""
    report = outcome.report
    before = [render.headline(settings, outcome), ""]
    rows: list[str] = []
    if outcome.reason:
        before += [*render.trouble(settings, outcome), ""]
    if report is not None:
        before += [render.sides(settings, report), "", *render.checks(settings, report), ""]
        if report.first_divergence is not None:
            before += [*render.divergence(settings, report, report.first_divergence), ""]
        before += [*render.chart(settings, report), ""]
        if report.skipped:
            before += [f"### {word('skipped', settings.language)}", ""]
            before += [
                f"- {text.markdown(f'{s.check} {s.variant} {s.case}: ')} {render.sentence(settings, s.reason, s.reason_zh)}"
                for s in report.skipped[:100]
            ]
            before.append("")
        if report.findings:
            before += [f"### {word('findings', settings.language)} ({len(report.findings)})", ""]
            before += render.findings_head(settings)
            rows = list(render.findings(settings, outcome, MOST_FINDINGS))
    after = [""]
    if hidden:
        after += [word("hidden", settings.language, count=hidden), ""]
    after += [f"- {text.markdown(note)}" for note in notes]
    if outcome.held:
        after += ["", f"{word('safety', settings.language)}: {render.safety(outcome.held, settings.language)}"]
    after += ["", render.footer(settings, outcome)]
    total = len(report.findings) if report else 0
    rest = word("in-json", settings.language)
    return render.fitted(before, rows, after, MOST_BYTES, total, rest, settings.language)


def write(settings: Settings, body: str) -> None:
    """Appends to the step's summary. Without the runner's file there is nobody to tell."""
    if settings.summary_file is not None:
        with settings.summary_file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(body)
