"""Hypotheses: which candidate value stands for which reference value. Each is tried by putting one in the other's place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import Known
from verify.divergence.graph import VIEWS, Graph, Operation
from verify.divergence.suspects import Suspects, anchor_pairs, correlation, shared_names, supports

HORIZON = 48
"""Suspect operations, from the first on, whose outputs are tried."""
MOST_TRIALS = 160
MOST_SWAPS = 6
FEWEST_SWAPPED = 8
COMMUTE = frozenset({"add", "mul", "maximum", "minimum"})
"""Operations that do not tell one of two operands from the other."""
ALIKE = 0.5
"""Least share of common origins of values that may stand for each other."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Put the reference's values `pairs` in the place of the candidate's (candidate value, reference value).

    feeds: (candidate operation, candidate value, reference value): only that operation reads the reference's value.
    operation, counterpart: what is blamed if all agrees then; weight: how likely it looked. `whole`: every call of the
    place is replaced, so that one fault in a repeated line is one fault.
    """

    operation: int
    counterpart: int | None
    weight: float
    pairs: tuple[tuple[int, int], ...] = ()
    feeds: tuple[tuple[int, int, int], ...] = ()
    whole: bool = False
    axes: tuple[int, ...] | None = None
    swap: bool = False
    """The values that take each other's place are the candidate's own; see `swaps`."""

    @property
    def primary(self) -> tuple[int, int]:
        """The first pair of values, for the layout."""
        return self.pairs[0] if self.pairs else self.feeds[0][1:]


@dataclass
class Match:
    """Both graphs with what is known of each to the other, and the suspects of both.

    misplaced: outputs whose value the reference has, at another place; wrong: the others that differ.
    """

    reference: Graph
    candidate: Graph
    known_reference: Known
    known_candidate: Known
    reference_suspects: Suspects
    candidate_suspects: Suspects
    misplaced: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    anchors: dict[int, int] = field(default_factory=dict)
    support: dict[int, frozenset[Any]] = field(default_factory=dict)
    reference_support: dict[int, frozenset[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.anchors = anchor_pairs(self.candidate, self.known_candidate, self.reference)
        theirs, mine = shared_names(self.reference, self.known_reference, self.candidate, self.known_candidate)
        self.support = supports(self.candidate, self.candidate_suspects, mine)
        self.reference_support = supports(self.reference, self.reference_suspects, theirs)

    @property
    def cut(self) -> bool:
        """Whether a side's record ends before its run did, so that what came first may lie behind the end."""
        return self.candidate.cut or self.reference.cut

    def likeness(self, mine: int, theirs: int) -> float:
        """Share of agreed values that two suspect operations come from, 0 to 1."""
        a, b = self.support.get(mine, frozenset()), self.reference_support.get(theirs, frozenset())
        return len(a & b) / len(a | b) if a or b else 0.0


def paired(match: Match, mine: Sequence[int], theirs: Sequence[int], short: str) -> list[tuple[int, int]]:
    """What two operations of a kind are given, one by one. Of two summands or factors the values that both sides have
    belong together, in whatever order they are written."""

    def same(a: int, b: int) -> bool:
        known = {n for n in (a, match.candidate.behind(a)) if match.known_candidate.good(n)}
        return match.reference.behind(b) in {
            match.reference.behind(t) for n in known for t in match.known_candidate.twins.get(n, ())
        }

    straight, crossed = list(zip(mine, theirs, strict=False)), list(zip(mine, reversed(theirs), strict=False))
    if (
        short in COMMUTE
        and len(mine) == len(theirs) == 2
        and sum(same(*p) for p in crossed) > sum(same(*p) for p in straight)
    ):
        return crossed
    return straight


def trials(match: Match) -> list[Trial]:
    """Hypotheses in order of execution, the likeliest of each operation first."""
    found: list[Trial] = []
    steps = 0
    for order in match.candidate_suspects.operations:
        operation = match.candidate.operations[order]
        mine = sorted(_of_operation(match, operation), key=lambda t: -t.weight)
        if mine:
            steps += 1
            found += mine[:7]
        if steps >= HORIZON or len(found) >= MOST_TRIALS:
            break
    return found


def own_value(number: int) -> int:
    """How a trial names a value of the candidate where it else names one of the reference."""
    return -1 - number


def swaps(match: Match) -> list[Trial]:
    """Two values made of one and the same, such as a cosine and a sine or two parts: each in the place of the other."""
    graph, found = match.candidate, list[Trial]()
    reach = graph.leading_to(match.candidate.outputs[path] for path in match.wrong)
    made: dict[tuple[Any, ...], list[int]] = {}
    for operation in graph.operations:
        if operation.short in VIEWS or not operation.inputs:
            continue
        for number in operation.outputs:
            value = graph.values[number]
            if value.kind == "float" and value.count >= FEWEST_SWAPPED and number in reach:
                made.setdefault((operation.inputs, value.shape), []).append(number)
    for numbers in made.values():
        for a, b in itertools.combinations(numbers, 2):
            maker = graph.producer(b)
            if maker is not None and len(found) < MOST_SWAPS:
                pairs = ((a, own_value(b)), (b, own_value(a)))
                found.append(Trial(maker.order, None, 10.0, pairs, whole=True, swap=True))
    return found


