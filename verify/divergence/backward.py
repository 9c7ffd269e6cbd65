"""The first gradient that differs, in the order in which gradients flow back, and the operation that handed it on.

Forward values agree, so the two runs are aligned by them. A value is where two gradients can be compared: how much one
output moves with it. The first value whose gradient differs while those of everything made of it agree was handed a wrong
gradient by an operation in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import Known, align
from verify.divergence.graph import PARTS, VIEWS, Frame, Graph, Operation
from verify.divergence.sources import Sources

Vector = NDArray[np.float64]
State = Literal["same", "differs"]
SMALLEST = 1e-7
"""Share of the largest gradient below which one counts as none: what only rounding makes differs between equal models."""
WHOLE = 14
"""Entries of a print; see `observer/prints.py`."""
MOST_VIEWS = 50
MOST_SEEN = 2000
"""Values looked at on the way from one to an earlier one that holds the same numbers."""
CUTS = frozenset({"detach"})


@dataclass(frozen=True, kw_only=True)
class Handed:
    """The operation that hands on a wrong gradient.

    kind: cut (the candidate's lets no gradient through, the reference's does), uncut (the other way round) or differs.
    leaves: parameters and inputs that it reaches, as "parameter:NAME".
    """

    kind: Literal["cut", "uncut", "differs"]
    operation: Operation
    candidate: Frame | None
    reference: Frame | None
    counterpart: Operation | None
    gap: float
    leaves: frozenset[str]


@dataclass
class Flow:
    """One side's run with the gradient of each value that has one. required: values that take part in training."""

    graph: Graph
    gradients: dict[int, Vector]
    required: frozenset[int]
    sources: Sources
    largest: float = field(init=False)
    inner: frozenset[int] = field(init=False)
    """Values made within the `forward` of a custom autograd function, which has no gradients: what it returns alone is a
    step of its own, and how it hands a gradient on is written in its `backward`."""

    def __post_init__(self) -> None:
        within = (o for o in self.graph.operations if self.function(o) is not None)
        self.inner = frozenset(n for o in within for n in o.outputs) - self.required
        self.largest = max((float(v[0]) for v in self.gradients.values() if np.isfinite(v[0])), default=0.0)

    @classmethod
    def read(cls, data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], sources: Sources) -> Flow:
        """sources: of the side that sent it. Raises KeyError, TypeError, ValueError or IndexError for what is no record: a side is not trusted."""
        graph = Graph.read(data, arrays)
        table = np.asarray(arrays["gradients"], dtype=np.float64)
        numbers = [int(n) for n in data["graded"]]
        gradients = {n: row for n, row in zip(numbers, table, strict=True) if graph.values[n]}
        return cls(graph, gradients, frozenset(int(n) for n in data["required"]), sources)

    def function(self, operation: Operation) -> Frame | None:
        """The `backward` of the custom autograd function in whose `forward` an operation was done."""
        for frame in (f for f in operation.stack if f.own):
            found = self.sources.backward(frame.file, frame.line)
            if found is not None:
                return Frame(frame.file, found[0], found[1], True, -1)
        return None

    def total(self, numbers: Iterable[int]) -> Vector:
        """The prints of the sum of gradients, which is right for entries that are linear; the first is no less than its
        norm."""
        return sum((self.gradients[n] for n in numbers if n in self.gradients), np.zeros(WHOLE))

    def trains(self, number: int) -> bool:
        """Whether a gradient can reach a value, or what it is a view of: what is saved for later is a view of its own."""
        for _ in range(MOST_VIEWS):
            if number in self.required:
                return True
            maker = self.graph.producer(number)
            if maker is None or maker.short not in VIEWS | PARTS or _cuts_off(self.graph, maker):
                return False
            number = maker.inputs[0]
        return False


@dataclass(frozen=True)
class Twins:
    """All values of the candidate, and all of the reference, that hold the same numbers and are no views or copies."""

    mine: tuple[int, ...]
    theirs: tuple[int, ...]


def first_gradient(reference: Flow, candidate: Flow, allowed: float) -> Handed | None:
    """The last value of the forward pass whose gradient differs, and what is to blame. None where nothing can be told."""
    cut = _cut_output(reference, candidate)
    if cut is not None:
        return cut
    twins = _twins(reference, candidate, align(candidate.graph, reference.graph, allowed))
    states: dict[int, State] = {}
    theirs: dict[int, State] = {}
    for one in twins:
        state = _state(reference, candidate, one, allowed)
        states |= dict.fromkeys(one.mine, state)
        theirs |= dict.fromkeys(one.theirs, state)
    wrong = {number: one for one in twins for number in one.mine if states[number] == "differs"}
    for number in sorted(wrong, key=lambda n: -_last(candidate, n)):
        region = _between(candidate, number, states)
        if region is not None:
            other = _between(reference, wrong[number].theirs[0], theirs) or []
            return _blamed(reference, candidate, wrong[number], (region, other))
    return None


