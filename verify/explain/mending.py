"""Tries small changes of the candidate's source around what is blamed: which one makes every output agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from verify.divergence.blame import behind
from verify.divergence.graph import Frame, Operation
from verify.divergence.mending import Budget, Mend, Suspected, agrees, given_by, given_in, mends, seconds, wanted
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


Try = Callable[[Mapping[str, Any]], Reply]
"""Asks the candidate for a pass of `mended` with more arguments. Raises Unanswered."""
Blamed = tuple[Operation, Frame | None, Frame | None]
"""The candidate's operation, its line and the reference's."""


class Late(Exception):
    """Not all changes that should be tried were."""


@dataclass(frozen=True)
class Mended:
    """A change that makes every output agree. before, after: the changed lines as they are and as they would be."""

    mend: Mend
    before: str
    after: str


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
    likely = mends(lines, sources["candidate"], sources["reference"], theirs)
    limit = min(LONGEST_PASS, SHORTEST_PASS + SLOWER * seconds(match.candidate))
    tries = budget.affordable([m for m in likely if meant is None or meant(m)], match.candidate)
    more = {
        "seconds": limit, "gate": gate, "wanted": wanted(match.reference, (*match.wrong, *match.misplaced), allowed),
    }  # fmt: skip
    theirs_give = given_by(match.reference)
    deadline, start, chance = time.monotonic() + LONGEST, 0, 0
    size = max(1, min(MOST_IN_BATCH, int(BATCH_SECONDS / seconds(match.candidate))))
    while start < len(tries):
        batch = tries[start : start + (size if start else FIRST_BATCH)]
        try:
            result, arrays = ask({"edits": [as_asked(m) for m in batch], **more})
        except Unanswered as error:
            raise Late(f"a small change of the source ended the candidate's process: {error}") from error
        for index, (mend, one) in enumerate(zip(batch, result["tries"], strict=True)):
            budget.spend([mend], match.candidate)
            rows = arrays.get(f"outputs.{index}")
            if rows is None or not agrees(theirs_give, given_in(one, rows), allowed):
                continue
            if holds is None or holds(mend):
                source = (sources["candidate"].root / mend.frame.file).read_bytes()
                return Mended(mend, *mend.told(source))
            chance += 1
            if chance == MOST_BY_CHANCE:
                return None
        start += len(batch)
        if time.monotonic() > deadline and start < len(tries):
            raise Late(f"{start} of {len(tries)} small changes of the source were tried in {LONGEST:g} s")
    return None


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
    for path in paths:
        for stack in _making(path, origins):
            for depth, frame in enumerate(stack):
                yield Suspected(frame, 2 + (depth > 1), making=True)


def _making(path: str, origins: Mapping[str, Any]) -> Iterator[list[Frame]]:
    """The lines that made a module, and those that gave it what it holds."""
    about = origins.get(path, {})
    for _, stack in about.get("set", {}).values():
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
