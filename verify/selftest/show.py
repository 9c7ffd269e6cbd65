"""A self-test's result on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verify.messages import Language, label, translated
from verify.selftest.result import Kind, Result, Seeded
from verify.sinks.text import clean

NOT_CAUGHT = ("noted", "survived", "unmoved", "unreached", "equivalent")
COLUMNS = ("run", "caught", "raised", "stopped", "noted", "survived", "unmoved", "unreached", "equivalent")
MOST_SHOWN = 20


def show(result: Result, console: Console, language: Language = "en", *, verbose: bool = False) -> None:
    """Prints counts by kind, what was not caught with its change and reason, false alarms, and the sums last."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    width = max((len(k.kind) for k in result.kinds), default=0)
    table.add_column(label("kind", language), no_wrap=True, min_width=width)
    columns = [name for name in COLUMNS if name in ("run", "caught") or any(getattr(k, name) for k in result.kinds)]
    for name in columns:
        table.add_column(label("were-run" if name == "run" else name, language), justify="right")
    for kind in result.kinds:
        table.add_row(escape(kind.kind), *(_count(kind, name) for name in columns))
    console.print(table)
    for status in NOT_CAUGHT:
        group = [f for f in result.faults if f.status == status]
        if group:
            head = f"[bold]{len(group)} {label(status, language)}[/bold]: {label(f'why-{status}', language)}"
            console.print(f"\n{head}", highlight=False, soft_wrap=True)
        for fault in group if verbose else group[:MOST_SHOWN]:
            _change(fault, console, language)
        if len(group) > MOST_SHOWN and not verbose:
            console.print(f"  … {label('selftest-more', language, count=len(group) - MOST_SHOWN)}", style="dim")
    for alarm in result.false_alarms:
        why = escape(label("why-false-alarm", language, check=clean(alarm.by)))
        console.print(f"\n[bold red]{label('false-alarm', language)}[/bold red]: {why}")
        _change(alarm, console, language)
        console.print(Text(f"    {clean(alarm.finding)}"))
    console.print()
    for line in summary(result, language):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def summary(result: Result, language: Language = "en") -> list[str]:
    """The sums, in sentences."""
    run, caught, survived = len(result.run), len(result.caught), len(result.survived)
    noted = sum(f.status == "noted" for f in result.faults)
    alike = sum(f.status == "equivalent" for f in result.run)
    moved = {
        "caught": caught,
        "moved": caught + survived,
        "share": f"{caught / (caught + survived):.1%}" if caught + survived else "–",
        "raised": sum(f.raised for f in result.caught),
        "noted": noted,
        "alike": alike,
        "still": run - caught - survived - noted - alike,
    }
    not_run = {
        "unreached": sum(f.status == "unreached" for f in result.faults),
        "same": sum(f.status == "equivalent" and not f.ran for f in result.faults),
    }
    alarms = {"alarms": len(result.false_alarms), "rewrites": sum(r.ran for r in result.rewrites)}
    cost = {"sites": result.sites, "seconds": result.seconds, "cpu": result.cpu_seconds}
    return [
        *([label("selftest-vacuous", language)] if result.vacuous else []),
        label("selftest-caught", language, **moved),
        label("selftest-not-run", language, **not_run),
        label("selftest-alarms", language, **alarms),
        label("selftest-seed", language, seed=result.seed, kinds=len(result.kinds), **cost),
    ]


def _count(kind: Kind, name: str) -> str:
    number = int(getattr(kind, name))
    return "[dim]·[/dim]" if not number else f"[bold red]{number}[/bold red]" if name == "survived" else str(number)


def _change(fault: Seeded, console: Console, language: Language) -> None:
    console.print(Text(f"  {clean(fault.kind)}  {clean(fault.place)}"), style="cyan")
    for line in clean(fault.change, 2000).splitlines():
        style = "red" if line.startswith("-") else "green" if line.startswith("+") else None
        console.print(Text(f"    {line}"), style=style, soft_wrap=True)
    why = (
        fault.moved if fault.status in ("survived", "equivalent") else fault.finding if fault.status == "noted" else ""
    )
    if why:
        console.print(Text(f"    {clean(translated(why, language))}"), style="dim")
