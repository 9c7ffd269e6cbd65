"""What is seeded: one change of source text, or one fault of a live module; and which of all that could be, are."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from verify.edits import Edit, Tree
from verify.selftest import expressions, rewrites, statements


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of the candidate. place: "file:line" or the path of a module.

    file, edit: for source, relative to the candidate's folder. fault: for a live module, see `observer/perturb.py`.
    """

    kind: str
    place: str
    harmless: bool = False
    file: str = ""
    edit: Edit | None = None
    fault: Mapping[str, Any] | None = None

    def text(self, source: bytes) -> str:
        """What is changed: a diff of the source without context, or the fault's place in words."""
        if self.edit is None:
            about = self.fault or {}
            return " ".join(f"{k}={v}" for k, v in about.items() if k != "kind" and v is not None)
        before, after = (s.decode("utf-8", "replace").splitlines() for s in (source, self.edit.apply(source)))
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        return "\n".join(line for line in lines if not line.startswith("@@"))


SOURCE_KINDS = {**expressions.OPERATORS, **statements.OPERATORS}


def of_source(file: str, source: bytes) -> list[Mutant]:
    """Every fault and every harmless rewrite that the operators find in a file. None where it is no Python.

    Some of the changed texts may be no programs; see `compiles`.
    """
    try:
        tree = Tree(source)
    except (SyntaxError, ValueError):
        return []
    found = []
    for operators, harmless in ((SOURCE_KINDS, False), (rewrites.OPERATORS, True)):
        for kind, operator in operators.items():
            for node in tree.nodes:
                for edit in operator(tree, node):
                    place = f"{file}:{edit.line}"
                    found.append(Mutant(kind=kind, place=place, harmless=harmless, file=file, edit=edit))
    return found


def compiles(source: bytes) -> bool:
    """Whether a text is a program."""
    try:
        compile(source, "model", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def in_turn(sites: Iterable[Mutant], seed: int) -> Iterator[Mutant]:
    """Every site, shuffled within its kind, one of each kind before the second of any. The seed alone decides."""
    by_kind: dict[str, list[Mutant]] = {}
    for site in sites:
        by_kind.setdefault(site.kind, []).append(site)
    for kind, group in by_kind.items():
        random.Random(f"{seed}/{kind}").shuffle(group)
    for row in zip_longest(*(by_kind[kind] for kind in sorted(by_kind))):
        yield from (site for site in row if site is not None)
