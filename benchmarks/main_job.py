"""Wall time, CPU time and memory of the main job beside the names-and-shapes script, as whole processes in turn.

    python benchmarks/main_job.py [--rounds 5]

The script, the main job with the four checks that compare what the model is and computes, and the main job with every
check are started anew each round, one after the other, after one round that is not counted. Medians; the ratios to the
script are taken round by round, so that a busy machine slows all. CPU seconds are those of a process and all that it
started; memory is that of its largest process, and for each side that of the side over its own import baseline and one
float64 copy of its parameters.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
FOUR = ("configuration", "structure", "buffers", "forward")


@dataclass(frozen=True)
class Run:
    """One whole process: wall and CPU seconds, and the memory of its largest process in GiB."""

    wall: float
    cpu: float
    memory: float


def measured(command: Sequence[str]) -> Run:
    """Runs a command to its end. RuntimeError with its output if it does not exit with 0."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"{command} exited with {process.returncode}:\n{output.read().decode(errors='replace')}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / GIB)


def commands(report: Path) -> dict[str, list[str]]:
    """What is measured, by name; the first is what the others are compared with. `report`: where the job writes one."""
    job = [sys.executable, "-m", "verify", "run", "--quiet", "--json", str(report)]
    return {
        "names and shapes": [sys.executable, "benchmarks/names_and_shapes.py"],
        "main job, four checks": [*job, *(word for check in FOUR for word in ("--check", check))],
        "main job, every check": job,
    }


def rounds(count: int, report: Path) -> dict[str, list[Run]]:
    """The runs of each command; the report of the last one is left in `report`."""
    runs: dict[str, list[Run]] = {name: [] for name in commands(report)}
    for number in range(count + 1):
        latest = {name: measured(command) for name, command in commands(report).items()}
        walls = ", ".join(f"{name} {run.wall:.1f} s" for name, run in latest.items())
        print(f"round {number}: {walls}{' (not counted)' * (number == 0)}", flush=True)
        for name, run in latest.items() if number else ():
            runs[name].append(run)
    return runs


def table(runs: dict[str, list[Run]]) -> str:
    """Medians, and the median of the ratios to the first command with the lowest and the highest, as markdown."""
    base = next(iter(runs.values()))
    lines = ["| | wall | CPU | largest process | wall ratio | CPU ratio |", "|---|---:|---:|---:|---:|---:|"]
    for name, mine in runs.items():
        middle = [statistics.median(getattr(run, key) for run in mine) for key in ("wall", "cpu", "memory")]
        ratios = [
            _ratios([getattr(a, key) / getattr(b, key) for a, b in zip(mine, base, strict=True)])
            for key in ("wall", "cpu")
        ]
        lines.append(
            f"| {name} | {middle[0]:.1f} s | {middle[1]:.1f} s | {middle[2]:.2f} GiB | {ratios[0]} | {ratios[1]} |"
        )
    return "\n".join(lines)


def _ratios(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def sides(report: dict[str, Any]) -> str:
    """Each side's peak memory over its import baseline and one float64 copy of its parameters."""
    facts = report["facts"][report["variants"][0]]
    copy = facts["parameters"] * 8
    lines = ["| side | imports | float64 copy | peak | ratio |", "|---|---:|---:|---:|---:|"]
    for role, environment in report["environment"].items():
        start, peak = environment["memory_at_start"], environment["peak_memory"]
        figures = " | ".join(f"{value / GIB:.2f} GiB" for value in (start, copy, peak))
        lines.append(f"| {role} | {figures} | {peak / (start + copy):.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    count = max(parser.parse_args().rounds, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        runs = rounds(count, file)
        report = json.loads(file.read_text(encoding="utf-8"))
    environment = report["environment"]["reference"]
    versions = ", ".join(f"{k} {v}" for k, v in environment["packages"].items())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"\n{cores} cores, {platform.machine()}, Python {platform.python_version()}, {versions}; {count} rounds\n")
    print(table(runs))
    print()
    print(sides(report))


if __name__ == "__main__":
    main()
