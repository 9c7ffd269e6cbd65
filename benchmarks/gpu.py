"""Every variant at full depth on a GPU: verdict, seconds, and the memory of each side.

    python benchmarks/gpu.py [--variant NAME] [--check NAME]

Each variant is one whole process of the command line with `--device cuda` and every check. Seconds are the wall time of
that process, on this machine and once: they say what to expect, not how fast one GPU is beside another.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30


def variants() -> list[str]:
    """The preset's variants, in its order."""
    preset = yaml.safe_load((ROOT / "verify" / "presets" / "llavavit.yml").read_text(encoding="utf-8"))
    return list(preset["variants"])


def verified(variant: str, checks: list[str], file: Path) -> tuple[dict[str, Any], float]:
    """The report of one variant on the GPU, and the seconds that it took. RuntimeError where there is no report."""
    chosen = [word for check in checks for word in ("--check", check)]
    command = [sys.executable, "-m", "verify", "run", "--quiet", "--device", "cuda", "--variant", variant, *chosen]
    started = time.perf_counter()
    done = subprocess.run([*command, "--json", str(file)], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if not file.exists():
        raise RuntimeError(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(file.read_text(encoding="utf-8")), seconds


def row(variant: str, report: dict[str, Any], seconds: float) -> str:
    """One line of the table. The difference is the largest share that a group of `forward` takes of what it may."""
    facts = report["facts"][variant]
    groups = [g for check in report["checks"] if check["name"] == "forward" for g in check["groups"]]
    shares = [g["measured"] / g["allowed"] for g in groups if g["measured"] is not None and g["allowed"]]
    memory = [
        f"{max(side[key] for side in report['environment'].values()) / GIB:.2f} GiB"
        for key in ("peak_memory", "peak_device_memory")
    ]
    cells = [
        variant,
        f"{facts['parameters'] / 1e6:.0f} M",
        facts["layers"],
        report["verdict"],
        sum(check["compared"] for check in report["checks"]),
        f"{max(shares):.2f}" if shares else "",
        f"{seconds:.0f} s",
        *memory,
    ]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", action="append", choices=variants(), help="default: each")
    parser.add_argument("--check", action="append", default=[], help="default: every check")
    chosen = parser.parse_args()
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for variant in chosen.variant or variants():
            report, seconds = verified(variant, chosen.check, Path(folder) / f"{variant}.json")
            rows.append(row(variant, report, seconds))
            print(rows[-1], flush=True)
            for finding in report["findings"]:
                print(f"  {finding['verdict']} {finding['check']} {finding['case']}: {finding['message']}", flush=True)
            for skipped in report["skipped"]:
                print(f"  not done: {skipped['check']} {skipped['case']}: {skipped['reason']}", flush=True)
    side = report["environment"]["reference"]
    versions = ", ".join(f"{name} {version}" for name, version in side["packages"].items())
    print(f"\n{side['device']}, {side['cpus']} processors, Python {side['python']}, {versions}\n")
    print(
        "| variant | parameters | layers | verdict | compared | share of allowed | wall | memory of a side | on the GPU |"
    )
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
