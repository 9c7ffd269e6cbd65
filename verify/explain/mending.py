"""Tries small changes of the candidate's source around what is blamed: which one makes every output agree."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from verify.divergence.blame import behind
from verify.divergence.course import course, reach
from verify.divergence.graph import Frame, Operation, Value
from verify.divergence.mending import (
    Budget,
    Mend,
    Prices,
    Suspected,
    agrees,
    given_by,
    given_in,
    mends,
    prices,
    seconds,
    wanted,
)
from verify.divergence.operands import own
from verify.divergence.search import Reply, Unanswered
from verify.divergence.settings import frames_of
from verify.divergence.sources import Sources
from verify.divergence.trials import Match
from verify.trace import Role

LONGEST = 90.0
"""Seconds that all changes together may take on a machine that is far slower than `affordable` reckons."""
SHORTEST_PASS, LONGEST_PASS, SLOWER = 0.5, 10.0, 20
"""Seconds that one pass may take, for a change can make a loop that does not end; between them SLOWER times what a pass is
reckoned to take."""
MOST_BY_CHANCE = 5
"""Changes that mend one case and not the others, after which no more are tried."""
BATCH_SECONDS = 3.0
FIRST_BATCH = 4
MOST_IN_BATCH = 40
MOST_LINES = 40
MOST_LATER = 4.0
"""Seconds, as reckoned, in which a change that says more is sought once one was found that says little."""
BUFFER = "buffer:"
"""Beginning of the leaf of a value that a buffer holds; see `graph.Value`."""
CONSTANT = 1e-9
"""How far, of its size, a value's sum may be from that of equal elements to count as such."""
REPLACES, ALIKE, SIGN, STEP = 0, 1, 2, 3
"""What a change does: put one thing for another, add a call where the reference has it, put a minus somewhere, take a step
away or add one elsewhere. The more of them would mend a value alike, the less one says."""


Try = Callable[[Mapping[str, Any]], Reply]
"""Asks the candidate for a pass of `mended` with more arguments. Raises Unanswered."""
Blamed = tuple[Operation, Frame | None, Frame | None]
"""The candidate's operation, its line and the reference's."""


class Late(Exception):
    """Not all changes that should be tried were."""


@dataclass(frozen=True)
class Mended:
    """A change that makes every output agree. before, after: the changed lines as they are and as they would be.

    alone: whether, of all of its kind that were tried, only changes of this line do.
    """

    mend: Mend
    before: str
    after: str
    alone: bool = False


def mended(
    ask: Try,
    sources: Mapping[str, Sources],
    match: Match,
    blamed: Blamed | None,
    origins: Mapping[Role, Mapping[str, Any]],
    allowed: float,
    budget: Budget,
    gate: Mapping[str, Any] | None = None,
    meant: Callable[[Mend], bool] | None = None,
    holds: Callable[[Mend], bool] | None = None,
) -> Mended | None:
    """The likeliest change that makes every output agree, or None. sources, origins: by role. Raises Late.

    budget: what other searches have left; this one takes from it. gate: the first module call that differs and the
    fingerprint of what the reference's gives; see `observer/mended.py`. meant: which changes say something; None: all.
    holds: whether other cases agree with a change too; None: it is not asked.
    """
    lines = list(_suspected(match, blamed, origins["candidate"]))
    theirs = list(_spoken(match, blamed, origins["reference"]))
    until = reach(match.candidate, gate)
    ran = course(match.candidate, set(match.candidate_suspects.operations), until, origins["candidate"])
    likely = mends(lines, sources["candidate"], sources["reference"], theirs, ran)
    found = _Found(prices(match.candidate, until))
    tries = budget.affordable([m for m in likely if meant is None or meant(m)], found.prices)
    try:
        for mend in _agreeing(ask, tries, match, allowed, budget, gate, found):
            if mend.making and found.made_anew is None:
                again = _agreeing(ask, [unchanged(mend)], match, allowed, budget, gate, _Found(found.prices))
                found.made_anew = any(True for _ in again)
            if not (mend.making and found.made_anew) and (holds is None or holds(mend)):
                found.mends.append(mend)
            else:
                found.by_chance += 1
            if found.enough:
                break
    except Late:
        if not found.mends:
            raise
    return found.told(sources["candidate"])


@dataclass
class _Found:
    """Changes that make every output agree, in the order in which they were tried.

    One that puts one thing for another is taken at once. A minus may stand in many places, so that after one a change of
    the first kind is still sought; after a step more or less that too, and whether another line's would do as well.
    """

    prices: Prices
    mends: list[Mend] = field(default_factory=list)
    by_chance: int = 0
    later: float = MOST_LATER
    made_anew: bool | None = None
    """Whether a model made anew agrees without any change, as one does that kept something: then none says anything."""

    @property
    def enough(self) -> bool:
        return self.by_chance == MOST_BY_CHANCE or any(_does(m) == REPLACES for m in self.mends)

    def useful(self, mend: Mend) -> bool:
        """Whether it could say more than what was found, or show that this says less."""
        if mend.making and self.made_anew:
            return False
        if not self.mends:
            return True
        most = min(map(_does, self.mends))
        lines = {_at(m) for m in self.mends if _does(m) == most}
        unlike = most in (ALIKE, STEP) and _does(mend) == most and len(lines) == 1 and _at(mend) not in lines
        if self.later <= 0 or not (_does(mend) < most or unlike):
            return False
        self.later -= self.prices.of(mend)
        return True

    def told(self, source: Sources) -> Mended | None:
        best = min(self.mends, key=_does, default=None)
        if best is None:
            return None
        before, after = best.told((source.root / best.frame.file).read_bytes())
        lines = {_at(m) for m in self.mends if _does(m) == _does(best)}
        return Mended(best, before, after, alone=len(lines) == 1)


