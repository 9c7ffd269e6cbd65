"""The guide's rendering: banner, three alignment checks, summary table, closing line, Chinese and English side by side."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.messages import label
from verify.report import CheckResult, Report, Verdict
from verify.sinks.console import STYLES, place, put, row, told_elsewhere
from verify.sinks.divergence import excerpt, how_sure, sentence
from verify.sinks.text import clean, number

SECTIONS = (
    ("配置对齐 / Configuration alignment", ("configuration",)),
    ("结构对齐 / Structure alignment", ("structure", "buffers")),
    ("前向传播对齐 / Forward pass alignment", ("forward",)),
)
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
    results = {c.name: c for c in report.checks}
    rows = []
    sections = (
        *SECTIONS,
        *((label(name, "both"), (name,)) for name in results if all(name not in s[1] for s in SECTIONS)),
    )
    for number_, (title, names) in enumerate(sections, 1):
        checks = [results[n] for n in names if n in results]
        if checks:
            verdict = max((c.verdict for c in checks), key=lambda v: v.weight)
            rows.append((title, verdict, sum(c.compared for c in checks)))
            _section(report, console, f"[{number_}] {title}", checks, verbose=verbose)
    _summary(rows, console)
    style = STYLES[report.verdict]
    put(console, f"[{style}]{CLOSING[report.verdict] if report.proves or report.exit_code else NOT_PROVEN}[/{style}]")


def _imports(report: Report, console: Console) -> None:
    for role, chinese in (("reference", "参考实现"), ("candidate", "候选实现")):
        environment = report.environment.get(role, {})
        packages = environment.get("packages")
        known = packages if isinstance(packages, dict) else {}
        versions = ", ".join(f"{k} {known[k]}" for k in ("torch", "transformers") if k in known)
        fault = environment.get("fault")
        text = clean(f"{chinese} / {role}: {report.sides.get(role, '?')}  ({fault or versions})")
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
        if check.reason and (not check.groups or told_elsewhere(check, report)):
            console.print(f"    [{STYLES[check.verdict]}]→[/] {escape(clean(check.reason))}")
        for group in check.groups:
            figures = f"  {number(group.measured)} ≤ {number(group.allowed)}" if group.measured is not None else ""
            if group.verdict in (Verdict.DIFFERENT, Verdict.ERROR):
                figures = figures.replace("≤", "/")
            name = escape(clean(f"{group.variant}/{check.name}/{group.name}"))
            put(console, f"  [{STYLES[group.verdict]}]{WORDS[group.verdict]:<18}[/] {name} ({group.compared}){figures}")
        for finding in [f for f in report.findings if f.check == check.name and f.verdict != Verdict.NOTE][:8]:
            text = f"{finding.subject}: {sentence(finding.kind, finding.details, 'both')}"
            put(console, f"    [{STYLES[finding.verdict]}]→[/] {escape(clean(text))}")
    first = report.first_divergence
    if first is not None and any(c.name == first.check for c in checks):
        put(console, "  [bold]首个分歧 / first divergence[/bold]")
        put(console, f"    {escape(clean(sentence(first.kind, first.details, 'both')))}")
        put(console, f"    参考 / reference {place(first.reference)}")
        put(console, f"    候选 / candidate {place(first.candidate)}")
        put(console, f"    {escape(how_sure(first, 'both'))}")
        for role in ("reference", "candidate"):
            for line in excerpt(first.excerpts.get(role, [])):
                put(console, f"      {escape(clean(line))}", style="dim" if line.startswith(" ") else "bold")


def _summary(rows: list[tuple[str, Verdict, int]], console: Console) -> None:
    table = Table(title="汇总 / Summary", title_justify="left")
    for column in ("检查项 / check", "结果 / result", "比较数 / compared"):
        table.add_column(column)
    for title, verdict, compared in rows:
        row(table, escape(title), f"[{STYLES[verdict]}]{WORDS[verdict]}[/]", str(compared))
    put(console)
    console.print(table)
