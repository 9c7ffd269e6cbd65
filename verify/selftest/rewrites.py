"""Harmless rewrites of source: what a person may do to tidy up. A gate that reports one of them raises a false alarm."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from verify.edits import Edit, Function, Tree
from verify.selftest.expressions import Operator

SAFE_METHODS = {"view": "reshape", "transpose": "swapaxes"}


def factors_turned(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """a * b as b * a."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and _calm(node):
        yield tree.edit(node, f"(({tree.text(node.right)}) * ({tree.text(node.left)}))")


def difference_as_sum(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """a - b as a + -b."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        yield tree.edit(node, f"({tree.text(node.left)} + -({tree.text(node.right)}))")


def doubly_negated(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """if c as if not not c."""
    if isinstance(node, ast.If | ast.IfExp):
        yield tree.edit(node.test, f"not (not ({tree.text(node.test)}))")


def through_a_function(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """f(x) as (lambda: f(x))()."""
    if (
        isinstance(node, ast.Call)
        and tree.function(node) is not None
        and _calm(node)
        and "super" not in tree.text(node)
    ):
        owner = tree.parents[node]
        if not isinstance(owner, ast.Starred | ast.withitem) and not isinstance(tree.parents.get(owner), ast.ClassDef):
            yield tree.edit(node, f"(lambda: {tree.text(node)})()")


def copied_value(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A layer's result is copied before it is used on."""
    if not (isinstance(node, ast.Call) and isinstance(tree.parents[node], ast.BinOp | ast.Call)):
        return
    layer = re.match(r"self\.\w*(proj|norm|fc\d|mlp|embed|linear)\w*\(", tree.text(node))
    if layer and _is_forward(tree, node):
        yield tree.edit(node, f"{tree.text(node)}.clone()")


def other_method(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """view as reshape, transpose as swapaxes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAFE_METHODS:
        end = tree.span(node.func)[1]
        old = node.func.attr
        line = node.func.end_lineno or node.lineno
        yield Edit(start=end - len(old), end=end, new=SAFE_METHODS[old], line=line, last=line)


def added_pass(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A statement that does nothing before another."""
    if isinstance(node, ast.Assign | ast.Return | ast.AugAssign) and tree.function(node) is not None:
        start = tree.span(node)[0]
        new = f"_unused = None\n{' ' * node.col_offset}"
        if tree.source[:start].rpartition(b"\n")[2].strip() == b"":
            yield Edit(start=start, end=start, new=new, line=node.lineno, last=node.lineno)


def returned_by_name(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """return f(x) as r = f(x), then return r."""
    if isinstance(node, ast.Return) and node.value is not None:
        start = tree.span(node)[0]
        if tree.source[:start].rpartition(b"\n")[2].strip() == b"":
            value = f"({tree.text(node.value)})"
            yield tree.edit(node, f"_result = {value}\n{' ' * node.col_offset}return _result")


def renamed_local(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A local variable has another name."""
    if not isinstance(node, Function):
        return
    inside = list(ast.walk(node))
    if any(isinstance(n, Function | ast.Lambda | ast.ClassDef) for n in inside[1:]) or "locals()" in tree.text(node):
        return
    arguments = {n.arg for n in inside if isinstance(n, ast.arg | ast.keyword)}
    stored = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for name in sorted(stored - arguments):
        text = tree.text(node)
        if re.search(rf"[.'\"{{]{name}\b|\b{name}=[^=]", text):  # an attribute or a word in a text of the same name
            continue
        yield tree.edit(node, re.sub(rf"\b{name}\b", f"{name}_value", text))


def swapped_methods(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Two methods of a class change places in the file."""
    if isinstance(node, ast.ClassDef):
        for left, right in pairwise(node.body):
            if all(isinstance(m, Function) and not m.decorator_list for m in (left, right)):
                yield tree.swapped(left, right)


def _calm(node: ast.AST) -> bool:
    """Whether a piece can be moved into another expression: it binds no name and yields nothing."""
    return not any(isinstance(n, ast.NamedExpr | ast.Yield | ast.Await | ast.Starred) for n in ast.walk(node))


def _is_forward(tree: Tree, node: ast.AST) -> bool:
    function = tree.function(node)
    return function is not None and function.name == "forward"


OPERATORS: dict[str, Operator] = {
    operator.__name__.replace("_", "-"): operator
    for operator in (
        factors_turned, difference_as_sum, doubly_negated, through_a_function, copied_value, other_method, added_pass,
        returned_by_name, renamed_local, swapped_methods,
    )
}  # fmt: skip
