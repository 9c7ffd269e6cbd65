"""A side's source files, read by the parent: excerpts, the function around a line, where a value was first written.

Paths come from the side and are not trusted: only regular files inside the side's folder are read, none larger than
MOST_BYTES.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from verify.divergence.graph import Frame
from verify.edits import Tree

MOST_BYTES = 2**22
AROUND = 2
LONGEST_LINE = 200
SWITCHES = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})
"""What switches gradients off, in torch."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Choice = ast.If | ast.While | ast.IfExp


@dataclass
class Sources:
    """The files of one side, under `root`."""

    root: Path
    _texts: dict[str, list[str] | None] = field(default_factory=dict)
    _trees: dict[str, ast.Module | None] = field(default_factory=dict)
    _editable: dict[str, Tree | None] = field(default_factory=dict)
    _backwards: dict[str, list[tuple[Function, Function, str]]] = field(default_factory=dict)

    def lines(self, file: str) -> list[str] | None:
        """The file's lines, or None where it is not a readable file inside the folder."""
        if file not in self._texts:
            self._texts[file] = self._read(file)
        return self._texts[file]

    def _read(self, file: str) -> list[str] | None:
        try:
            path = (self.root / file).resolve()
            if not path.is_relative_to(self.root.resolve()) or not path.is_file() or path.suffix != ".py":
                return None
            if path.stat().st_size > MOST_BYTES:
                return None
            return path.read_text(encoding="utf-8", errors="replace").splitlines()
        except (OSError, ValueError, RuntimeError):
            return None

    def tree(self, file: str) -> ast.Module | None:
        """The file's syntax tree, or None where it has none."""
        if file not in self._trees:
            lines = self.lines(file)
            try:
                self._trees[file] = ast.parse("\n".join(lines)) if lines is not None else None
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._trees[file] = None
        return self._trees[file]

    def editable(self, file: str) -> Tree | None:
        """The file as those see it that change it, to the byte; None where it has no syntax tree."""
        if file not in self._editable:
            self._editable[file] = None
            if self.tree(file) is not None:
                with contextlib.suppress(OSError, SyntaxError, ValueError, UnicodeDecodeError):
                    self._editable[file] = Tree((self.root / file).resolve().read_bytes())
        return self._editable[file]

    def excerpt(self, file: str, line: int) -> list[tuple[int, str]]:
        """Lines around a line, with their numbers; [] where the file cannot be read."""
        lines = self.lines(file)
        if lines is None or not 1 <= line <= len(lines):
            return []
        first, last = max(line - AROUND, 1), min(line + AROUND, len(lines))
        return [(n, lines[n - 1][:LONGEST_LINE]) for n in range(first, last + 1)]

    def function(self, file: str, line: int) -> Function | None:
        """The innermost function that a line is in."""
        tree = self.tree(file)
        found: Function | None = None
        if tree is not None:
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                    and node.lineno <= line <= (node.end_lineno or 0)
                    and (found is None or node.lineno >= found.lineno)
                ):
                    found = node
        return found

    def statement(self, file: str, line: int) -> ast.stmt | None:
        """The innermost statement that a line is in, without compound ones that merely contain it."""
        function = self.function(file, line)
        found: ast.stmt | None = None
        for node in ast.walk(function) if function is not None else ():
            if (
                isinstance(node, ast.stmt)
                and node.lineno <= line <= (node.end_lineno or node.lineno)
                and (found is None or node.lineno >= found.lineno)
            ):
                found = node
        return found

    def choice(self, file: str, line: int) -> Choice | None:
        """The `if`, `while` or conditional expression that decides by what a line reads: in its test, or by a name that
        the line gives a value and the first test after it reads."""
        function, statement = self.function(file, line), self.statement(file, line)
        if function is None or statement is None:
            return None
        choices = [n for n in ast.walk(function) if isinstance(n, Choice)]
        here = [n for n in choices if n.test.lineno <= line <= (n.test.end_lineno or 0)]
        if here:
            return max(here, key=lambda n: n.lineno)
        names = _targets(statement)
        read = [n for n in choices if n.test.lineno > line and names & {m.id for m in _names(n.test)}]
        return min(read, key=lambda n: n.lineno, default=None)

    def untaken(self, file: str, names: set[str], ran: set[int]) -> int | None:
        """The `if` one of whose ways uses an attribute of one of these names and was not gone, in a function that ran.

        ran: lines of the file that led to an operation. None where there is no such `if`, or there are several.
        """
        tree, found = self.tree(file), set[int]()
        for node in ast.walk(tree) if tree is not None else ():
            if not isinstance(node, ast.If):
                continue
            for way in (node.body, node.orelse):
                first, last = (way[0].lineno, way[-1].end_lineno or 0) if way else (0, -1)
                used = {n.attr for s in way for n in ast.walk(s) if isinstance(n, ast.Attribute)}
                function = self.function(file, node.lineno)
                if function is None or not used & names or any(first <= line <= last for line in ran):
                    continue
                if any(function.lineno <= line <= (function.end_lineno or 0) for line in ran):
                    found.add(node.test.lineno)
        return found.pop() if len(found) == 1 else None

    def given_both(self, frame: Frame, first: Frame, second: Frame) -> bool:
        """Whether a call at a line is handed what two other lines of the same function assigned, by name."""
        function, statement = self.function(frame.file, frame.line), self.statement(frame.file, frame.line)
        if statement is None or any(self.function(f.file, f.line) is not function for f in (first, second)):
            return False
        handed = {
            a.id
            for call in ast.walk(statement)
            if isinstance(call, ast.Call)
            for a in (*call.args, *(k.value for k in call.keywords))
            if isinstance(a, ast.Name)
        }
        names = [_targets(self.statement(f.file, f.line)) & handed for f in (first, second)]
        return all(names) and len(names[0] | names[1]) > 1

    def after(self, file: str, line: int) -> int | None:
        """The line of the `return` that follows a line in its function; None inside a loop or where there is none."""
        function = self.function(file, line)
        if function is None:
            return None
        for node in ast.walk(function):
            if isinstance(node, ast.For | ast.While) and node.lineno < line <= (node.end_lineno or 0):
                return None
        lines = [n.lineno for n in ast.walk(function) if isinstance(n, ast.Return) and n.lineno >= line]
        return min(lines, default=None)

    def keyword_after(self, file: str, line: int, name: str) -> int | None:
        """The line of the one argument of that name which the function around a line gives to some call later on."""
        function = self.function(file, line)
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call)] if function is not None else []
        found = {k.value.lineno for call in calls for k in call.keywords if k.arg == name and k.value.lineno > line}
        return found.pop() if len(found) == 1 else None

    def source(self, stack: list[Frame], name: str, *, argument: bool = False) -> Frame | None:
        """Where the value that a setting got was written: from the innermost frame outward while it is handed on as is, by
        keyword or place, or left at an argument's default; then where a name or attribute got it.

        stack: own frames, innermost first, of the line that set `name`; argument: whether `name` is what its function is
        given, and not what the line sets.
        """
        for depth, frame in enumerate(stack):
            function = self.function(frame.file, frame.line)
            given: ast.expr | None = ast.Name(name) if argument and depth == 0 else None
            if given is None:
                called = self.function(stack[depth - 1].file, stack[depth - 1].line) if depth else None
                given = self._given(frame, name, called, innermost=depth == 0)
                if given is None and depth > 0:
                    if self._spreads(frame):  # in some row of a table, or wherever else
                        return frame
                    default = _default(called, name) if called is not None else None
                    return stack[depth - 1] if default is None else self._written(stack[depth - 1], default)
            if not isinstance(given, ast.Name) or function is None:
                return self._written(frame, given) if given is not None else frame
            if given.id not in _arguments(function):
                return self._written(frame, given)
            name = given.id
        return stack[-1] if stack else None

    def _written(self, frame: Frame, expression: ast.expr) -> Frame:
        """Where a name or an attribute of `self` that a line reads was given a number, in its function, class or file; else
        where the expression is written."""
        name_of = frame.function.partition(".<")[0]  # without a comprehension in it
        here = Frame(frame.file, getattr(expression, "lineno", frame.line), name_of, True, -1)
        function, tree = self.function(frame.file, frame.line), self.tree(frame.file)
        if not isinstance(expression, ast.Name | ast.Attribute) or tree is None:
            return here
        blocks: list[tuple[list[ast.stmt], str]] = []
        if function is not None:
            before = [s for s in ast.walk(function) if isinstance(s, ast.stmt) and s.lineno < here.line]
            blocks.append((sorted(before, key=lambda s: s.lineno), ast.unparse(expression)))
        if isinstance(expression, ast.Name):
            blocks.append((tree.body, expression.id))
        elif isinstance(expression.value, ast.Name) and expression.value.id == "self":
            owner = _owner(tree, function) if function is not None else None
            blocks.append((owner.body if owner is not None else [], expression.attr))
        for block, name in blocks:
            for statement in reversed(block):
                if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant):
                    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                    if name in map(ast.unparse, targets):
                        top = block is tree.body
                        return Frame(
                            frame.file, statement.value.lineno, "<module>" if top else frame.function, True, -1
                        )
        return here

    def of_class(self, frame: Frame, name: str) -> Frame | None:
        """Where the class of a line's function gives an attribute of `self` a number."""
        expression = ast.Attribute(ast.Name("self"), name)
        found = self._written(frame, expression)
        return found if found.line != frame.line else None

    def _given(self, frame: Frame, name: str, called: Function | None, *, innermost: bool) -> ast.expr | None:
        """The expression that a line gives to an attribute, or to an argument of the function that it calls."""
        statement = self.statement(frame.file, frame.line)
        if statement is None:
            return None
        if innermost and isinstance(statement, ast.Assign):
            for target in statement.targets:
                found = _assigned(target, statement.value, name)
                if found is not None:
                    return found
        calls = [
            n for n in ast.walk(statement) if isinstance(n, ast.Call) and n.lineno <= frame.line <= (n.end_lineno or 0)
        ]
        for call in calls:
            for keyword in call.keywords:
                if keyword.arg == name:
                    return keyword.value
        words = self._names_of(frame, called)
        plain = [a for a in _arguments(called) if a not in ("self", "cls")] if called is not None else []
        for call in calls if name in plain else ():
            word = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            before = call.args[: plain.index(name) + 1]
            spread = any(isinstance(a, ast.Starred) for a in before)
            if word in words and len(before) > plain.index(name) and not spread:
                return before[-1]
        return None

    def _spreads(self, frame: Frame) -> bool:
        """Whether a call at a line is given arguments that it does not write out."""
        statement = self.statement(frame.file, frame.line)
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)] if statement is not None else []
        stars = (a.value for c in calls for a in c.args if isinstance(a, ast.Starred))
        rows = any(isinstance(value, ast.Name | ast.Attribute | ast.Subscript) for value in stars)
        return rows or any(k.arg is None for c in calls for k in c.keywords)

    def _names_of(self, frame: Frame, called: Function | None) -> set[str]:
        """How a call can name a function: by its own name, or of a constructor by its class."""
        if called is None:
            return set()
        trees = (self.tree(file) for file in {frame.file, *self._trees})
        owners = (_owner(tree, called) for tree in trees if tree is not None)
        return {called.name, *(owner.name for owner in owners if owner is not None)}

    def attributes(self, file: str, line: int) -> list[str]:
        """The attributes of `self` that the statement at a line reads, in the order in which they are written."""
        statement = self.statement(file, line)
        found = [n for n in ast.walk(statement) if isinstance(n, ast.Attribute)] if statement is not None else []
        own = [n for n in found if isinstance(n.value, ast.Name) and n.value.id == "self"]
        return [n.attr for n in sorted(own, key=lambda n: (n.lineno, n.col_offset))]

    def arguments(self, file: str, line: int) -> list[str]:
        """The arguments of its function that the statement at a line reads."""
        function, statement = self.function(file, line), self.statement(file, line)
        if function is None or statement is None:
            return []
        read = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        return [name for name in _arguments(function) if name in read and name not in ("self", "cls")]

    def writes(self, file: str, line: int, number: float) -> bool:
        """Whether a number is written at a line."""
        tree = self.tree(file)
        found = (n for n in ast.walk(tree) if isinstance(n, ast.Constant)) if tree is not None else ()
        return any(n.lineno == line and type(n.value) in (int, float) and n.value == number for n in found)

    def mentions(self, stack: list[Frame], name: str, others: Collection[str]) -> bool:
        """Whether what the innermost line gives to an attribute is made of any of some names, and not one of them as is."""
        given = self._given(stack[0], name, None, innermost=True) if stack else None
        return (
            given is not None and not isinstance(given, ast.Name) and bool({n.id for n in _names(given)} & set(others))
        )

    def without_gradient(self, file: str, line: int) -> int | None:
        """The line of the innermost `with` or decorator around a line that switches gradients off."""
        tree = self.tree(file)
        found: int | None = None
        for node in ast.walk(tree) if tree is not None else ():
            if not isinstance(node, ast.With | ast.FunctionDef) or not node.lineno <= line <= (node.end_lineno or 0):
                continue
            about = [i.context_expr for i in node.items] if isinstance(node, ast.With) else node.decorator_list
            for expression in about:
                words = {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in ast.walk(expression)}
                if words & SWITCHES and (found is None or expression.lineno > found):
                    found = expression.lineno
        return found

    def backward(self, file: str, line: int) -> tuple[int, str] | None:
        """Line and name of the `backward` beside the `forward` of an autograd function that a line is in."""
        if file not in self._backwards:
            tree = self.tree(file)
            self._backwards[file] = [
                (found["forward"], found["backward"], f"{node.name}.backward")
                for node in (ast.walk(tree) if tree is not None else ())
                if isinstance(node, ast.ClassDef) and {"forward", "backward"} <= (found := _static(node)).keys()
            ]
        for forward, backward, name in self._backwards[file]:
            if forward.lineno <= line <= (forward.end_lineno or 0):
                return backward.lineno, name
        return None

    def exchanged(self, outer: Frame, inner: Frame) -> Frame | None:
        """Where a function names two arguments the other way round than the line that calls it does: the function, or the
        line, should the file call that function the right way round too. Or where a call gives one argument twice, the
        second time in the place of another that its function has a variable for."""
        function, statement = self.function(inner.file, inner.line), self.statement(outer.file, outer.line)
        if function is None or statement is None:
            return None
        arguments = [a for a in (*function.args.posonlyargs, *function.args.args) if a.arg not in ("self", "cls")]
        for call in (n for n in ast.walk(statement) if isinstance(n, ast.Call)):
            apart = _apart(call, arguments)
            if len(apart) == 1:
                given, wanted = call.args[apart[0]], arguments[apart[0]].arg
                caller = self.function(outer.file, outer.line)
                there = {n.id for n in ast.walk(caller) if isinstance(n, ast.Name)} if caller is not None else set()
                if wanted in there - {a.id for a in call.args if isinstance(a, ast.Name)}:
                    return Frame(outer.file, given.lineno, outer.function, True, -1)
            if len(apart) == 2:
                tree = self.tree(outer.file)
                others = [n for n in ast.walk(tree) if isinstance(n, ast.Call)] if tree is not None else []
                alike = [n for n in others if n is not call and ast.dump(n.func) == ast.dump(call.func)]
                called = any(len(n.args) == len(call.args) and not _apart(n, arguments) for n in alike)
                names = (arguments[apart[0]].arg, arguments[apart[1]].arg)
                if called or (
                    tree is not None and not alike and _usual(tree, function, inner.file == outer.file, *names)
                ):
                    return Frame(outer.file, call.args[apart[0]].lineno, outer.function, True, -1)
                return Frame(inner.file, arguments[apart[0]].lineno, inner.function, True, -1)
        return None

    def dropping(self, file: str, line: int) -> int | None:
        """The line of the one argument of a call at a line whose name speaks of dropping."""
        statement = self.statement(file, line)
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)] if statement is not None else []
        found = {k.value.lineno for call in calls for k in call.keywords if k.arg and "drop" in k.arg}
        return found.pop() if len(found) == 1 else None

    def argument(self, file: str, line: int, value: object) -> int | None:
        """The line of the one argument of the call at a line that is written as this very number, flag or word."""
        statement = self.statement(file, line)
        found = set()
        for call in ast.walk(statement) if statement is not None else ():
            if isinstance(call, ast.Call):
                for argument in (*call.args, *(k.value for k in call.keywords)):
                    if (
                        isinstance(argument, ast.Constant)
                        and type(argument.value) is type(value)
                        and argument.value == value
                    ):
                        found.add(argument.lineno)
        return found.pop() if len(found) == 1 else None


