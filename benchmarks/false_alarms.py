"""Runs the gate on the real pair with many seeds. Each must be equal: the pair is the same function.

    .venv/bin/python benchmarks/false_alarms.py [--seeds 200] [--first 0] [--depth 2] [--variant small] [--jobs N]

Every check of the preset, one run a seed, weights and inputs drawn anew. Prints a line for each run that was not equal and
a last one with the count; exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from verify import spec  # noqa: E402
from verify.report import Report, Verdict  # noqa: E402
from verify.run import Options, run  # noqa: E402
from verify.side import Servers, cpus  # noqa: E402

PRELOAD = ("torch", "safetensors.torch", "transformers.modeling_utils", "transformers.models.auto.auto_factory")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--variant", default="small")
    parser.add_argument("--jobs", type=int, default=max(cpus() // 2, 1), help="how many at a time")
    asked = parser.parse_args()
    found = spec.load(spec.PRESET)
    alarms, compared, started = [], 0, time.perf_counter()
    options = Options(
        variants=(asked.variant,), depth=asked.depth, device="cpu", processors=max(cpus() // asked.jobs, 1)
    )
    seeds = range(asked.first, asked.first + asked.seeds)
    with Servers(PRELOAD) as servers, ThreadPoolExecutor(asked.jobs) as pool:

        def judged(seed: int) -> Report:
            return run(found, ROOT, replace(options, seed=seed), servers=servers)

        for done, (seed, report) in enumerate(zip(seeds, pool.map(judged, seeds), strict=True), start=1):
            compared += sum(check.compared for check in report.checks)
            if report.verdict != Verdict.EQUAL:
                alarms.append(seed)
                loud = [
                    f"{f.check} {f.case} {f.kind}: {f.message}" for f in report.findings if f.verdict != Verdict.NOTE
                ]
                print(f"seed {seed}: {report.verdict.value}\n  " + "\n  ".join(loud), flush=True)
            print(f"{done} seeds, {len(alarms)} not equal, {compared} compared", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    print(
        f"{asked.seeds} seeds from {asked.first}: {len(alarms)} not equal {alarms}, {compared} compared, {seconds:.0f} s"
    )
    return int(bool(alarms))


if __name__ == "__main__":
    sys.exit(main())
