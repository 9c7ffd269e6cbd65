"""training: in train mode, with the same random draws, is every output the same, and the eval pass after it?

Dropout is above zero here, and what either side draws is replaced by the same values (see `observer/randomness.py`), so
that the comparison is as sharp as that of `forward`. Which draws there are is compared too: their number, sizes and
probabilities. Where outputs agree another number of draws is a note. Where the sides draw as many numbers in other pieces,
which attention head by head does, or mask the same tensors in another order, they cannot be given the same masks; the pass
is then one that drops nothing.

Further passes in train mode, which drop nothing, show what changes from step to step: a rate that warms up, a teacher that
follows. And the first case runs once more with other values in saved flags and counters, as in `forward`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from verify.checks import buffers, passes, structure
from verify.checks.base import Job, Maker, Outcome, location, unanswered
from verify.checks.passes import Pass
from verify.mapping import inverse
from verify.report import Verdict
from verify.trace import BOTH, Answer, Ask, Trace

SUMMARY = "train mode with the same random draws: outputs, what it changes, the eval pass after it, further steps"
RUNS_CASES = True

CHECK = "training"
OTHER_PIECES = (
    "both sides draw as many numbers, but in other pieces, so that they cannot be given the same masks; compared are "
    "passes that drop nothing"
)
OTHER_ORDER = (
    "both sides mask the same tensors, but in another order, so that they cannot be given the same masks; compared are "
    "passes that drop nothing"
)
SAME = 1e-4
"""How far prints of what two dropouts mask may lie apart, relative to their norm, and be those of one tensor."""

Draw = tuple[int, float | None]
"""Size, and the probability of a one where it is known."""


def plan(job: Job) -> list[Ask]:
    asks = structure.plan(job)
    for name in job.cases(CHECK):
        asks.append(job.ask("training", CHECK, name))
        asks.append(job.ask("training", CHECK, name, "noise", sides=("reference",), nudged=True))
    return [*asks, *passes.state_asks(job, CHECK)]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    structures = [trace.get(job.key("structure")).result or {} for trace in (reference, candidate)]
    names = {
        own: word
        for group in structure.GROUPS
        for own, word in buffers.in_reference_words(job, structures[0], structures[1], group).items()
    }
    for name in job.cases(CHECK):
        key = job.key(CHECK, name)
        r, c, noise = reference.get(key), candidate.get(key), reference.get(job.key(CHECK, name, "noise"))
        make = Maker(job=job, check=CHECK, group=name)
        if lacking := unanswered(make, r, c, noise):
            yield Outcome(name=name, findings=lacking)
            continue
        outcomes = list(_case(job, name, name, (r, c, noise), names))
        yield from outcomes
        if name == job.cases(CHECK)[0] and not any(o.verdict in (Verdict.DIFFERENT, Verdict.ERROR) for o in outcomes):
            yield from passes.of_state(
                job,
                CHECK,
                reference,
                candidate,
                lambda make, case, three: _whole(make, list(_case(job, case, make.group, three, names))),
            )


def _whole(make: Maker, outcomes: list[Outcome]) -> Outcome:
    """Several outcomes of one pass as one."""
    found = [finding for outcome in outcomes for finding in outcome.findings]
    return Outcome(name=make.group, compared=sum(outcome.compared for outcome in outcomes), findings=found)


def _case(job: Job, name: str, group: str, answers: passes.Three, names: Mapping[str, str]) -> Iterator[Outcome]:
    """group: what the outcomes are called by. names: what the reference calls the candidate's buffers and parameters."""
    theirs = inverse(job.spec.mapping.outputs)
    arithmetic = job.scenes[CHECK, name].case.arithmetic
    r, c, noise = answers
    left, right, moved = passes.read(r), passes.read(c, theirs, sections=True), passes.read(noise)

    def against(make: Maker, section: str) -> Outcome:
        ours, others, nudged = (side.section(section) for side in (left, right, moved))
        return passes.compared(make, ours, others, nudged, arithmetic, mapped=bool(theirs))

    masks = other_masks(answers[0], answers[1])
    form = "even-" if masks else ""
    outcome = against(Maker(job=job, check=CHECK, group=group), f"{form}train")
    _draws(Maker(job=job, check=CHECK, group=group), outcome, answers)
    yield outcome
    first = [outcome]
    if masks:
        yield Outcome(name=f"{group} masks", skipped=True, reason=masks)
    named = passes.read(c, names, sections=True)

    def left_behind(section: str, title: str) -> Iterator[Outcome]:
        ours, others = left.section(section), named.section(section)
        if ours.leaves or others.leaves:
            make = Maker(job=job, check=CHECK, group=f"{group} {title}")
            # buffers are in no container: that of the outputs is the first group's
            yield passes.compared(make, ours, others, moved.section(section), arithmetic, mapped=True)

    for changed in left_behind(f"{form}buffer", "buffers"):
        first.append(changed)
        yield changed
    make = Maker(job=job, check=CHECK, group=f"{group} after")
    after = against(make, f"{form}after")
    _restored(make, after, (left, right, moved), arithmetic)
    yield after
    if all(one.verdict == Verdict.EQUAL for one in first):  # else further steps say the same once more
        yield against(Maker(job=job, check=CHECK, group=f"{group} later"), "later")
        yield from left_behind("later-buffer", "later buffers")


