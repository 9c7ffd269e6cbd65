"""Are `llavavit/` and `model_factory/vit_preview_v0_hf.py` the same model? The guide's one command.

    python verify_architecture_alignment.py [--verbose]

Exit code 0: the same; 1: they differ; 2: could not be decided. A thin layer over `llavavit-verify` with its built-in
preset, shown in Chinese and English.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from verify import interrupt, processes, spec
from verify.run import Interrupted, Options, run
from verify.sinks import alignment
from verify.sinks.progress import Progress

ROOT = Path(__file__).resolve().parent


def main() -> int:
    """Runs the preset on this folder and shows the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="list every parameter compared")
    parser.add_argument("--variant", action="append", default=[], help='variant to compare, or "all" (default: base)')
    parser.add_argument("--depth", type=int, help="run forward passes with this many layers")
    arguments = parser.parse_args()
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    options = Options(variants=tuple(arguments.variant), depth=arguments.depth)
    alignment.banner(console)
    loaded = spec.load(spec.PRESET)
    try:
        with Progress(errors) as progress:
            report = run(loaded, ROOT, options, progress)
        code = report.exit_code
    except Interrupted as error:
        sys.stderr.write(f"{error}; both sides were ended\n")
        report, code = error.report, error.exit_code
    except spec.SpecError as error:
        parser.error(str(error))
    alignment.show(report, console, verbose=arguments.verbose)
    return code


if __name__ == "__main__":
    interrupt.heed_termination()
    processes.keep_private()
    try:
        sys.exit(main())
    except KeyboardInterrupt as error:
        reason, exit_code = interrupt.describe(error)
        sys.stderr.write(f"{reason}; both sides were ended\n")
        sys.exit(exit_code)
