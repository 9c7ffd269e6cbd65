"""Memory and speed of staging and verifying a checkpoint: peak against its size, bytes moved against a plain copy.

    python benchmarks/publishing.py [--model_name hf_llava_vit_giant_ln] [--folder DIR]

A checkpoint with drawn float32 weights is written to DIR (three times its size is needed there, and removed at the end).
Then, each in a process of its own: the file is copied and flushed to the disk; it is staged and flushed, which only moves
bytes too (and looks whether each value is finite). The one that goes first changes from round to round, and what others
have yet to write is flushed before each, for the disk is slower after much was written. Both import the same first: a
virtual machine may hand freed memory back to its host within seconds, and the one that starts later then pays for new
pages. Last, the whole tool runs as a
dry run, with the gate: memory is the most that it and everything below it hold at one time, mapped files included, shared
pages counted once (the sum of proportional set sizes, read from /proc ten times a second, which slows what maps a large
file; so nothing that is timed is watched). Linux.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from verify import processes  # noqa: E402

GB = 1e9
LOOK_SECONDS = 0.1
MOST_MEMORY = 1.6
LEAST_SPEED = 0.5

WRITE = """
import sys
import torch
from model_factory.publishing import models
from verify.weights import draw

shapes = models.expected(sys.argv[1])
torch.save({"model": {n: torch.from_numpy(draw(0, n, shape)) for n, shape in shapes.items()}}, sys.argv[2])
"""
FLUSH = """
import os
def flush(folder):
    for file in sorted(os.listdir(folder)):
        handle = os.open(os.path.join(folder, file), os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
"""
IMPORTS = """
import shutil, sys, time
from pathlib import Path
import torch
from model_factory.publishing import checkpoint, staging
"""
COPY = f"""
{IMPORTS}
{FLUSH}
os.sync()
started = time.perf_counter()
shutil.copyfile(sys.argv[2], sys.argv[3] + "/copy")
flush(sys.argv[3])
print(time.perf_counter() - started)
"""
STAGE = f"""
{IMPORTS}
{FLUSH}
os.sync()
started = time.perf_counter()
found = checkpoint.load(Path(sys.argv[2]))
staging.write_weights(found.tensors, torch.float32, "2GB", Path(sys.argv[3]), lambda what: None)
flush(sys.argv[3])
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Run:
    """Seconds and peak bytes of a process with all below it; what it printed."""

    wall: float
    memory: int
    output: str


def held(pid: int) -> int:
    """Bytes that a process holds now, its share of what it shares; 0 where it has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def ran(command: Sequence[str]) -> str:
    """Runs a command to its end; what it printed. CalledProcessError if it does not exit with 0."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout


def watched(command: Sequence[str]) -> Run:
    """Runs a command to its end and looks at its memory. RuntimeError with its output if it does not exit with 0."""
    peak, ended = 0, threading.Event()

    def watch(pid: int) -> None:
        nonlocal peak
        while not ended.wait(LOOK_SECONDS):
            peak = max(peak, sum(held(p) for p in (pid, *processes.below(pid))))

    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watcher = threading.Thread(target=watch, args=(process.pid,))
    watcher.start()
    output = process.communicate()[0]
    ended.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} exited with {process.returncode}:\n{output}")
    return Run(time.perf_counter() - started, peak, output)


def script(text: str, *arguments: object) -> list[str]:
    start = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
    return [sys.executable, "-c", start + text, *map(str, arguments)]


def main() -> int:
    """0 where memory and speed are within their bounds, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model_name", default="hf_llava_vit_giant_ln")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--rounds", type=int, default=5, help="copies and stagings, in turn (default: 5)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llavavit-publishing-", dir=asked.folder) as name:
        folder = Path(name)
        file = folder / "checkpoint.pth"
        ran(script(WRITE, asked.model_name, file))
        size = file.stat().st_size
        print(f"{asked.model_name}: {size / GB:.2f} GB", flush=True)
        speeds: dict[str, list[float]] = {"copy": [], "stage": []}
        for number in range(asked.rounds):
            kinds = [("copy", COPY), ("stage", STAGE)]
            for kind, text in reversed(kinds) if number % 2 else kinds:
                target = folder / kind
                target.mkdir()
                seconds = float(ran(script(text, asked.model_name, file, target)).split()[-1])
                speeds[kind].append(size / seconds)
                shutil.rmtree(target)
            print(f"round {number + 1}: copy {speeds['copy'][-1] / GB:.2f} GB/s, stage {speeds['stage'][-1] / GB:.2f} GB/s", flush=True)  # fmt: skip
        tool = ROOT / "model_factory" / "upload_llava_vit_to_hf.py"
        options = ["--model_name", asked.model_name, "--weight_path", str(file), "--output_dir", str(folder / "staged")]
        whole = watched([sys.executable, str(tool), *options, "--dry_run"])
        print(whole.output)
    ratio = sorted(s / c for s, c in zip(speeds["stage"], speeds["copy"], strict=True))[asked.rounds // 2]
    result = {
        "checkpoint_gb": round(size / GB, 3),
        "peak_gb": round(whole.memory / GB, 3),
        "peak_over_checkpoint": round(whole.memory / size, 3),
        "stage_over_copy": round(ratio, 3),
        "copy_gb_per_s": [round(s / GB, 3) for s in speeds["copy"]],
        "stage_gb_per_s": [round(s / GB, 3) for s in speeds["stage"]],
        "whole_seconds": round(whole.wall, 1),
    }
    print(json.dumps(result, indent=2))
    return 0 if whole.memory <= MOST_MEMORY * size and ratio >= LEAST_SPEED else 1


if __name__ == "__main__":
    sys.exit(main())
