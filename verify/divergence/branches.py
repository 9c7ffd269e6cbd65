"""Another way taken than the reference's: the `if` or `while` that decided."""

from __future__ import annotations

from verify.divergence.blame import behind
from verify.divergence.graph import Frame, Operation
from verify.divergence.sources import Sources
from verify.divergence.trials import Match

READS = ("_local_scalar_dense", "is_nonzero", "equal")
"""Operations that hand a tensor's value to Python, which may decide by it."""


def taken(match: Match, operation: Operation, frame: Frame, sources: Sources) -> Frame | None:
    """The `if` or `while` around the blamed line, where its test read a tensor's value just before and only the
    candidate went this way."""
    around = sources.branch(frame.file, frame.line)
    if around is None:
        return None
    tests = range(around.lineno, (around.test.end_lineno or around.lineno) + 1)
    for earlier in match.candidate.operations[: operation.order]:
        place = earlier.frame
        if earlier.short in READS and place is not None and place.file == frame.file and place.line in tests:
            return Frame(frame.file, around.lineno, frame.function, True, -1)
    return None


def untaken(match: Match, maker: Operation, file: str, sources: Sources) -> Frame | None:
    """Where the candidate's file has a step that only the reference made, behind an `if` that was not taken."""
    candidate, reference = match.candidate, match.reference
    used = {root for roots, _ in candidate.anchors for root in roots}
    missing = behind(reference, match.reference_suspects, maker)
    before = [reference.producer(n) for n in reference.ancestors(maker.outputs[0])] if maker.outputs else []
    read = {r for o in (*missing, *before) if o is not None for r in map(reference.root, o.inputs)}
    names = {part for root in read - used for part in root.split(".")[:-1] if not part.isdigit()}
    ran = {f.line: f for o in candidate.operations for f in o.stack if f.own and f.file == file}
    line = sources.untaken(file, names, set(ran)) if names else None
    if line is None:
        return None
    around = sources.function(file, line)
    function = next(f.function for f in ran.values() if sources.function(file, f.line) is around)
    return Frame(file, line, function, True, -1)
