"""Which small change of the candidate makes a finding's outputs agree, and whether it says more than what is blamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.checks.base import Job, Maker
from verify.divergence.graph import Frame
from verify.divergence.mending import Budget, Mend, seconds
from verify.divergence.search import Reply, Round
from verify.divergence.sources import Sources
from verify.divergence.verdict import Culprit
from verify.explain.elsewhere import Elsewhere
from verify.explain.mending import Mended, mended
from verify.mapping import renamed
from verify.report import Finding
from verify.trace import Role

BESIDE = 1
"""Lines between a step that is missing and a change beside it that puts it there."""
STEPS = ("differs", "missing", "extra")
"""What may be a step that is missing; where another value is read or another way taken, none is."""

AskOf = Callable[[Role, Finding, str, str, Mapping[str, Any]], Reply]
"""Asks a side for a pass of `mended` of a finding, in a case and a section, with more arguments. Raises Unanswered."""


@dataclass
class Changes:
    """Of one variant: what was found so far, and what is left to try. sources: by role."""

    job: Job
    sources: Mapping[str, Sources]
    ask: AskOf
    _budget: Budget = field(default_factory=Budget)
    _found: dict[tuple[str, Frame, bool], Mended | None] = field(default_factory=dict)
    """By section, what was blamed, and whether that was confirmed."""

    def find(
        self,
        finding: Finding,
        section: str,
        one: Round,
        culprit: Culprit | None,
        origins: Mapping[Role, Mapping[str, Any]],
        allowed: float,
        gate: Mapping[str, Any] | None,
    ) -> Mended | None:
        """A change that makes every output agree, if there is one. Where the place is confirmed only changes there say more
        of it; where it is that of another case, only what was found then. Raises Late and whatever an answer can.

        allowed: relative difference that is rounding. gate: see `mending.mended`.
        """
        place = culprit.candidate if culprit is not None else None
        blamed = (culprit.operation, place, culprit.reference) if culprit is not None else None
        sure = culprit if culprit is not None and culprit.confidence == "confirmed" else None
        meant: Callable[[Mend], bool] | None = None
        if sure is not None:
            meant = lambda mend: self.there(mend, sure)  # noqa: E731
        key = (section, place, sure is not None) if place is not None else None
        budget = self._budget
        if key is not None and key in self._found:
            before = self._found[key]
            if before is None:
                return None
            what = (before.mend.frame.file, before.mend.edit)
            meant = lambda mend: (mend.frame.file, mend.edit) == what  # noqa: E731
            budget = Budget()  # one try more, however much the search took

        def ask(more: Mapping[str, Any]) -> Reply:
            if more["wanted"] is not None:
                own = renamed(more["wanted"]["path"], self.job.spec.mapping.outputs)
                more = {**more, "wanted": {**more["wanted"], "path": own}}
            return self.ask("candidate", finding, finding.case, section, more)

        elsewhere = self._elsewhere(finding, section, allowed, seconds(one.match.candidate))
        found = mended(
            ask,
            self.sources,
            one.match,
            blamed,
            origins,
            allowed,
            budget,
            gate,
            meant,
            elsewhere.holds,
        )
        if key is not None:
            self._found.setdefault(key, found)
        return found

    def _elsewhere(self, finding: Finding, section: str, allowed: float, each: float) -> Elsewhere:
        """The other cases of a finding's check, but for those in another arithmetic, where more may be rounding; of a
        section the same case in eval mode."""
        same = self.job.scenes[finding.check, finding.case].case.arithmetic
        others = [
            case
            for (check, case), scene in self.job.scenes.items()
            if check == finding.check and case != finding.case and scene.case.arithmetic == same
        ]
        ignored = Maker(job=self.job, check=finding.check, group=finding.case).ignored

        def ask(role: Role, case: str, more: Mapping[str, Any]) -> Reply:
            return self.ask(role, finding, case, "", more)

        return Elsewhere([finding.case] if section else others, ask, ignored, allowed, each)

    def moves(self, mend: Mended, culprit: Culprit) -> bool:
        """Whether a change elsewhere says more of where the fault is than what is blamed."""
        if self.there(mend.mend, culprit) or culprit.confidence == "confirmed":
            return False
        if culprit.candidate is None:
            return True
        if culprit.unknown:
            return mend.mend.light or mend.alone
        adds = mend.alone and mend.mend.adds and culprit.kind in STEPS
        if not mend.mend.light and not adds:
            # a step that is missing is missing between two lines: which of them to change is shown
            beside = abs(mend.mend.frame.line - culprit.candidate.line) <= BESIDE
            return culprit.kind == "missing" and mend.mend.frame.file == culprit.candidate.file and beside
        return culprit.kind != "setting" or mend.mend.making

    def there(self, mend: Mend, culprit: Culprit) -> bool:
        """Whether a change is of the statement that is blamed."""
        frame = culprit.candidate
        if frame is None or frame.file != mend.frame.file:
            return False
        statement = self.sources["candidate"].statement(frame.file, frame.line)
        return statement is not None and statement.lineno <= mend.frame.line <= (statement.end_lineno or 0)
