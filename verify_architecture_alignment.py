"""Are `llavavit/` and `model_factory/vit_preview_v0_hf.py` the same model? The guide's one command.

    python verify_architecture_alignment.py [--verbose]

Exit code 0: the same; 1: they differ; 2: could not be decided. A thin layer over `llavavit-verify` with its built-in
preset, shown in Chinese and English.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from verify import interrupt, processes, spec
from verify.run import Interrupted, Options, run
from verify.sinks import alignment, terminal
from verify.sinks.progress import Progress

ROOT = Path(__file__).resolve().parent


def depth(text: str) -> int:
    """A number of layers."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: 层数应为不小于 1 的整数 / a whole number of layers, at least 1")
    return int(text)


def main() -> int:
    """Runs the preset on this folder and shows the result."""
    preset = spec.load(spec.PRESET)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="退出码 / exit code: 0 一致 / the same; 1 不一致 / they differ; 2 无法判定 / could not be decided",
    )
    parser.add_argument("--verbose", action="store_true", help="列出每个比较的参数 / list every parameter compared")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        choices=[*preset.variants, "all"],
        help=f"要比较的变体，可重复（默认 {preset.first_variant}） / variant to compare, repeatable "
        f"(default: {preset.first_variant})",
    )
    parser.add_argument("--depth", type=depth, help="前向传播的层数 / layers in forward passes")
    arguments = parser.parse_args()
    console, errors = terminal.output(), terminal.errors()
    options = Options(variants=tuple(arguments.variant), depth=arguments.depth)
    alignment.banner(console)
    try:
        with Progress(errors, "both") as progress:
            report = run(preset, ROOT, options, progress)
        code = report.exit_code
    except Interrupted as error:
        terminal.tell(errors, f"{error}; both sides were ended", "both")
        report, code = error.report, error.exit_code
    except spec.SpecError as error:
        terminal.complain(errors, str(error), "both")
        return 2
    alignment.show(report, console, verbose=arguments.verbose)
    return code


if __name__ == "__main__":
    interrupt.heed_termination()
    processes.keep_private()
    try:
        sys.exit(main())
    except KeyboardInterrupt as error:
        reason, exit_code = interrupt.describe(error)
        terminal.tell(terminal.errors(), f"{reason}; both sides were ended", "both")
        sys.exit(exit_code)
