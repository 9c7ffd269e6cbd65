"""Outputs that hold what the reference returns elsewhere or uses inside: the line that chose what is returned."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verify.divergence.graph import Frame, Operation
from verify.divergence.names import called_in_turn, handed_on
from verify.divergence.operands import after_difference, beside, common, final_readers, missing_call, own
from verify.divergence.sources import Sources
from verify.divergence.trials import Match


@dataclass(frozen=True)
class Misplaced:
    """held: what made the value that is returned; maker: in the reference, the one that should be. missing: whether the
    candidate lacks the step that made it."""

    held: Operation
    frame: Frame
    maker: Operation | None
    missing: bool


def misplaced(match: Match, sources: Sources) -> Misplaced | None:
    """Of several outputs that hold another value than they should, the one that is chosen in the innermost function in
    which both that value and the right one are at hand. None where no operation made any of them."""
    found: list[tuple[int, Misplaced]] = []
    for path in match.misplaced:
        held = match.candidate.producer(match.candidate.behind(match.candidate.outputs[path]))
        wanted = match.reference.outputs[path]
        maker = match.reference.producer(match.reference.behind(wanted))
        twins = match.known_reference.twins.get(wanted, [])
        right = match.candidate.producer(match.candidate.behind(twins[0])) if twins else None
        if held is None or not own(held):
            continue
        if right is None and maker is not None:  # the last step was left out
            depth = len(own(maker))
            call = missing_call(match, maker)
            moved = called_in_turn(sources, call) if call is not None else _handed_on(match, path, held, sources)
            found.append((depth, Misplaced(held, moved or own(held)[max(len(own(held)) - depth, 0)], maker, True)))
            continue
        depth = _shared(held, right)
        frame = _passed_by(match, twins[0], own(right), depth) if right is not None else None
        frame = frame or _returned(path, held, right, depth, sources)
        found.append((depth, Misplaced(held, frame, maker, False)))
    return max(found, key=lambda item: item[0])[1] if found else None


def _handed_on(match: Match, path: str, held: Operation, sources: Sources) -> Frame | None:
    """The line that only hands a value on, by name, to the one that returns it in another layout."""
    last = match.candidate.producer(match.candidate.outputs[path])
    between = beside(own(last), own(held)) if last is not None else None
    return handed_on(sources, between[0], between[1:]) if between is not None else None


def _shared(held: Operation, right: Operation | None) -> int:
    """How many functions, from the outside, the makers of two values have in common, as far as both are the same call."""
    mine, theirs = own(held), own(right) if right is not None else []
    depth = max(common(mine, theirs)[0], 1)
    names = [o.path.partition("#")[0] for o in (held, right) if o is not None]
    if len(set(names)) == 2:  # two calls of one function
        apart = after_difference(*names) - 1
        depth = max(min(depth, len(mine) - max(apart, 1)), 1)
    return depth


def _passed_by(match: Match, number: int, stack: list[Frame], depth: int) -> Frame | None:
    """The line of a function that makes the right value and itself uses it up, so that nothing else can be given it."""
    if len(stack) < depth:
        return None
    line = stack[len(stack) - depth]
    readers = [own(reader) for reader in final_readers(match.candidate, match.candidate.behind(number))]
    stays = [len(r) >= depth and r[len(r) - depth].line == line.line for r in readers]
    return line if stays and all(stays) else None


def _returned(path: str, held: Operation, right: Operation | None, depth: int, sources: Sources) -> Frame:
    """The line that returns a value under its name in the outputs, after both values are made."""
    stacks = [own(o) for o in (held, right) if o is not None]
    frame = max((stack[len(stack) - depth] for stack in stacks if len(stack) >= depth), key=lambda f: f.line)
    named = sources.keyword_after(frame.file, frame.line, re.split(r"[.\[]", path)[0])
    line = named or sources.after(frame.file, frame.line)
    return frame if line is None else Frame(frame.file, line, frame.function, True, -1)