def _targets(statement: ast.stmt | None) -> set[str]:
    """The names that an assignment gives a value."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _arguments(function: Function) -> list[str]:
    """Names of a function's arguments, those that can be given by place first."""
    return [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def _default(function: Function, name: str) -> ast.expr | None:
    """The number that an argument has where none is given."""
    plain = [*function.args.posonlyargs, *function.args.args]
    places = zip(reversed(plain), reversed(function.args.defaults), strict=False)
    keywords = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return next((d for a, d in (*places, *keywords) if a.arg == name and d is not None), None)


def _owner(tree: ast.Module, function: Function) -> ast.ClassDef | None:
    """The class that a function belongs to."""
    classes = (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    return next((n for n in classes if function in n.body), None)


def _static(node: ast.ClassDef) -> dict[str, Function]:
    """The static methods of a class."""
    plain = [f for f in node.body if isinstance(f, Function)]
    return {
        f.name: f for f in plain if any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in f.decorator_list)
    }


def _names(expression: ast.expr) -> list[ast.Name]:
    return [n for n in ast.walk(expression) if isinstance(n, ast.Name)]


def _usual(tree: ast.Module, function: Function, within: bool, first: str, second: str) -> bool:
    """Whether most other functions that name both arguments name them in this order. within: whether the function is of
    this tree's file."""
    more = 0
    for other in (n for n in ast.walk(tree) if isinstance(n, Function)):
        names = [a.arg for a in (*other.args.posonlyargs, *other.args.args)]
        itself = within and (other.lineno, other.name) == (function.lineno, function.name)
        if first in names and second in names and not itself:
            more += 1 if names.index(first) < names.index(second) else -1
    return more > 0


def _apart(call: ast.Call, arguments: list[ast.arg]) -> list[int]:
    """The place of one argument that a call gives by the name of another, or of two that it names the other way round than
    the function; [] where it does neither."""
    given = [a.id if isinstance(a, ast.Name) else "" for a in call.args]
    named = [a.arg for a in arguments[: len(given)]]
    apart = [place for place, (a, b) in enumerate(zip(given, named, strict=False)) if a != b and a in named]
    exchanged = len(apart) == 2 and [given[n] for n in apart] == [named[n] for n in reversed(apart)]
    return apart if exchanged or (len(apart) == 1 and given.count(given[apart[0]]) == 2) else []


def _assigned(target: ast.expr, value: ast.expr, name: str) -> ast.expr | None:
    if isinstance(target, ast.Attribute) and target.attr == name:
        return value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for a, b in zip(target.elts, value.elts, strict=False):
            if isinstance(a, ast.Attribute) and a.attr == name:
                return b
    return None
