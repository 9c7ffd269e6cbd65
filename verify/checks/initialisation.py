"""initialisation: do both sides start training from the same distribution, parameter by parameter?

Where both draw alike the values are equal to the bit and nothing is left to ask. Where they draw in another order, the
distributions are compared: a constant stays that constant; mean, spread and shape of a random one agree within what its
size lets them vary, and so do its largest values, those that repeat, and whether its rows depend on each other. Rows that
are not drawn, such as that of a padding token, are the same. What another seed does not change is not drawn: a table,
whose values agree as those of a buffer do.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from verify import mapping
from verify.checks import buffers, structure
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.compare import gap
from verify.report import Finding, Location
from verify.trace import BOTH, Answer, Ask, Trace

SUMMARY = "initial values or, where drawn in another order, their distribution"
RUNS_CASES = False

DEVIATIONS = 7.0
"""Standard errors that statistics of one distribution may lie apart. A normal variate does so once in 10^11 times."""

ALLOWED = f"{DEVIATIONS:g} standard errors, where values are drawn in another order"

TAIL = 34.0
"""How far the logarithms of two largest values may lie apart, in units of their tail's own rate. Where tails fall no
slower than by a power, chance does so in (1 + 34 / 61)^-61 of all draws, four times, which is less than 10^-11. That 40
values of one draw exceed all of another of as many is chance in 2^-39, which is less too."""

FEWEST_DISTINCT = 32
"""Of the 64 largest values. Fewer, and the distribution has steps there, for which that rule does not hold."""

DEPENDENT = 20.0
"""Standard errors from what independent values have at which rows are taken to depend on each other; within DEVIATIONS
they are not. One process does not give both."""

BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Random bits that a drawn value has at most, and by which two of them are equal by chance."""

FEWEST, FEWEST_FOR_SHAPE = 64, 1024
"""Below this many values mean and spread, or the kurtosis, are too far from normal for such a rule. Constants are always
judged."""

NOT_JUDGED = (
    "{} parameters differ in size, hold too few drawn values to judge, or are finite on neither side: {} is one"
)

SAMPLED = 65_536
"""Values among which a side seeks repeated ones, at most."""

Tables = tuple[NDArray[Any], NDArray[Any]]

NORMAL = 3.0
"""The kurtosis of a normal distribution."""


def plan(job: Job) -> list[Ask]:
    args = {"values": job.values_of("initialisation"), "seed": job.seed}
    return [Ask(key=job.key("initialisation"), op="initialisation", args=args)]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    r, c = reference.get(job.key("initialisation")), candidate.get(job.key("initialisation"))
    make = Maker(job=job, check="initialisation", group="parameters")
    outcome = Outcome(name="parameters", reason=ALLOWED)
    if r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
        yield outcome
        return
    yield from judged(make, outcome, r, c)


def judged(make: Maker, outcome: Outcome, r: Answer, c: Answer) -> Iterator[Outcome]:
    """`outcome` with what two answers to `initialisation`, or to `lacking`, show; and an outcome for what is not judged."""
    left, right = (answer.result or {} for answer in (r, c))
    recipes = mapping.resolve(make.job.spec.mapping, structure.shapes(left), structure.shapes(right)).recipes
    common = aligned(make, left, right)
    ours, others = ({p["name"]: p for p in side["parameters"]} for side in (left, right))
    passed: list[str] = []
    for name, theirs in common.items():
        if make.ignored(name):
            continue
        recipe = recipes.get(theirs)
        tables = _tables(recipe, r.arrays.get(name), c.arrays.get(theirs))
        decided, finding = _one(make, name, ours[name], others[theirs], tables)
        if finding is None and (recipe is None or recipe.plain):
            finding = _rows(make, name, ours[name], others[theirs])
            decided |= finding is not None
        outcome.compared += decided
        passed += [] if decided else [name]
        if finding is not None:
            places = {"reference": _place(left, ours[name]), "candidate": _place(right, others[theirs])}
            outcome.findings.append(finding.model_copy(update=places))
    if not common:
        outcome.skipped, outcome.reason = True, "no parameter is the same on both sides"
    elif passed and not outcome.compared:
        outcome.skipped, outcome.reason = True, NOT_JUDGED.format(len(passed), passed[0])
        passed = []
    yield outcome
    if passed:
        yield Outcome(name="not judged", skipped=True, reason=NOT_JUDGED.format(len(passed), passed[0]))


