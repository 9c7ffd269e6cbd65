"""What a run of the verifier came to, as everything that publishes it sees it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from entrypoint import files
from entrypoint.inputs import Settings
from entrypoint.report import EXIT_CODES, WEIGHT, Finding, Location, Report

LARGEST_SOURCE = 2 * 2**20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """verdict: equal, different or error. reason: why there is no report, or no verdict. tail: the last lines printed."""

    verdict: str
    report: Report | None = None
    reason: str = ""
    tail: tuple[str, ...] = ()
    held: Mapping[str, bool] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def fails(self, fail_on: str) -> bool:
        """Whether the step fails: on a difference or an error, on an error alone, or never."""
        return {"different": self.verdict != "equal", "error": self.verdict == "error"}.get(fail_on, False)

    @property
    def findings(self) -> list[Finding]:
        """Worst first, as found within one weight."""
        found = self.report.findings if self.report else []
        return sorted(found, key=lambda f: -WEIGHT[f.verdict])


@dataclass(frozen=True)
class Place:
    """A line of a file of the repository; path counts from its root."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def place(settings: Settings, report: Report, role: str, location: Location | None) -> Place | None:
    """Where a location of one side lies in the workspace; None for a library's code or what is not there.

    A report counts files from the side's folder, which counts from the spec's. All of it is untrusted: only a regular
    file inside the workspace, reached through no link, is a place.
    """
    if location is None:
        return None
    side = report.environment.get(role, {}).get("path", ".")
    base = posixpath.join(settings.working_directory, posixpath.dirname(settings.spec))
    path = posixpath.normpath(posixpath.join(base, str(side), location.file))
    if os.path.isabs(location.file) or not files.is_file(settings.workspace, path):
        return None
    return Place(path, max(location.line, 1))


def excerpt(settings: Settings, at: Place, before: int = 3, after: int = 3) -> str:
    """The lines about a place, numbered, its own marked; "" if the file cannot be read."""
    try:
        source = files.read(settings.workspace, at.path, LARGEST_SOURCE).decode("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return ""
    if at.line > len(source):
        return ""
    first = max(at.line - before, 1)
    shown = source[first - 1 : at.line + after]
    return "\n".join(f"{'>' if n == at.line else ' '} {n:4d}  {text[:200]}" for n, text in enumerate(shown, first))