def _cut_output(reference: Flow, candidate: Flow) -> Handed | None:
    """An output that takes part in training in the reference alone, because the last step to it cuts it off."""
    for path, number in candidate.graph.outputs.items():
        theirs = reference.graph.outputs.get(path)
        maker = candidate.graph.producer(number)
        if theirs is None or maker is None or number in candidate.required:
            continue
        if reference.trains(theirs) and _cuts_off(candidate.graph, maker):
            counterpart = reference.graph.producer(reference.graph.behind(theirs))
            return Handed(
                kind="cut", operation=maker, candidate=maker.frame,
                reference=counterpart.frame if counterpart is not None else None, counterpart=counterpart,
                gap=1.0, leaves=_leaves(candidate.graph, number),
            )  # fmt: skip
    return None


def _twins(reference: Flow, candidate: Flow, known: Known) -> list[Twins]:
    found: dict[int, tuple[list[int], set[int]]] = {}
    for value in candidate.graph.values:
        theirs = [t for t in known.twins.get(value.number, ()) if _made(reference, t)]
        if value.kind != "whole" and known.good(value.number) and theirs and _made(candidate, value.number):
            mine, others = found.setdefault(min(theirs), ([], set()))
            mine.append(value.number)
            others.update(theirs)
    return [
        Twins(_first_of(candidate.graph, mine), _first_of(reference.graph, theirs)) for mine, theirs in found.values()
    ]


def _first_of(graph: Graph, numbers: Iterable[int]) -> tuple[int, ...]:
    """Of values that hold the same numbers those that come from none of the others: their gradients add up."""
    ordered = sorted(numbers)
    return tuple(n for place, n in enumerate(ordered) if not place or not _comes_from(graph, n, ordered[:place]))


def _comes_from(graph: Graph, number: int, earlier: list[int]) -> bool:
    """Whether a value is made of any of some earlier ones. Looks no further back than those, and not for ever: copies
    of one value lie near each other."""
    wanted, first = set(earlier), min(earlier)
    seen, todo = {number}, [number]
    while todo and len(seen) < MOST_SEEN:
        maker = graph.producer(todo.pop())
        fresh = {n for n in maker.inputs if n >= first} - seen if maker is not None else set()
        if fresh & wanted:
            return True
        seen |= fresh
        todo += fresh
    return False


def _made(flow: Flow, number: int) -> bool:
    """Whether a value is no view, part or copy of another: the gradient of those is only part of what it is by."""
    if number in flow.inner:
        return False
    graph = flow.graph
    maker = graph.producer(number)
    return maker is None or maker.short not in VIEWS | PARTS


def _state(reference: Flow, candidate: Flow, one: Twins, allowed: float) -> State:
    """Whether one output moves alike with these numbers on both sides, wherever each side uses them."""
    a, b = candidate.total(one.mine), reference.total(one.theirs)
    floor = SMALLEST * max(reference.largest, candidate.largest)
    scale = max(a[0], b[0])
    if scale <= floor:
        return "same"
    x, y = candidate.graph.values[one.mine[0]], reference.graph.values[one.theirs[0]]
    entries = [1, *range(4, 8)] if x.squeezed == y.squeezed else [1]
    if len(one.mine) == len(one.theirs) == 1:
        entries = [0, 2, *entries]
    limit = (allowed * scale + floor) * max(x.count, 1) ** 0.5
    with np.errstate(invalid="ignore"):
        return "same" if bool((np.abs(a[entries] - b[entries]) <= limit).all()) else "differs"


def _last(flow: Flow, number: int) -> int:
    """Where in the order of execution a value is first read: a parameter has no place of its own."""
    maker = flow.graph.producer(number)
    return maker.order if maker is not None else min(flow.graph.consumers.get(number, [-1]))


