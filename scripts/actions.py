"""Writes cpu/action.yml and gpu/action.yml from action.yml, which alone is written by hand.

    python scripts/actions.py [--image REFERENCE@DIGEST --cpu-image REFERENCE@DIGEST] [--check]

A release gives both images by digest, and the root's action.yml then uses the first instead of the Dockerfile.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "ghcr.io/org/llavavit-verify:v1"
CPU_IMAGE = "ghcr.io/org/llavavit-verify:v1-cpu"
NOTE = "# Made by scripts/actions.py from the action.yml above this folder; edit that one.\n"

GPU_RUN = """
runs:
  using: composite
  steps:
    - id: verify
      shell: bash
      env:
{inputs}
        IMAGE: {image}
      run: |
        # every input under the name that the image reads; values travel in the environment, never in a command
        values=() arguments=()
        while IFS= read -r name; do
          variable="VERIFY_$(tr 'a-z-' 'A-Z_' <<<"$name")"
          values+=("INPUT_${{name^^}}=${{!variable}}")
          arguments+=(--env "INPUT_${{name^^}}")
        done <<'NAMES'
{names}
        NAMES
        for name in ${{!GITHUB_@}} ${{!RUNNER_@}}; do
          case "$name" in
            GITHUB_WORKSPACE | GITHUB_EVENT_PATH | GITHUB_STEP_SUMMARY | GITHUB_OUTPUT) ;;
            GITHUB_ENV | GITHUB_PATH | GITHUB_STATE | GITHUB_ACTION* | *TOKEN*) ;;
            *) arguments+=(--env "$name") ;;
          esac
        done
        exec env "${{values[@]}}" docker run --rm --gpus all --ipc private --init \\
          --volume "$GITHUB_WORKSPACE:/github/workspace" --workdir /github/workspace \\
          --volume "$GITHUB_EVENT_PATH:/github/workflow/event.json:ro" \\
          --volume "$GITHUB_STEP_SUMMARY:/github/file_commands/summary" \\
          --volume "$GITHUB_OUTPUT:/github/file_commands/output" \\
          --env GITHUB_WORKSPACE=/github/workspace --env GITHUB_EVENT_PATH=/github/workflow/event.json \\
          --env GITHUB_STEP_SUMMARY=/github/file_commands/summary \\
          --env GITHUB_OUTPUT=/github/file_commands/output \\
          "${{arguments[@]}}" "$IMAGE" action
"""


def cpu(text: str, image: str) -> str:
    """The slim flavour: the same, on an image of its own."""
    head, _, _ = text.partition("\nruns:\n")
    head = head.replace("name: llavavit-verify\n", "name: llavavit-verify (CPU)\n", 1)
    note = "" if "@sha256:" in image else " # zizmor: ignore[unpinned-images] a release writes the digest here"
    return f"{NOTE}{head}\nruns:\n  using: docker\n  image: docker://{image}{note}\n  args:\n    - action\n"


def gpu(text: str, image: str) -> str:
    """For runners with GPUs but without an nvidia default runtime: a composite action that calls docker itself."""
    head, _, _ = text.partition("\nruns:\n")
    head = head.replace("name: llavavit-verify\n", "name: llavavit-verify (GPU)\n", 1)
    data = yaml.safe_load(text)
    before, mark, outputs = head.partition("\noutputs:\n")
    lines = []
    for line in outputs.splitlines():
        lines.append(line)
        if re.match(r"    description:", line):
            name = list(data["outputs"])[sum("description:" in one for one in lines) - 1]
            lines.append(f"    value: ${{{{ steps.verify.outputs.{name} }}}}")
    names = list(data["inputs"])
    inputs = "\n".join(f"        VERIFY_{name.upper().replace('-', '_')}: ${{{{ inputs.{name} }}}}" for name in names)
    run = GPU_RUN.format(inputs=inputs, names="\n".join(f"        {n}" for n in names), image=image)
    return NOTE + before + mark + "\n".join(lines) + "\n" + run


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", help="release: the CUDA image, by digest")
    parser.add_argument("--cpu-image", help="release: the CPU image, by digest")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not as it would be")
    arguments = parser.parse_args()
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    wanted = {
        "cpu/action.yml": cpu(text, arguments.cpu_image or CPU_IMAGE),
        "gpu/action.yml": gpu(text, arguments.image or IMAGE),
    }
    if arguments.image:
        wanted["action.yml"] = text.replace("  image: Dockerfile\n", f"  image: docker://{arguments.image}\n")
    stale = [f for f, content in wanted.items() if not _same(ROOT / f, content)]
    if arguments.check:
        for file in stale:
            sys.stderr.write(f"{file} does not follow action.yml: run python scripts/actions.py\n")
        return 1 if stale else 0
    for file, content in wanted.items():
        (ROOT / file).write_text(content, encoding="utf-8")
    return 0


def _same(file: Path, content: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == content


if __name__ == "__main__":
    sys.exit(main())
