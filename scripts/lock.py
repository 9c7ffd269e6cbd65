"""Locks what the images hold, with hashes: requirements/image.in → requirements/image-cpu.txt and image-cuda.txt.

Needs pip-tools, and for the CPU flavour a folder or index that has torch's CPU wheels (PIP_FIND_LINKS,
PIP_EXTRA_INDEX_URL); the CUDA flavour asks the standard index alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = {"cpu": "torch==2.13.0+cpu", "cuda": "torch==2.13.0"}
LEFT_OUT = {"cpu": {"hf-xet", "setuptools"}, "cuda": {"hf-xet", "setuptools", "triton"}}
"""Nothing that a run does uses them: downloads (it is offline), builds, compiled kernels."""


def lock(flavour: str) -> str:
    """The lock file's text."""
    environment = dict(os.environ)
    if flavour == "cuda":
        environment = {k: v for k, v in environment.items() if k not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
        environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        wanted, made = Path(folder, "wanted.in"), Path(folder, "made.txt")
        wanted.write_text((ROOT / "requirements" / "image.in").read_text() + TORCH[flavour] + "\n")
        subprocess.run(
            [
                sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
                "--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--strip-extras", "--allow-unsafe",
                "--output-file", str(made), str(wanted),
            ],
            env=environment, check=True,
        )  # fmt: skip
        blocks = re.split(r"\n(?=[A-Za-z0-9])", made.read_text())
    kept = []
    for block in blocks:
        name = re.match(r"([A-Za-z0-9_.-]+)==", block)
        if name and name[1].lower() not in LEFT_OUT[flavour]:
            kept.append("\n".join(line for line in block.strip().splitlines() if not line.startswith("#")))
    head = (
        f"# Every package of the {flavour} image, with hashes; installed with --no-deps. Made by `make lock` from "
        f"requirements/image.in;\n# left out, because nothing here uses them: {', '.join(sorted(LEFT_OUT[flavour]))}.\n"
    )
    return head + "\n".join(kept) + "\n"


if __name__ == "__main__":
    for one in sys.argv[1:] or TORCH:
        (ROOT / "requirements" / f"image-{one}.txt").write_text(lock(one))
