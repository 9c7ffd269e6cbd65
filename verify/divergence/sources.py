"""A side's source files, read by the parent: excerpts, the function around a line, where a value was first written.

Paths come from the side and are not trusted: only regular files inside the side's folder are read, none larger than
MOST_BYTES.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
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

    def source(self, stack: list[Frame], name: str) -> Frame | None:
        """Where the value that a setting got was written: from the innermost frame outward while it is handed on as is.

        stack: own frames, innermost first, of the line that set `name`.
        """
        for depth, frame in enumerate(stack):
            expression = self._given(frame, name, innermost=depth == 0)
            function = self.function(frame.file, frame.line)
            if not isinstance(expression, ast.Name) or function is None:
                if expression is None and depth > 0:
                    return stack[depth - 1]
                line = getattr(expression, "lineno", frame.line)
                return Frame(frame.file, line, frame.function, True, -1)
            arguments = {a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)}
            if expression.id not in arguments:
                return frame
            name = expression.id
        return stack[-1] if stack else None

    def _given(self, frame: Frame, name: str, *, innermost: bool) -> ast.expr | None:
        """The expression that a line gives to an attribute or argument."""
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
        return None

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
                if any(len(n.args) == len(call.args) and not _apart(n, arguments) for n in alike):
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


def _static(node: ast.ClassDef) -> dict[str, Function]:
    """The static methods of a class."""
    plain = [f for f in node.body if isinstance(f, Function)]
    return {
        f.name: f for f in plain if any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in f.decorator_list)
    }


def _names(expression: ast.expr) -> list[ast.Name]:
    return [n for n in ast.walk(expression) if isinstance(n, ast.Name)]


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


def tree_difference(a: Function, b: Function) -> list[tuple[str, str]]:
    """Statements of two functions that differ in syntax, as (reference, candidate) texts; names of arguments count."""
    left, right = ([ast.unparse(s) for s in f.body] for f in (a, b))
    found = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal":
            found.append(("\n".join(left[i1:i2])[:400], "\n".join(right[j1:j2])[:400]))
    return found
