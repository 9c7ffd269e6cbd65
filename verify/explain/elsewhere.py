"""Whether a change of the candidate's source makes other cases agree too, and not only the one that it was found with.

Some changes mend one case by chance: one that exchanges height and width says nothing of square images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.divergence.mending import Given, Mend, agrees, given_in
from verify.divergence.search import Reply, Unanswered
from verify.explain.mending import as_asked
from verify.trace import Role

MOST = 6
"""Cases that a change is tried on, at most."""
MOST_SECONDS = 6.0
"""What their passes may take together, as `mending.seconds` reckons."""
LONGEST_PASS = 20.0
"""Seconds that one of them may take."""

Ask = Callable[[Role, str, Mapping[str, Any]], Reply]
"""Asks a side for a pass of `mended` of a case with more arguments. Raises Unanswered."""


@dataclass
class Elsewhere:
    """The other cases of a finding's check. cases: their names; ask: see Ask; ignored: whether the spec ignores an output;
    each: what a pass is reckoned to take."""

    cases: list[str]
    ask: Ask
    ignored: Callable[[str], bool]
    allowed: float
    each: float
    _wanted: dict[str, Given] = field(default_factory=dict)

    def holds(self, mend: Mend) -> bool:
        """Whether none of the cases that the reference answers disagrees."""
        most = max(1, min(MOST, int(MOST_SECONDS / (2 * self.each))))
        step = max(1, -(-len(self.cases) // most))  # from all of them: neighbours are often alike
        return all(self._agrees(case, mend) for case in self.cases[::step])

    def _agrees(self, case: str, mend: Mend) -> bool:
        if case not in self._wanted:
            found = self._given("reference", case, None) or {}
            self._wanted[case] = {path: one for path, one in found.items() if not self.ignored(path)}
        wanted = self._wanted[case]
        if not wanted:
            return True
        given = self._given("candidate", case, mend)
        return given is not None and agrees(wanted, given, self.allowed)

    def _given(self, role: Role, case: str, mend: Mend | None) -> Given | None:
        """What a side gives in a case, or None where it gives nothing."""
        edits = [as_asked(mend) if mend is not None else None]
        try:
            result, arrays = self.ask(role, case, {"edits": edits, "seconds": LONGEST_PASS})
            return given_in(result["tries"][0], arrays["outputs.0"]) if "outputs.0" in arrays else None
        except Unanswered:
            return None