def _between(flow: Flow, number: int, states: Mapping[int, State]) -> list[Operation] | None:
    """The operations from a value to the next ones that both sides have, in order; None where a gradient differs there."""
    orders: set[int] = set()
    todo, seen = [number], {number}
    while todo:
        for order in flow.graph.consumers.get(todo.pop(), ()):
            orders.add(order)
            for made in flow.graph.operations[order].outputs:
                if made in seen:
                    continue
                seen.add(made)
                state = states.get(made)
                if state == "differs":
                    return None
                if state is None:
                    todo.append(made)
    return [flow.graph.operations[order] for order in sorted(orders)]


def _blamed(
    reference: Flow,
    candidate: Flow,
    twins: Twins,
    regions: tuple[list[Operation], list[Operation]],
) -> Handed | None:
    """What of the operations that read a value is at fault, or what made it without a gradient. regions: candidate's and
    reference's operations from the value to the next ones that both sides have."""
    region, other = regions
    made = _made_without(candidate, twins.mine, reference, twins.theirs)
    made_theirs = _made_without(reference, twins.theirs, candidate, twins.mine)
    cut, uncut = (next(iter(_cuts(flow, ops)), None) for flow, ops in ((candidate, region), (reference, other)))
    cut = made or cut
    own = [o for o in region if o.frame is not None and o.frame.own] or region
    plain = [o for o in own if o.short not in VIEWS] or own
    if cut is None and not plain:
        return None
    operation, counterpart = cut or plain[0], next((o for o in other if o.short not in VIEWS), None)
    if made is not None:
        counterpart = reference.graph.producer(twins.theirs[0])
    elif made_theirs is not None:
        operation, counterpart = candidate.graph.producer(twins.mine[0]) or operation, made_theirs
        uncut = made_theirs
    elif cut is None and uncut is not None:
        counterpart = uncut
    frame, custom = _line(candidate, operation, cut=cut is not None)
    a, b = candidate.total(twins.mine), reference.total(twins.theirs)
    return Handed(
        kind="cut" if cut else "uncut" if uncut and not custom else "differs",
        operation=operation,
        candidate=frame,
        reference=counterpart.frame if counterpart is not None else None,
        counterpart=counterpart,
        gap=float(np.abs(a - b)[:8].max() / (max(a[0], b[0]) or 1.0)),
        leaves=_leaves(candidate.graph, twins.mine[0]),
    )


def _made_without(flow: Flow, numbers: Iterable[int], other: Flow, twins: Iterable[int]) -> Operation | None:
    """What made a value that takes part in training on the other side alone, of what takes part in it on this one."""
    numbers = list(numbers)
    if any(n in flow.required for n in numbers) or not any(n in other.required for n in twins):
        return None
    maker = flow.graph.producer(numbers[0])
    while maker is not None:
        if any(flow.trains(n) for n in maker.inputs):
            return maker
        makers = [flow.graph.producer(n) for n in maker.inputs]
        maker = next((one for one in makers if one is not None), None)
    return None


def _line(flow: Flow, operation: Operation, *, cut: bool) -> tuple[Frame | None, bool]:
    """The line to look at, and whether it is that of a `backward` written by hand.

    Of what is cut, the innermost `with` or decorator around it that switches gradients off.
    """
    for outer in operation.stack if cut and operation.short not in CUTS else ():
        off = flow.sources.without_gradient(outer.file, outer.line) if outer.own else None
        if off is not None:
            return Frame(outer.file, off, outer.function, True, -1), False
    custom = None if cut else flow.function(operation)
    return custom or operation.frame, custom is not None


def _cuts(flow: Flow, operations: list[Operation]) -> list[Operation]:
    """Operations that are given what trains and make what does not, those that always do so first."""
    found = []
    for operation in operations:
        made = [n for n in operation.outputs if flow.graph.values[n].kind != "whole"]
        given = any(flow.trains(n) for n in operation.inputs)
        if flow.function(operation) is not None:  # there no gradient is kept, and none is lost
            continue
        if _cuts_off(flow.graph, operation) or (given and made and not any(flow.trains(n) for n in made)):
            found.append(operation)
    return sorted(found, key=lambda o: (o.short not in CUTS, o.order))


def _cuts_off(graph: Graph, operation: Operation) -> bool:
    """Whether somebody wrote a detach here. Autograd has its own, of what it saves: at the very call that made it."""
    maker = graph.producer(operation.inputs[0]) if operation.inputs else None
    return operation.short in CUTS and not (maker is not None and maker.stack == operation.stack)


def _leaves(graph: Graph, number: int) -> frozenset[str]:
    """The parameters and inputs that a value comes from."""
    return frozenset(leaf for n in graph.ancestors(number) if (leaf := graph.values[n].leaf))
