"""What the command line needs of the self-test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from verify.selftest.gate import NotEqual
from verify.selftest.result import Result
from verify.selftest.run import Options, selftest
from verify.selftest.show import show
from verify.sinks.files import save

__all__ = ["NotEqual", "Options", "selftest", "show", "write"]


def write(result: Result, file: Path | None, tell: Callable[[str], None]) -> int:
    """Writes the JSON where one is asked for. 2 where that fails, which is told."""
    if file is None:
        return 0
    try:
        save(result.model_dump_json(indent=2) + "\n", file)
    except OSError as error:
        tell(f"--json {file}: {error.strerror}")
        return 2
    return 0