def _counted(answer: Answer) -> Counter[Draw]:
    """What a side drew, by size and probability."""
    return Counter(map(_draw, (answer.result or {}).get("draws", [])))


def other_masks(reference: Answer, candidate: Answer) -> str:
    """Why both sides cannot be given the same masks though they draw alike; empty where they can."""
    if _in_other_pieces(reference, candidate):
        return OTHER_PIECES
    return OTHER_ORDER if _in_other_order(reference, candidate) else ""


def _in_other_order(reference: Answer, candidate: Answer) -> bool:
    """Whether dropouts of one size and probability mask the same tensors, and not in the same order."""
    ours, theirs = map(_masked, (reference, candidate))
    if ours.keys() != theirs.keys() or any(len(ours[draw]) != len(theirs[draw]) for draw in ours):
        return False
    moved = False
    for draw, prints in ours.items():
        rest = list(theirs[draw])
        moved |= not all(map(_one_tensor, prints, rest))
        for one in prints:
            place = next((i for i, other in enumerate(rest) if _one_tensor(one, other)), None)
            if place is None:
                return False
            del rest[place]
    return moved


def _masked(answer: Answer) -> dict[Draw, list[list[float]]]:
    """Prints of what each dropout of a pass that drops nothing is given, in order, by size and probability."""
    found: dict[Draw, list[list[float]]] = {}
    for draw in (answer.result or {}).get("even_draws", []):
        if draw.get("masked") is not None:
            found.setdefault(_draw(draw), []).append(draw["masked"])
    return found


def _one_tensor(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(abs(x - y) <= SAME * abs(a[0]) for x, y in zip(a, b, strict=True))


def _in_other_pieces(reference: Answer, candidate: Answer) -> bool:
    """Whether both sides draw as many numbers with the same probabilities, but not in draws of the same sizes.

    Attention head by head does so. The same masks cannot be given to both then.
    """
    a, b = _counted(reference), _counted(candidate)
    return a != b and _totals(a) == _totals(b)


def _totals(draws: Counter[Draw]) -> Counter[float | None]:
    """How many numbers were drawn, by probability."""
    totals: Counter[float | None] = Counter()
    for (size, keep), count in draws.items():
        totals[keep] += size * count
    return totals


def _draws(make: Maker, outcome: Outcome, answers: Sequence[Answer]) -> None:
    """What is drawn, by size and probability. A finding where that may be why outputs differ, else a note."""
    a, b = _counted(answers[0]), _counted(answers[1])
    if make.ignored("draws") or a == b:
        return
    first = [
        next((location(d["location"]) for d in (answer.result or {})["draws"] if more[_draw(d)]), None)
        for answer, more in zip(answers, (a - b, b - a), strict=False)
    ]
    differ = any(f.kind in ("output-values", "not-finite") for f in outcome.findings)
    values = differ and not other_masks(answers[0], answers[1])  # there outputs are those without any mask
    outcome.findings.append(
        make.finding(
            "draws",
            "draws",
            Verdict.DIFFERENT if values else Verdict.NOTE,
            details={"reference": _told(a - b), "candidate": _told(b - a)},
            measured=b.total(),
            allowed=a.total(),
            reference=first[0],
            candidate=first[1],
        )
    )


def _draw(draw: Mapping[str, Any]) -> Draw:
    return int(draw["size"]), None if draw["keep"] is None else round(float(draw["keep"]), 9)


def _told(draws: Counter[Draw]) -> str:
    """Two draws of 96 values, each 1 with probability 0.75."""
    if not draws:
        return "nothing more"
    return "; ".join(
        f"{count} x {size} values" + ("" if keep is None else f", kept with probability {keep:g}")
        for (size, keep), count in sorted(draws.items(), key=str)
    )


def _restored(make: Maker, outcome: Outcome, sides: Sequence[Pass], arithmetic: str) -> None:
    """Whether each side's eval pass after training is the one before it, where training changed no buffer. A note where
    neither is: outputs may depend on a count of steps, and the passes after it are compared with each other."""
    changed = []
    for name, side in zip(BOTH, sides[:2], strict=True):
        if side.section("buffer").leaves:
            continue
        before, after = side.section("before"), side.section("after")
        found = passes.values(make, before, after, sides[2].section("before"), arithmetic)
        outcome.compared += len(found) if passes.proves(before, found) else 0
        top = passes.worst(found)
        if top is not None and top.bad:
            changed.append((name, top, {"bad": sum(v.bad for v in found), "count": len(found)}))
    for name, top, counts in changed:
        outcome.findings.append(
            make.finding(
                "eval-changed",
                top.path,
                Verdict.NOTE if len(changed) == len(BOTH) else Verdict.DIFFERENT,
                details={"side": name, **counts},
                measured=top.gap.relative,
                allowed=top.tolerance.allowed,
            )
        )
