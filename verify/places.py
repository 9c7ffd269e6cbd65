"""Places as one opens them: a side tells a file from its own folder on; a reader stands where the verifier ran."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from verify.messages import say
from verify.report import Divergence, Finding, Location

FRAME = re.compile(r"(^|[ (]at | > )((?:(?![ (]at )[^\n>:])+\.py)(?=:\d+ in )")
"""A file in a stack as text, "net.py:3 in forward > layer.py:7 in forward"."""
PLACES = {
    "reference": "reference",
    "candidate": "candidate",
    "reference_place": "reference",
    "candidate_place": "candidate",
    "reference_made": "reference",
    "candidate_made": "candidate",
}
"""Details that hold a stack of one side. `fault` and `place` hold one of the side that `side` names."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the sides' folders are. base: the spec's folder. folders: the sides', by role, as the spec tells them."""

    base: Path
    folders: Mapping[str, str]

    def path(self, role: str, file: str) -> str:
        """A side's file from the working folder on, or from the spec's folder where that lies elsewhere.

        Empty for what is no file below the side's folder, such as a library's.
        """
        parts = PurePosixPath(file).parts
        if role not in self.folders or not parts or parts[0] == "/" or ".." in parts or "\0" in file:
            return ""
        path = posixpath.normpath(posixpath.join(self.folders[role], file))
        try:
            return posixpath.normpath(posixpath.join(self._lead(), path)) if (self.base / path).is_file() else ""
        except OSError:  # a name that is too long
            return ""

    def finding(self, found: Finding) -> Finding:
        """The finding with its places as one opens them, in its sentence too."""
        details = self._details(found.details)
        return found.model_copy(
            update={
                "reference": self._location("reference", found.reference),
                "candidate": self._location("candidate", found.candidate),
                "details": details,
                "message": say(found.kind, details),
            }
        )

    def divergence(self, found: Divergence) -> Divergence:
        """The divergence and those after it, likewise."""
        details = self._details(found.details)
        return found.model_copy(
            update={
                "reference": self._location("reference", found.reference),
                "candidate": self._location("candidate", found.candidate),
                "module": self._location("candidate", found.module),
                "callers": [self._location("candidate", place) for place in found.callers],
                "evidence": [self._frames("candidate", line) for line in found.evidence],
                "flow": [self._frames("candidate", line) for line in found.flow],
                "others": [self.divergence(other) for other in found.others],
                "details": details,
                "message": say(found.kind, details),
            }
        )

    def _lead(self) -> str:
        """From the working folder to the spec's, where that is at it or below."""
        lead = os.path.relpath(self.base.resolve())
        return "" if lead.startswith("..") else lead

    def _location(self, role: str, place: Location | None) -> Location | None:
        if place is None:
            return None
        return place.model_copy(update={"path": self.path(role, place.file) or self._copied(place)})

    def _copied(self, place: Location) -> str:
        """The path that a check knows better than its side, counted from the spec's folder."""
        return posixpath.normpath(posixpath.join(self._lead(), place.path)) if place.path else ""

    def _details(self, details: Mapping[str, str]) -> dict[str, str]:
        side = details.get("side", "").partition(" ")[0]
        roles = {**PLACES, "fault": side, "place": side}
        return {key: self._frames(roles[key], text) if key in roles else text for key, text in details.items()}

    def _frames(self, role: str, text: str) -> str:
        return FRAME.sub(lambda found: found[1] + (self.path(role, found[2]) or found[2]), text)