def _place(side: Mapping[str, Any], parameter: Mapping[str, Any]) -> Location | None:
    """The line that last filled a parameter; the class that holds it where a side does not tell."""
    return location(parameter.get("filled")) or structure.owner(side, parameter["name"])


def aligned(make: Maker, left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, str]:
    """What the candidate calls each of the reference's parameters that is neither cut nor joined."""
    recipes = mapping.resolve(make.job.spec.mapping, structure.shapes(left), structure.shapes(right)).recipes
    names = ({p["name"] for p in side["parameters"]} for side in (left, right))
    return dict(_aligned(recipes, *names))


def _aligned(
    recipes: Mapping[str, mapping.Recipe], left: Collection[str], right: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The reference's and the candidate's name of each parameter that is neither cut nor joined."""
    for theirs in right:
        recipe = recipes.get(theirs)
        if recipe is None and theirs in left:
            yield theirs, theirs
        elif recipe is not None and len(recipe.sources) == 1 and recipe.part is None:
            yield recipe.sources[0], theirs


def _tables(recipe: mapping.Recipe | None, ours: NDArray[Any] | None, theirs: NDArray[Any] | None) -> Tables | None:
    """The values of a parameter that neither side draws, both laid out as the candidate's."""
    if ours is None or theirs is None or ours.size != theirs.size:
        return None
    if recipe is not None and recipe.transpose:
        ours = ours.swapaxes(0, 1)
    return ours.reshape(theirs.shape), theirs


def _one(
    make: Maker, name: str, a: Mapping[str, Any], b: Mapping[str, Any], tables: Tables | None
) -> tuple[bool, Finding | None]:
    """Whether two initialisations could be compared, and the statistic that sets them apart, if one does."""
    if a["digest"] == b["digest"]:
        return True, None
    if a["count"] != b["count"]:  # another size is `structure`'s to tell
        return False, None
    if not (a["finite"] and b["finite"]):  # memory that nobody initialised
        if a["finite"] == b["finite"]:
            return False, None
        words = ["finite" if side["finite"] else "NaN or infinity" for side in (a, b)]
        return True, _finding(make, name, "kind", words[0], words[1], None)
    if tables is not None:
        return True, _table(make, name, (a, b), tables)
    steady = [side["steady"] for side in (a, b)]
    constant = [side["steady"] and side["lowest"] == side["highest"] for side in (a, b)]
    if any(steady) and not all(steady) and not any(constant):
        words = ["not drawn" if one else "drawn" for one in steady]
        return True, _finding(make, name, "kind", words[0], words[1], None)
    if any(constant):
        what = "lowest" if all(constant) else "spread"
        ours, theirs = (side[what] for side in (a, b))
        word = "value" if all(constant) else what
        return True, None if ours == theirs else _finding(make, name, word, ours, theirs, None)
    if not (a["spread"] and b["spread"]):  # one drawn value
        return False, None
    gaps = _gaps(a, b)
    for what, (distance, error) in gaps.items():
        if not distance <= DEVIATIONS * error:
            return True, _finding(make, name, what, a[what], b[what], DEVIATIONS * error)
    return bool(gaps), _structure(make, name, a, b) if gaps else None


def _structure(make: Maker, name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Finding | None:
    """What moments do not show: the largest values, repeated ones, and rows that depend on each other."""
    ours, theirs = a.get("tail"), b.get("tail")
    if ours and theirs:
        first: tuple[float, float] = ours["first"], theirs["first"]
        beyond = ours["ranked"] > first[1] or theirs["ranked"] > first[0]
        smooth = min(ours["distinct"], theirs["distinct"]) >= FEWEST_DISTINCT
        far = abs(math.log(first[0] / first[1])) > TAIL * min(ours["rate"], theirs["rate"])
        if beyond or (smooth and far):
            return _finding(make, name, "largest", *first, None)
    repeats: tuple[int, int] = a.get("repeats", 0), b.get("repeats", 0)
    by_chance = min(a["count"], SAMPLED) ** 2 / 2 ** min(BITS.get(side["dtype"], 8) for side in (a, b))
    allowed = DEVIATIONS * math.sqrt(sum(repeats)) + by_chance
    if abs(repeats[0] - repeats[1]) > allowed:
        return _finding(make, name, "repeats", *repeats, allowed)
    rows: list[float] = [side["rows"] for side in (a, b) if side.get("rows") is not None]
    if len(rows) == len(BOTH):
        near, far_off = sorted(abs(z) for z in rows)
        if near <= DEVIATIONS and far_off > DEPENDENT:
            said = ["independent" if abs(z) <= DEVIATIONS else f"{z:.0f} standard errors from that" for z in rows]
            return _finding(make, name, "rows", said[0], said[1], None)
    return None


def _rows(make: Maker, name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Finding | None:
    """Rows that no seed changes, such as that of a padding token, where both sides draw the rest."""
    held = [str(side.get("held", "")) for side in (a, b)]
    if a["steady"] or b["steady"] or a["shape"] != b["shape"] or held[0] == held[1]:
        return None
    return _finding(make, name, "set of rows that no seed changes", held[0] or "none", held[1] or "none", None)


def _table(
    make: Maker, name: str, sides: tuple[Mapping[str, Any], Mapping[str, Any]], tables: Tables
) -> Finding | None:
    """The value at which two tables lie furthest apart, if by more than a buffer may."""
    spacing = max(buffers.SPACING.get(side["dtype"], 0.0) for side in sides)
    if spacing and buffers.ulps_apart(*tables, spacing) <= make.job.spec.tolerance.buffer_ulps:
        return None
    found = gap(*tables)
    return _finding(make, name, "value", found.reference, found.candidate, None) if found.different else None


def _gaps(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """By statistic: how far two draws lie apart, and the standard error of that, by the values that were drawn.

    spread: of its logarithm. zeros, ones: the share of them.
    """
    count = a["count"]
    pooled = math.sqrt((a["spread"] ** 2 + b["spread"] ** 2) / 2)
    kurtosis = max(a["kurtosis"], b["kurtosis"])
    found = {}
    if count >= FEWEST:
        found["mean"] = abs(a["mean"] - b["mean"]), pooled * math.sqrt(2 / count)
        found["spread"] = abs(math.log(b["spread"] / a["spread"])), math.sqrt(max(kurtosis - 1, 0.1) / (2 * count))
        for what in ("zeros", "ones"):
            many = [side.get(what, 0) for side in (a, b)]
            found[what] = abs(many[0] - many[1]) / count, math.sqrt(max(sum(many), 1)) / count
    if count >= FEWEST_FOR_SHAPE:
        # sqrt(24 / count) for a normal distribution; with heavier tails it grows no faster than the cube of the kurtosis.
        error = math.sqrt(2 * 24 / count) * max(kurtosis / NORMAL, 1.0) ** 3
        found["kurtosis"] = abs(a["kurtosis"] - b["kurtosis"]), error
    return found


def _finding(make: Maker, name: str, what: str, reference: Any, candidate: Any, allowed: float | None) -> Finding:
    a, b = (f"{v:.6g}" if isinstance(v, float) else str(v) for v in (reference, candidate))
    room = "" if allowed is None else f" ± {allowed:.2g}"
    details = {"what": what, "reference": a, "candidate": b}
    return make.finding("initialisation", name, details=details, measured=b, allowed=a + room)
