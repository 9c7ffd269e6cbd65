"""A self-test's result on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verify.selftest.result import Kind, Result, Seeded
from verify.sinks.text import clean

WORDS = {
    "noted": "told in a note, which changes no verdict",
    "survived": "values moved, and the gate called it equal",
    "unmoved": "no value of any case moved by a bit: no case tells, or the change is none",
    "unreached": "no case runs these lines",
    "equivalent": "no change: the same instructions, or values that moved as rounding moves them",
}
COLUMNS = ("run", "caught", "raised", "stopped", "noted", "survived", "unmoved", "unreached", "equivalent")
MOST_SHOWN = 20


def show(result: Result, console: Console, *, verbose: bool = False) -> None:
    """Prints counts by kind, what was not caught with its change and reason, false alarms, and the sums last."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("kind", no_wrap=True, min_width=max((len(k.kind) for k in result.kinds), default=0))
    columns = [name for name in COLUMNS if name in ("run", "caught") or any(getattr(k, name) for k in result.kinds)]
    for name in columns:
        table.add_column(name, justify="right")
    for kind in result.kinds:
        table.add_row(escape(kind.kind), *(_count(kind, name) for name in columns))
    console.print(table)
    for status, why in WORDS.items():
        group = [f for f in result.faults if f.status == status]
        if group:
            console.print(f"\n[bold]{len(group)} {status}[/bold]: {why}", highlight=False, soft_wrap=True)
        for fault in group if verbose else group[:MOST_SHOWN]:
            _change(fault, console)
        if len(group) > MOST_SHOWN and not verbose:
            console.print(f"  … {len(group) - MOST_SHOWN} more: --verbose, or --json FILE", style="dim")
    for alarm in result.false_alarms:
        console.print(f"\n[bold red]false alarm[/bold red]: {escape(clean(alarm.by))} reports a harmless rewrite")
        _change(alarm, console)
        console.print(Text(f"    {clean(alarm.finding)}"))
    console.print()
    for line in summary(result):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def summary(result: Result) -> list[str]:
    """The sums, in sentences."""
    run, caught = len(result.run), len(result.caught)
    survived = len(result.survived)
    noted = sum(f.status == "noted" for f in result.faults)
    raised = sum(f.raised for f in result.caught)
    quiet = sum(r.ran for r in result.rewrites)
    alike = sum(f.status == "equivalent" for f in result.run)
    share = f"{caught / (caught + survived):.1%}" if caught + survived else "none"
    return [
        f"{caught} of {caught + survived} faults that moved a value were caught ({share}), {raised} of them by an "
        f"exception alone; {noted} more were noted, {alike} more are no change, "
        f"{run - caught - survived - noted - alike} more moved none",
        f"{sum(f.status == 'unreached' for f in result.faults)} more in lines that no case runs, "
        f"{sum(f.status == 'equivalent' and not f.ran for f in result.faults)} more that change no instruction",
        f"{len(result.false_alarms)} false alarms on {quiet} harmless rewrites",
        f"seed {result.seed}, {len(result.kinds)} kinds, {result.sites} places for faults, {result.seconds:.0f} s "
        f"({result.cpu_seconds:.0f} s of processor time)",
    ]


def _count(kind: Kind, name: str) -> str:
    number = int(getattr(kind, name))
    return "[dim]·[/dim]" if not number else f"[bold red]{number}[/bold red]" if name == "survived" else str(number)


def _change(fault: Seeded, console: Console) -> None:
    console.print(Text(f"  {clean(fault.kind)}  {clean(fault.place)}"), style="cyan")
    for line in clean(fault.change, 2000).splitlines():
        style = "red" if line.startswith("-") else "green" if line.startswith("+") else None
        console.print(Text(f"    {line}"), style=style, soft_wrap=True)
    why = (
        fault.moved if fault.status in ("survived", "equivalent") else fault.finding if fault.status == "noted" else ""
    )
    if why:
        console.print(Text(f"    {clean(why)}"), style="dim")
