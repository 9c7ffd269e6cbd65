"""Draws docs/different.svg, the picture of the README, from a real run. `make picture` calls it.

One line of a copy of `llavavit/` is edited, as a slip would, and the verifier is run on it.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from verify import spec
from verify.report import Report
from verify.run import Options, run
from verify.sinks import console as terminal

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "different.svg"
FILE = "llavavit/modeling_llava_vit.py"
RIGHT = "nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)"
WRONG = "nn.LayerNorm(config.hidden_size)"
CASE = "image"
CHECKS = ("structure", "forward")
COMMAND = " ".join(["llavavit-verify", *(f"--check {check}" for check in CHECKS), f"--case {CASE}"])


def edited(folder: Path) -> tuple[int, str, str]:
    """Copies both implementations into `folder` and edits one line. Returns its number and both texts."""
    for name in ("llavavit", "model_factory"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if RIGHT in line)
    before = lines[number]
    lines[number] = before.replace(RIGHT, WRONG)
    (folder / FILE).write_text("".join(lines), encoding="utf-8")
    return number + 1, before.strip(), lines[number].strip()


def draw(report: Report, line: tuple[int, str, str]) -> str:
    """The edit, the command and the console's rendering of the report, as SVG that loads nothing from elsewhere."""
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True, highlight=False)
    number, before, after = line
    console.print(f"{FILE}:{number}", style="bold", markup=False)
    console.print(f"- {before}", style="red", markup=False)
    console.print(f"+ {after}\n", style="green", markup=False)
    console.print(f"$ {COMMAND}", style="bold", markup=False)
    terminal.show(report, console)
    svg = console.export_svg(title="llavavit-verify", theme=MONOKAI, unique_id="llavavit-verify")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        line = edited(Path(folder))
        report = run(spec.load(spec.PRESET), Path(folder), Options(checks=CHECKS, cases=(CASE,)))
    PICTURE.write_text(draw(report, line), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {report.verdict.value}, {report.seconds:.0f} s")


if __name__ == "__main__":
    main()
