"""What a class's source alone tells.

Where it keeps something from one call to the next: what `forward`, and the methods that it names, write to the object, and
which of them have their results cached. And what the constructor, and the methods that it names, compute and do not use.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from verify.edits import Function

CALLED, MAKING = ("__call__", "forward"), ("__init__",)
WRITES = frozenset({"append", "extend", "insert", "setdefault"})
ALONE = frozenset({"add", "update", "pop", "clear", "remove"})
"""Methods that write where nothing is done with what they give: a tensor's `add` gives another tensor."""
CACHES = frozenset({"cache", "lru_cache", "cached_property"})


def keeping(tree: ast.Module, line: int) -> tuple[int, str] | None:
    """The first line that keeps something of the class defined at `line`, and the method's name, of those that a call of
    the module runs."""
    found = [(n, name) for name, method in called_by(tree, line) for n in _lines(method)]
    return min(found, default=None)


def called_by(tree: ast.Module, line: int) -> list[tuple[str, Function]]:
    """Names and nodes of the methods that a call of the module runs whose class is defined at `line`."""
    owners = (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and _starts(n) <= line <= n.body[0].lineno)
    owner = next(owners, None)
    return [(f"{owner.name}.{method.name}", method) for method in _run(owner, CALLED)] if owner is not None else []


def unused(tree: ast.Module, line: int) -> tuple[int, str] | None:
    """Of the class around `line`, the first line that gives a name a value that nothing reads, and the method's name, of the
    methods that run while an object is made: what read it may be lost."""
    owners = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.lineno <= line <= (n.end_lineno or 0)]
    owner = max(owners, key=lambda n: n.lineno, default=None)
    if owner is None:
        return None
    found = [(n, f"{owner.name}.{method.name}") for method in _run(owner, MAKING) for n in _idle(method)]
    return min(found, default=None)


def _idle(method: Function) -> Iterator[int]:
    names = [n for n in ast.walk(method) if isinstance(n, ast.Name)]
    read = {n.id for n in names if not isinstance(n.ctx, ast.Store)}
    for node in ast.walk(method):
        if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id not in read for t in node.targets):
            yield node.lineno


def _run(owner: ast.ClassDef, first: tuple[str, ...]) -> list[Function]:
    """These methods and those that they run, by the names in them."""
    methods = {n.name: n for n in owner.body if isinstance(n, Function)}
    todo, found = [name for name in first if name in methods], dict[str, Function]()
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = methods[name]
            named = (n.attr for n in ast.walk(methods[name]) if isinstance(n, ast.Attribute) and _is_self(n.value))
            todo += [other for other in named if other in methods]
    return list(found.values())


def _starts(owner: ast.ClassDef) -> int:
    return min([owner.lineno, *(d.lineno for d in owner.decorator_list)])


def _lines(method: Function) -> Iterator[int]:
    for decorator in method.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if getattr(called, "attr", getattr(called, "id", "")) in CACHES:
            yield decorator.lineno
    alone = {n.value for n in ast.walk(method) if isinstance(n, ast.Expr)}
    for node in ast.walk(method):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(_of_self(part) for target in targets for part in _parts(target)):
                yield node.lineno
        elif isinstance(node, ast.Call) and _writes(node, alone=node in alone):
            yield node.lineno


def _writes(call: ast.Call, *, alone: bool) -> bool:
    """Whether a call writes to `self` or to what it holds."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in ("setattr", "__setattr__"):
        return bool(call.args) and _is_self(call.args[0])
    if not isinstance(call.func, ast.Attribute):
        return False
    in_place = name.endswith("_") and not name.endswith("__")
    writes = name in WRITES or in_place or (alone and name in ALONE)
    return (writes and _of_self(call.func.value)) or (name == "register_buffer" and _is_self(call.func.value))


def _parts(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _parts(part)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


def _of_self(node: ast.expr) -> bool:
    """Whether it is an attribute of `self`, or of what that holds."""
    held = isinstance(node, ast.Attribute | ast.Subscript)
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return held and _is_self(node)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