def _of_operation(match: Match, operation: Operation) -> Iterator[Trial]:
    candidate, reference = match.candidate, match.reference
    inner_view = operation.short in VIEWS and any(n in match.candidate_suspects.values for n in operation.inputs)
    if operation.order in match.anchors:
        yield from _feeds(match, operation, reference.operations[match.anchors[operation.order]])
    if inner_view:
        return
    for place, number in enumerate(operation.outputs):
        value = candidate.values[number]
        if match.known_candidate.good(number) and number not in match.candidate_suspects.values:
            continue
        if value.count < 2 or value.kind == "whole":
            continue
        seen: set[int] = set()
        for twin, weight in sorted(_counterparts(match, operation, number), key=lambda item: -item[1]):
            if twin not in seen and len(seen) < 5:
                seen.add(twin)
                one = _replacing(match, operation, place, number, twin, weight)
                yield one
                kin = _kin(match, operation, place, one)
                if kin is not None:
                    yield kin


def _counterparts(match: Match, operation: Operation, number: int) -> Iterator[tuple[int, float]]:
    """Reference values that may be what a candidate value should be, with weights."""
    candidate, reference = match.candidate, match.reference
    value = candidate.values[number]
    anchor = match.anchors.get(operation.order)
    if anchor is not None:
        for twin in reference.operations[anchor].outputs[:1]:
            yield twin, 8.0
    for reader in _readers(candidate, number):
        pair = match.anchors.get(reader.order)
        if pair is not None:
            mine, theirs = candidate.data(reader), reference.data(reference.operations[pair])
            if len(mine) == len(theirs):
                for a, b in paired(match, mine, theirs, reader.short):
                    if candidate.behind(a) == candidate.behind(number) and reference.values[b].count == value.count:
                        yield reference.behind(b), 7.0
    for order in match.reference_suspects.operations:
        theirs_operation = reference.operations[order]
        if theirs_operation.short in VIEWS and any(
            n in match.reference_suspects.values for n in theirs_operation.inputs
        ):
            continue
        for twin in theirs_operation.outputs:
            other = reference.values[twin]
            if other.count != value.count or other.kind != value.kind:
                continue
            likeness = match.likeness(operation.order, order)
            if likeness >= ALIKE:
                shape = 0.5 * (other.squeezed == value.squeezed) + 0.5 * (theirs_operation.short == operation.short)
                yield twin, 5.0 * likeness + shape - 1e-4 * order
    for path, mine_out in candidate.outputs.items():
        if (
            number in (mine_out, candidate.behind(mine_out))
            and path in reference.outputs
            and reference.values[reference.outputs[path]].count == value.count
        ):
            yield reference.outputs[path], 6.0


def _readers(graph: Graph, number: int, depth: int = 6) -> Iterator[Operation]:
    """Operations that read a value, directly or through views."""
    for order in graph.consumers.get(number, ()):
        operation = graph.operations[order]
        yield operation
        if operation.short in VIEWS and depth:
            for output in operation.outputs:
                yield from _readers(graph, output, depth - 1)


def _replacing(match: Match, operation: Operation, place: int, number: int, twin: int, weight: float) -> Trial:
    """A trial for one value, and with it for those of all calls of the same place, where both sides call as often."""
    candidate, reference = match.candidate, match.reference
    maker = reference.producer(twin)
    blamed = reference.producer(reference.behind(twin))
    pairs = [(number, twin)]
    whole = False
    if maker is not None:
        slot = maker.outputs.index(twin)
        for deep in (False, True):
            mine, theirs = candidate.instances(operation, deep=deep), reference.instances(maker, deep=deep)
            if len(mine) != len(theirs) or mine.index(operation.order) != theirs.index(maker.order):
                continue
            found = [
                (candidate.operations[a].outputs, reference.operations[b].outputs)
                for a, b in zip(mine, theirs, strict=True)
            ]
            all_pairs = [(a[place], b[slot]) for a, b in found if len(a) > place and len(b) > slot]
            alike = [(a, b) for a, b in all_pairs if candidate.values[a].count == reference.values[b].count]
            if len(alike) == len(mine):
                pairs = [(number, twin), *(p for p in alike if p != (number, twin))]
                whole = True
                break
    return Trial(
        operation=operation.order, counterpart=None if blamed is None else blamed.order, weight=weight,
        pairs=tuple(pairs), whole=whole,
    )  # fmt: skip


