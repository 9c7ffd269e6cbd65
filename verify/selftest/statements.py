"""Faults of a statement, a function or a class. Operators as in `expressions`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from verify.edits import Edit, Function, Tree
from verify.selftest.expressions import Operator


def lost_statement(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A statement is left out."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.AnnAssign) and tree.function(node) is not None:
        yield tree.edit(node, "pass")


def lost_method(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A method that replaces an inherited one, or that others call, is not there."""
    if (
        isinstance(node, Function)
        and tree.owner(node) is tree.parents.get(node)
        and node.name not in ("__init__", "forward")
    ):
        owner = tree.owner(node)
        if owner is not None and len(owner.body) > 1 and not node.decorator_list:
            yield tree.edit(node, "pass")


def no_grad(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """No gradient flows through a whole forward."""
    if isinstance(node, Function) and node.name == "forward" and not node.decorator_list:
        start = tree.span(node)[0]
        new = f"@__import__('torch').no_grad()\n{' ' * node.col_offset}"
        yield Edit(start=start, end=start, new=new, line=node.lineno, last=node.lineno)


def other_default(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """An argument's default is another."""
    if isinstance(node, Function):
        for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            if isinstance(default, ast.Constant):
                value = default.value
                if isinstance(value, bool):
                    yield tree.edit(default, str(not value))
                elif isinstance(value, int | float):
                    yield tree.edit(default, repr(value * 2 if value else value + 1))
                elif value is None:
                    yield tree.edit(default, "True")


def swapped_parameters(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Two arguments of a function change places in its signature."""
    if isinstance(node, Function):
        plain = [
            a for a in node.args.args[: len(node.args.args) - len(node.args.defaults)] if a.arg not in ("self", "cls")
        ]
        for left, right in pairwise(plain):
            yield tree.swapped(left, right)


def sibling_variable(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Another local value of the same kind is used (the sine for the cosine, the keys for the queries)."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        function = tree.function(node)
        if function is not None:
            for group in _alike(tree, function):
                yield from (tree.edit(node, other) for other in group if node.id in group and other != node.id)


def _alike(tree: Tree, function: Function) -> list[list[str]]:
    """Names of a function that hold things of one kind: unpacked together, made alike, or annotated alike."""
    groups: list[list[str]] = []
    made: dict[str, list[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple):
                    groups.append([e.id for e in target.elts if isinstance(e, ast.Name)])
                elif isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
                    shape = re.sub(r"(id|attr)='\w+'|value=-?\w+", "", ast.dump(node.value))
                    made.setdefault(shape, []).append(target.id)
    kinds: dict[str, list[str]] = {}
    for argument in function.args.args:
        if argument.annotation is not None:
            kinds.setdefault(tree.text(argument.annotation), []).append(argument.arg)
    found = [list(dict.fromkeys(g)) for g in [*groups, *made.values(), *kinds.values()]]
    return [g for g in found if len(g) > 1]


def lost_return_value(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """One of several values that are returned is None."""
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        for part in node.value.elts:
            if not (isinstance(part, ast.Constant) and part.value is None):
                yield tree.edit(part, "None")


def renamed_attribute(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A submodule or parameter has another name everywhere in its class, so that checkpoints do not fit."""
    if not isinstance(node, ast.ClassDef):
        return
    text = tree.text(node)
    made = re.findall(r"self\.(\w+) = nn\.\w+\(", text)
    for name in dict.fromkeys(made):
        new = re.sub(rf"\bself\.{name}\b", f"self.{name}_", text)
        yield tree.edit(node, new)


def swapped_definitions(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Two submodules are made in another order, so that seeded initial values and parameter groups differ."""
    if isinstance(node, Function) and node.name == "__init__":
        makes = [s for s in node.body if isinstance(s, ast.Assign) and re.search(r"= nn\.\w+\(", tree.text(s))]
        for left, right in pairwise(makes):
            yield tree.swapped(left, right)


def frozen_parameter(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A parameter takes no gradient."""
    if (
        isinstance(node, ast.Call)
        and tree.text(node.func) in ("nn.Parameter", "torch.nn.Parameter")
        and len(node.args) == 1
    ):
        yield tree.edit(node, f"{tree.text(node.func)}({tree.text(node.args[0])}, requires_grad=False)")


def other_persistence(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A buffer is saved that was not, or not saved that was."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "register_buffer":
        given = [k for k in node.keywords if k.arg == "persistent"]
        if given:
            yield tree.edit(given[0].value, f"not {tree.text(given[0].value)}")
        else:
            end = tree.span(node)[1] - 1
            last = node.end_lineno or node.lineno
            yield Edit(start=end, end=end, new=", persistent=False", line=node.lineno, last=last)


def scaled_initialisation(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """An initial value is twice as large."""
    if isinstance(node, ast.Call) and tree.text(node.func) in ("nn.Parameter", "torch.nn.Parameter") and node.args:
        yield tree.edit(node.args[0], f"2 * ({tree.text(node.args[0])})")
    if isinstance(node, ast.Expr) and re.match(r"(nn|torch\.nn)\.init\.\w+_\(", tree.text(node)):
        yield tree.edit(node, f"{tree.text(node)}.data.mul_(2)")


OPERATORS: dict[str, Operator] = {
    operator.__name__.replace("_", "-"): operator
    for operator in (
        lost_statement, lost_method, no_grad, other_default, swapped_parameters, sibling_variable, lost_return_value,
        renamed_attribute, swapped_definitions, frozen_parameter, other_persistence, scaled_initialisation,
    )
}  # fmt: skip
