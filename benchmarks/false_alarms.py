"""Runs the gate on the real pair with many seeds. Each must be equal: the pair is the same function.

    .venv/bin/python benchmarks/false_alarms.py [--seeds 200] [--first 0] [--depth 2] [--variant small]

Every check of the preset, one run a seed, weights and inputs drawn anew. Prints a line for each run that was not equal and
a last one with the count; exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from verify import spec  # noqa: E402
from verify.report import Verdict  # noqa: E402
from verify.run import Options, run  # noqa: E402
from verify.side import Servers  # noqa: E402

PRELOAD = ("torch", "safetensors.torch", "transformers.modeling_utils", "transformers.models.auto.auto_factory")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--variant", default="small")
    asked = parser.parse_args()
    found = spec.load(spec.PRESET)
    alarms, compared, started = [], 0, time.perf_counter()
    with Servers(PRELOAD) as servers:
        for seed in range(asked.first, asked.first + asked.seeds):
            options = Options(variants=(asked.variant,), depth=asked.depth, device="cpu", seed=seed)
            report = run(found, ROOT, options, servers=servers)
            compared += sum(check.compared for check in report.checks)
            if report.verdict != Verdict.EQUAL:
                alarms.append(seed)
                loud = [
                    f"{f.check} {f.case} {f.kind}: {f.message}" for f in report.findings if f.verdict != Verdict.NOTE
                ]
                print(f"seed {seed}: {report.verdict.value}\n  " + "\n  ".join(loud), flush=True)
            done = seed - asked.first + 1
            print(f"{done} seeds, {len(alarms)} not equal, {compared} compared", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    print(
        f"{asked.seeds} seeds from {asked.first}: {len(alarms)} not equal {alarms}, {compared} compared, {seconds:.0f} s"
    )
    return int(bool(alarms))


if __name__ == "__main__":
    sys.exit(main())
