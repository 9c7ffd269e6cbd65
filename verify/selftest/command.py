"""What the command line needs of the self-test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from verify.report import Selftest
from verify.selftest.fingerprint import fingerprint
from verify.selftest.gate import NotEqual
from verify.selftest.result import Result
from verify.selftest.run import Options, selftest
from verify.selftest.show import show
from verify.sinks.files import save
from verify.spec import Spec

__all__ = ["NotEqual", "Options", "Unreadable", "read", "selftest", "show", "summary", "write"]


class Unreadable(ValueError):
    """A file is no result of a self-test."""


def read(file: Path) -> Result:
    """What `write` wrote. Raises Unreadable."""
    try:
        return Result.model_validate_json(file.read_bytes())
    except OSError as error:
        raise Unreadable(
            f"--selftest {file}: {error.strerror}; `llavavit-verify selftest --json FILE` writes one"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise Unreadable(f"--selftest {file}: not a self-test of this version: {where}: {first['msg']}") from error


def summary(result: Result, spec: Spec, base: Path) -> Selftest:
    """For the report of a run with this spec; tells which code is another than the self-test's."""
    return result.summary(fingerprint(spec, base))


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
