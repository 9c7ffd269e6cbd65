"""Wall time, CPU time and memory of the main job beside the names-and-shapes script, as whole processes in turn.

    python benchmarks/main_job.py [--rounds 5]

Both are started anew each round, one after the other, after one round that is not counted. Medians; the ratios are
taken round by round, so that a busy machine slows both. CPU seconds are those of a process and all that it started;
memory is that of its largest process, and for each side that of the side over its own import baseline and one float64
copy of its parameters.
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


def rounds(count: int, report: Path) -> list[tuple[Run, Run]]:
    """(names and shapes, main job) for each round; the report of the last main job is left in `report`."""
    script = [sys.executable, "benchmarks/names_and_shapes.py"]
    job = [sys.executable, "-m", "verify", "run", "--quiet", "--json", str(report)]
    pairs = []
    for number in range(count + 1):
        pairs.append((measured(script), measured(job)))
        left, right = pairs[-1]
        print(f"round {number}: {left.wall:.1f} s, {right.wall:.1f} s{' (not counted)' * (number == 0)}", flush=True)
    return pairs[1:]


def table(pairs: list[tuple[Run, Run]]) -> str:
    """Medians and the median ratio of each figure, as a markdown table."""
    lines = ["| | names and shapes | main job | ratio (lowest to highest) |", "|---|---:|---:|---:|"]
    for name, unit, key in (("wall", "s", "wall"), ("CPU", "s", "cpu"), ("largest process", "GiB", "memory")):
        left, right = ([getattr(run, key) for run in column] for column in zip(*pairs, strict=True))
        ratios = sorted(b / a for a, b in zip(left, right, strict=True))
        a, b, ratio = (statistics.median(values) for values in (left, right, ratios))
        lines.append(
            f"| {name} | {a:.2f} {unit} | {b:.2f} {unit} | {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )
    return "\n".join(lines)


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
        pairs = rounds(count, file)
        report = json.loads(file.read_text(encoding="utf-8"))
    environment = report["environment"]["reference"]
    versions = ", ".join(f"{k} {v}" for k, v in environment["packages"].items())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"\n{cores} cores, {platform.machine()}, Python {platform.python_version()}, {versions}; {count} rounds\n")
    print(table(pairs))
    print()
    print(sides(report))


if __name__ == "__main__":
    main()
