"""A module that nothing calls, though the reference computes with the parameters that it holds: the line that names it. Or one
that is called, and gives something else than what it does: the line in which it returns."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from verify.divergence.constructed import parameters_of, parameters_read
from verify.divergence.graph import Frame, outward
from verify.divergence.kept import called_by
from verify.divergence.sources import Sources
from verify.divergence.trials import Match


def uncalled(
    match: Match, sources: Sources, origins: Mapping[str, Any], calls: Iterable[Mapping[str, Any]]
) -> Frame | None:
    """The first line of its holder's `forward` that names the first such module. None where no line does.

    calls: those of the candidate's modules, with where the class of each, or of what holds it, is.
    """
    places = {str(call["path"]): call["own_location"] for call in calls}
    lacks = (
        name
        for order in match.reference_suspects.operations
        for name in sorted(
            parameters_of(match.reference, match.reference.operations[order]) - parameters_read(match.candidate)
        )
    )
    for name in lacks:
        path, _, part = name.rpartition(".")
        if part not in origins.get(path, {}).get("holds", ()) or path in places:
            continue
        holder = next((p for p in outward(path) if p in places), None)
        if holder is not None:
            return _named(sources, places[holder], path.removeprefix(holder).lstrip(".").partition(".")[0])
    return None


def returned_otherwise(
    match: Match, sources: Sources, origins: Mapping[str, Any], calls: Iterable[Mapping[str, Any]]
) -> Frame | None:
    """Where a module returns that is called and computes nothing strange, though the first of what is missing that reads
    parameters is computed in the reference's module of that name, with its own.

    calls: as for `uncalled`. None where its class returns in several lines, or in none.
    """
    places = {str(call["path"]): call["own_location"] for call in calls}
    strange = (match.candidate.operations[o].path.partition("#")[0] for o in match.candidate_suspects.operations)
    busy = {part for path in strange for part in outward(path)}
    missing = (match.reference.operations[o] for o in match.reference_suspects.operations)
    first = next((o for o in missing if parameters_of(match.reference, o)), None)
    if first is None:
        return None
    path = first.path.partition("#")[0]
    holds = {f"{path}.{name}" for name in origins.get(path, {}).get("holds", ())}
    if path not in places or path in busy or not parameters_of(match.reference, first) & holds:
        return None
    return _returned(sources, places[path])


def _returned(sources: Sources, place: Any) -> Frame | None:
    """The one line in which what a class's call runs first returns something."""
    tree = sources.tree(str(place["file"])) if place else None
    for function, method in called_by(tree, int(place["line"])) if tree is not None else ():
        lines = {node.lineno for node in ast.walk(method) if isinstance(node, ast.Return)}
        return Frame(str(place["file"]), lines.pop(), function, True, -1) if len(lines) == 1 else None
    return None


def _named(sources: Sources, place: Any, name: str) -> Frame | None:
    """The first line of what a class's call runs that reads an attribute of its object."""
    tree = sources.tree(str(place["file"])) if place else None
    for function, method in called_by(tree, int(place["line"])) if tree is not None else ():
        for node in ast.walk(method):
            if not isinstance(node, ast.Attribute) or node.attr != name or not isinstance(node.ctx, ast.Load):
                continue
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                return Frame(str(place["file"]), node.lineno, function, True, -1)
    return None
