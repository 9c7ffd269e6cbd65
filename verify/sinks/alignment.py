"""The guide's rendering: banner, three alignment checks, summary table, closing line, Chinese and English side by side."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.messages import LABELS, label, named, say, translated
from verify.report import CheckResult, Divergence, Report, Verdict
from verify.sinks.console import STYLES, place, put, row, told_elsewhere
from verify.sinks.divergence import excerpt, how_sure, not_done
from verify.sinks.text import clean, number

SECTIONS = (
    ("配置对齐 / Configuration alignment", ("configuration",)),
    ("结构对齐 / Structure alignment", ("structure", "buffers")),
    ("前向传播对齐 / Forward pass alignment", ("forward",)),
)
ROLES = {"reference": "参考实现 / reference", "candidate": "候选实现 / candidate"}
MOST_FINDINGS = 8
"""Findings that are shown of each check."""
SHOWN_VALUES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "patch_size",
    "image_size",
)
WORDS = {
    Verdict.EQUAL: "通过 / PASSED",
    Verdict.DIFFERENT: "不一致 / DIFFERENT",
    Verdict.ERROR: "错误 / ERROR",
    Verdict.SKIPPED: "跳过 / SKIPPED",
}
CLOSING = {
    Verdict.EQUAL: "✅ 两个实现完全对齐：它们是同一个模型。/ The two implementations are aligned: they are the same model.",
    Verdict.DIFFERENT: "❌ 两个实现不一致，请勿发布。/ The two implementations differ: do not publish.",
    Verdict.ERROR: "⚠️ 无法判定，请先解决上述错误。/ Could not be decided: mend the errors above first.",
}


NOT_PROVEN = "ℹ️ 已运行的检查未发现差异；未比较前向传播。/ The checks that ran found no difference; the forward pass was not compared."


def banner(console: Console) -> None:
    """What is about to be checked."""
    console.rule()
    put(console, "[bold]LlavaViT 架构对齐验证 / LlavaViT architecture alignment verification[/bold]")
    console.rule()


def show(report: Report, console: Console, *, verbose: bool = False) -> None:
    """The whole result; verbose lists every parameter that was compared."""
    _imports(report, console)
    for variant in report.variants:
        _values(report, variant, console)
    rows = []
    for number_, (title, checks) in enumerate(_sections(report.checks), 1):
        verdict = max((c.verdict for c in checks), key=lambda v: v.weight)
        rows.append((title, verdict, sum(c.compared for c in checks)))
        _section(report, console, f"[{number_}] {title}", checks, verbose=verbose)
    if report.skipped:
        put(console)
        put(console, "[bold]未执行 / not done[/bold]")
        for item in report.skipped:
            put(console, f"  [dim]{escape(clean(not_done(item, 'both')))}[/dim]")
    _summary(rows, console)
    style = STYLES[report.verdict]
    put(console, f"[{style}]{CLOSING[report.verdict] if report.proves or report.exit_code else NOT_PROVEN}[/{style}]")


def _sections(checks: list[CheckResult]) -> Iterator[tuple[str, list[CheckResult]]]:
    """Title and checks of each section: the guide's three, then one for each result more, several of which may have one
    name."""
    left = list(checks)
    for title, wanted in SECTIONS:
        found = [check for name in wanted for check in left if check.name == name]
        if found:
            yield f"{title} ({', '.join(check.name for check in found)})", found
        left = [check for check in left if check.name not in wanted]
    for check in left:
        text = LABELS.get(check.name)
        beside = "" if text is None or text.en == check.name else f" ({check.name})"
        yield (f"{text.zh} / {text.en}{beside}" if text else check.name), [check]


def _imports(report: Report, console: Console) -> None:
    for role, title in ROLES.items():
        environment = report.environment.get(role, {})
        packages = environment.get("packages")
        known = packages if isinstance(packages, dict) else {}
        versions = ", ".join(f"{k} {known[k]}" for k in ("torch", "transformers") if k in known)
        fault = environment.get("fault")
        told = translated(str(fault), "both") if fault else versions
        text = clean(f"{title}: {report.sides.get(role, '?')}  ({told})")
        put(console, escape(text))


def _values(report: Report, variant: str, console: Console) -> None:
    facts = report.facts.get(variant, {})
    values = facts.get("values", {})
    text = ", ".join(f"{k}={values[k]}" for k in SHOWN_VALUES if k in values)
    put(console, escape(clean(f"使用的配置 / configuration used: {variant} ({text})")))


def _section(report: Report, console: Console, title: str, checks: list[CheckResult], *, verbose: bool) -> None:
    put(console)
    put(console, f"[bold]{escape(title)}[/bold]")
    if checks[0].name == "structure":
        for variant in report.variants:
            facts = report.facts.get(variant, {})
            entries, count = facts.get("entries"), facts.get("parameters")
            if entries and count:
                put(
                    console,
                    f"  {escape(clean(variant))}: {entries} 个参数张量，共 {count:,} 个参数 / {entries} tensors, {count:,} parameters",
                )
            if verbose:
                for name in facts.get("names", []):
                    put(console, f"    {escape(clean(name))}", style="dim")
    for check in checks:
        _check(report, check, console)
    first = report.first_divergence
    if first is not None and any(c.name == first.check for c in checks):
        _divergence(first, console)


def _check(report: Report, check: CheckResult, console: Console) -> None:
    """A line for each group, then the gravest findings."""
    if check.reason and (not check.groups or told_elsewhere(check, report)):
        put(console, f"    [{STYLES[check.verdict]}]→[/] {escape(clean(translated(check.reason, 'both')))}")
    for group in check.groups:
        sign = "/" if group.verdict in (Verdict.DIFFERENT, Verdict.ERROR) else "≤"
        figures = f"  {number(group.measured)} {sign} {number(group.allowed)}" if group.measured is not None else ""
        name = escape(clean(f"{group.variant}/{check.name}/{group.name}"))
        put(console, f"  [{STYLES[group.verdict]}]{WORDS[group.verdict]:<18}[/] {name} ({group.compared}){figures}")
    findings = [f for f in report.findings if f.check == check.name and f.verdict != Verdict.NOTE and check.groups]
    for finding in findings[:MOST_FINDINGS]:
        first, *rest = clean(say(finding.kind, finding.details, "both")).split("\n")
        text = escape(clean(f"{named(finding.subject, 'both')}: ")) + escape(first)
        put(console, f"    [{STYLES[finding.verdict]}]→[/] {text}")
        for line in rest:
            put(console, f"      {escape(line)}")
        for role, location in (("reference", finding.reference), ("candidate", finding.candidate)):
            if location is not None:
                put(console, f"      [dim]{ROLES[role]}[/dim] {place(location)}")
    if len(findings) > MOST_FINDINGS:
        more = len(findings) - MOST_FINDINGS
        put(
            console,
            f"    [dim]… 另有 {more} 项：llavavit-verify --verbose 显示全部 / {more} more: llavavit-verify --verbose shows all[/dim]",
        )


def _divergence(first: Divergence, console: Console) -> None:
    put(console, "  [bold]首个分歧 / first divergence[/bold]")
    put(console, f"    {escape(clean(say(first.kind, first.details, 'both')))}")
    put(console, f"    {escape(how_sure(first, 'both'))}")
    for role, location in (("reference", first.reference), ("candidate", first.candidate)):
        put(console, f"    {ROLES[role]} {place(location)}")
        for line in excerpt(first.excerpts.get(role, [])):
            put(console, f"      {escape(clean(line))}", style="dim" if line.startswith(" ") else "bold")
    for other in first.others:
        text = clean(say(other.kind, other.details, "both"))
        put(console, f"    {label('other-faults', 'both')}: {escape(text)}")


def _summary(rows: list[tuple[str, Verdict, int]], console: Console) -> None:
    table = Table(title="汇总 / Summary", title_justify="left")
    for column in ("检查项 / check", "结果 / result", "比较数 / compared"):
        table.add_column(column)
    for title, verdict, compared in rows:
        row(table, escape(title), f"[{STYLES[verdict]}]{WORDS[verdict]}[/]", str(compared))
    put(console)
    console.print(table)