def _kin(match: Match, operation: Operation, place: int, trial: Trial) -> Trial | None:
    """The trial for all operations of its kind that read a parameter, at whatever line: one eps of all norms."""
    pair = match.anchors.get(operation.order)
    if pair is None or trial.counterpart != pair or place:
        return None
    pairs = []
    for order, other in match.anchors.items():
        mine, theirs = match.candidate.operations[order], match.reference.operations[other]
        if (
            mine.name == operation.name
            and mine.scalars == operation.scalars
            and theirs.name == match.reference.operations[pair].name
        ):
            a, b = mine.outputs[0], theirs.outputs[0]
            if match.candidate.values[a].count == match.reference.values[b].count:
                pairs.append((a, b))
    if set(pairs) <= set(trial.pairs) or trial.pairs[0] not in pairs:
        return None
    pairs = [trial.pairs[0], *(p for p in pairs if p != trial.pairs[0])]
    return Trial(trial.operation, trial.counterpart, trial.weight - 0.01, tuple(pairs), whole=True)


def _feeds(match: Match, operation: Operation, theirs: Operation) -> Iterator[Trial]:
    """Where an operation reads a known value and its counterpart reads another: give it that one.

    All operations that read the same value as it and whose counterparts read that one too are given it: queries, keys
    and values of one norm that was left out.
    """
    candidate, reference = match.candidate, match.reference
    mine, other = candidate.data(operation), reference.data(theirs)
    if len(mine) != len(other):
        return
    for a, b in paired(match, mine, other, operation.short):
        if a in match.candidate_suspects.values or candidate.values[a].count != reference.values[b].count:
            continue
        wanted = reference.behind(b)
        if wanted in {
            reference.behind(t) for n in (a, candidate.behind(a)) for t in match.known_candidate.twins.get(n, ())
        }:
            continue
        feeds = [(operation.order, a, b)]
        for order, pair in sorted(match.anchors.items()):
            x, y = candidate.data(candidate.operations[order]), reference.data(reference.operations[pair])
            if (
                len(x) == len(y) == 1
                and candidate.behind(x[0]) == candidate.behind(a)
                and reference.behind(y[0]) == wanted
            ):
                feeds.append((order, x[0], y[0]))
        everywhere = [f for feed in feeds for f in _everywhere(match, feed)]
        whole = tuple(dict.fromkeys([*feeds, *everywhere]))
        yield Trial(
            operation=operation.order, counterpart=theirs.order, weight=9.0, feeds=whole, whole=bool(everywhere)
        )


def _everywhere(match: Match, feed: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """The same feed for every call of the operation's place, where both sides call as often."""
    order, number, wanted = feed
    candidate, reference = match.candidate, match.reference
    operation, theirs = candidate.operations[order], reference.operations[match.anchors[order]]
    slot, other = operation.inputs.index(number), theirs.inputs.index(wanted)
    mine, counterparts = candidate.instances(operation), reference.instances(theirs)
    if len(mine) == len(counterparts) > 1:
        for a, b in zip(mine, counterparts, strict=True):
            x, y = candidate.operations[a].inputs, reference.operations[b].inputs
            if len(x) > slot and len(y) > other and candidate.values[x[slot]].count == reference.values[y[other]].count:
                yield a, x[slot], y[other]


def layouts(shape: tuple[int, ...], target: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Axis orders of `shape` after which it can be reshaped to `target` by merging and splitting whole axes."""
    if not 2 <= len(shape) <= 5:
        return []
    plain = tuple(range(len(shape)))
    wide = [n for n in target if n != 1]
    found = []
    seen = set()
    for axes in itertools.permutations(plain):
        turned = tuple(shape[a] for a in axes)
        order = tuple(a for a in axes if shape[a] != 1)
        if order in seen:
            continue
        seen.add(order)
        if axes != plain and _fits([n for n in turned if n != 1], wide):
            found.append(axes)
    return found


def _fits(sizes: list[int], target: list[int]) -> bool:
    """Whether one list of sizes becomes the other by merging or splitting neighbours, boundary by boundary."""
    ends = set(itertools.accumulate(target, lambda a, b: a * b))
    own = set(itertools.accumulate(sizes, lambda a, b: a * b))
    return own <= ends or ends <= own


def with_layouts(trial: Trial, mine: Mapping[int, Array], theirs: Mapping[int, Array]) -> list[Trial]:
    """The trial as it is and in other axis orders that fit, the closest in value first, at most three."""
    a, b = trial.primary
    if a not in mine or b not in theirs or mine[a].size != theirs[b].size:
        return []
    options: list[tuple[float, tuple[int, ...] | None]] = [(correlation(mine[a], theirs[b]), None)]
    squeezed = tuple(n for n in mine[a].shape if n != 1) == tuple(n for n in theirs[b].shape if n != 1)
    for axes in layouts(theirs[b].shape, mine[a].shape):
        options.append((correlation(mine[a], theirs[b].transpose(axes)), axes))
    if squeezed:
        return [trial]
    options.sort(key=lambda o: -o[0])
    return [
        Trial(trial.operation, trial.counterpart, trial.weight, trial.pairs, trial.feeds, trial.whole, axes)
        for _, axes in options[:2]
    ]
