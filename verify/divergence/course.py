"""What a pass says of the lines that it ran: which ran too late to be at fault, and which made nothing that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.divergence.graph import Graph, outward

Line = tuple[str, int]
"""A file and a line of it, from 1."""


@dataclass(frozen=True)
class Course:
    """first: of each line that led to operations, the first of them; right: those that themselves asked for operations, none
    of which is suspect; until: how many operations the difference was there after, or None where that is not known; uncalled: the last
    names of modules that no operation ran in."""

    first: Mapping[Line, int] = field(default_factory=dict)
    right: frozenset[Line] = frozenset()
    until: int | None = None
    uncalled: frozenset[str] = frozenset()

    def late(self, file: str, lines: Iterable[int]) -> bool:
        """Whether all that these lines led to came after the difference."""
        begun = [self.first[file, line] for line in lines if (file, line) in self.first]
        return self.until is not None and bool(begun) and min(begun) >= self.until

    def innocent(self, file: str, lines: Iterable[int]) -> bool:
        """Whether these lines made something, and nothing wrong. What they made may still be the wrong thing to make."""
        return any((file, line) in self.right for line in lines)


def course(graph: Graph, suspect: Collection[int], until: int | None, modules: Iterable[str] = ()) -> Course:
    """suspect: operations by order. until: see Course. modules: paths of all that the model has."""
    first: dict[Line, int] = {}
    asked: dict[Line, bool] = {}
    for one in graph.operations:
        for frame in one.stack:
            first.setdefault((frame.file, frame.line), one.order)
        if one.frame is not None:
            at = (one.frame.file, one.frame.line)
            asked[at] = asked.get(at, False) or one.order in suspect
    right = frozenset(at for at, wrong in asked.items() if not wrong)
    return Course(first, right, until, frozenset(_uncalled(graph, modules)))


def _uncalled(graph: Graph, modules: Iterable[str]) -> Iterator[str]:
    called = {part for path in {o.path.partition("#")[0] for o in graph.operations} for part in outward(path)}
    for path in modules:
        name = path.rpartition(".")[2]
        if name.isidentifier() and path not in called:
            yield name


def reach(graph: Graph, gate: Mapping[str, Any] | None) -> int | None:
    """How many operations run until the gate's module is left for the last time; None where they all may.

    gate: as `observer/mended.py` has it.
    """
    if gate is None or not gate["path"]:
        return None
    path = str(gate["path"])
    paths = ((one.order, one.path.partition("#")[0]) for one in graph.operations)
    return max((order + 1 for order, p in paths if p == path or p.startswith(f"{path}.")), default=None)