def _does(mend: Mend) -> int:
    if mend.light:
        return SIGN if mend.sign else REPLACES
    return ALIKE if mend.alike else STEP


def _at(mend: Mend) -> tuple[str, int]:
    return mend.frame.file, mend.frame.line


def _agreeing(
    ask: Try,
    tries: list[Mend],
    match: Match,
    allowed: float,
    budget: Budget,
    gate: Mapping[str, Any] | None,
    found: _Found,
) -> Iterator[Mend]:
    """The changes with which every output agrees, of those that are useful by the time they are tried. Raises Late."""
    slowest = seconds(match.candidate)
    more = {
        "seconds": min(LONGEST_PASS, SHORTEST_PASS + SLOWER * slowest),
        "gate": gate,
        "wanted": wanted(match.reference, (*match.wrong, *match.misplaced), allowed),
    }
    given = given_by(match.reference)
    deadline, size, tried = time.monotonic() + LONGEST, FIRST_BATCH, 0
    left = iter(tries)
    while batch := list(itertools.islice(filter(found.useful, left), size)):
        if time.monotonic() > deadline:
            raise Late(f"{tried} of {len(tries)} small changes of the source were tried in {LONGEST:g} s")
        try:
            result, arrays = ask({"edits": [as_asked(m) for m in batch], **more})
        except Unanswered as error:
            raise Late(f"a small change of the source ended the candidate's process: {error}") from error
        budget.spend(batch, found.prices)
        for index, (mend, one) in enumerate(zip(batch, result["tries"], strict=True)):
            rows = arrays.get(f"outputs.{index}")
            if rows is not None and agrees(given, given_in(one, rows), allowed):
                yield mend
        tried += len(batch)
        size = max(1, min(MOST_IN_BATCH, int(BATCH_SECONDS / slowest)))


def unchanged(mend: Mend) -> Mend:
    """What does all that a change does, but for the change."""
    edit = mend.edit
    return replace(mend, edit=replace(edit, end=edit.start, new=""), old="")


def as_asked(mend: Mend) -> dict[str, Any]:
    """A change as the observer reads it."""
    edit = mend.edit
    return {
        "file": mend.frame.file, "start": edit.start, "end": edit.end, "old": mend.old, "new": edit.new,
        "first": mend.first, "name": mend.name, "making": mend.making,
    }  # fmt: skip


def _suspected(match: Match, blamed: Blamed | None, origins: Mapping[str, Any]) -> Iterator[Suspected]:
    """Lines that may be at fault: the one that is blamed, those of what leads to it, and those that made its modules."""
    candidate, found = match.candidate, match.candidate_suspects
    region: list[Operation] = []
    if blamed is not None:
        operation, line, _ = blamed
        if line is not None:
            yield Suspected(line, 0, making=_makes(line, origins))
        region = [operation, *reversed(behind(candidate, found, operation))][:MOST_LINES]
    fronts = [candidate.operations[o] for o in found.fronts[:4]]
    for far, operations in ((1, region), (2, fronts)):
        for operation in operations:
            for depth, frame in enumerate(own(operation)):
                yield Suspected(frame, far + (depth > 0))
    paths = dict.fromkeys(o.path.partition("#")[0] for o in (*region, *fronts))
    right = {v.leaf for v in candidate.values if v.leaf.startswith(BUFFER) and _tells(match, v)}
    for path in paths:
        for stack in _making(path, origins, right):
            for depth, frame in enumerate(stack):
                yield Suspected(frame, 3 + (depth > 1), making=True)


def _tells(match: Match, value: Value) -> bool:
    """Whether the reference has this value too, and not by chance as it may have one number over and over."""
    norm, total = match.candidate.vectors[value.number][:2]
    constant = abs(total) >= norm * value.count**0.5 * (1 - CONSTANT)
    return match.known_candidate.good(value.number) and not constant


def _making(path: str, origins: Mapping[str, Any], right: Collection[str] = ()) -> Iterator[list[Frame]]:
    """The lines that made a module, and those that gave it what it holds, but for buffers that are `right`."""
    about = origins.get(path, {})
    for name, (_, stack) in about.get("set", {}).items():
        if BUFFER + f"{path}.{name}".lstrip(".") not in right:
            yield frames_of(stack)
    yield frames_of(about.get("made", ()))


def _makes(frame: Frame, origins: Mapping[str, Any]) -> bool:
    """Whether a line is in a function that ran while the model was made."""
    stacks = (stack for path in origins for stack in _making(path, origins))
    return any((f.file, f.function) == (frame.file, frame.function) for stack in stacks for f in stack)


def _spoken(match: Match, blamed: Blamed | None, origins: Mapping[str, Any]) -> Iterator[Frame]:
    """Lines of the reference that do what is suspected there."""
    reference, found = match.reference, match.reference_suspects
    if blamed is not None and blamed[2] is not None:
        yield blamed[2]
    operations = [reference.operations[o] for o in (*found.fronts[:4], *found.operations[:MOST_LINES])]
    for operation in operations:
        yield from own(operation)
    for path in dict.fromkeys(o.path.partition("#")[0] for o in operations):
        for stack in _making(path, origins):
            yield from stack
