"""Small changes of source that would undo a slip: a name for another, two arguments that change places, a lost factor.

Each generator takes a tree, one of its nodes and the words that may be used, and gives changes. What the reference's
functions say (numbers, names of functions, keywords, whole calls) are words too: a slip is often what is not there.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from verify.edits import Edit, Function, Tree

MOST_NAMES = 16
MOST_ARGUMENTS = 6
HOLE = "\0"
OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@",
}  # fmt: skip
OTHERS = {
    "+": ("-", "*"), "-": ("+",), "*": ("/", "+", "@", "**"), "/": ("*", "//"), "//": ("%", "/"), "%": ("//",),
    "**": ("*",), "@": ("*",),
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">", ">=")), ast.LtE: ("<=", ("<", ">=", ">")), ast.Gt: (">", (">=", "<", "<=")),
    ast.GtE: (">=", (">", "<=", "<")), ast.Eq: ("==", ("!=",)), ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)), ast.IsNot: ("is not", ("is",)), ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}  # fmt: skip
CONFIGURATIONS = frozenset({"config", "cfg", "args", "hparams", "params"})
LIBRARIES = frozenset({"torch", "nn", "F", "math", "np"})
"""Names that mean the same in most files."""
NO_VALUES = frozenset({"dtype", "device", "shape"})
"""Names of what no step is done to."""
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.MatMult, ast.Pow)


@dataclass(frozen=True)
class Step:
    """A call of the reference. text: with a hole where its first value is; inside, around: names of the calls that this
    value comes of and that the result is given to, or ""."""

    text: str
    inside: str = ""
    around: str = ""


@dataclass(frozen=True)
class Words:
    """What a change may write. numbers, texts: literals of the reference; functions: names that it calls; keywords: by
    name of the called function; calls: see Step; attributes: by the text before
    the dot, of both sides; known: names in the candidate's files; uncalled: names of modules that the candidate's pass did
    not call; unread: what the reference's functions read of a configuration and the candidate's files do not; classes: those
    of functions that make modules."""

    numbers: frozenset[int | float] = frozenset()
    texts: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    keywords: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: tuple[Step, ...] = ()
    attributes: dict[str, frozenset[str]] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    uncalled: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(name for name in self.functions if name[:1].isupper())


@dataclass(frozen=True)
class Scope:
    """A function of the candidate: the tree of its file, its node, the words, the names of values in it with the line
    that first gives them one, what its class keeps, and names of what is there and read nowhere: what is meant for
    something, and may be what a slip put another name for."""

    tree: Tree
    function: Function
    words: Words
    names: dict[str, int]
    held: tuple[str, ...]
    idle: frozenset[str]

    def at(self, node: ast.AST) -> list[str]:
        """The names that have a value where a node is."""
        line: int = getattr(node, "lineno", 0)
        return [name for name, first in self.names.items() if first < line or first == 0]


Slip = Callable[[Scope, ast.AST], Iterator[Edit]]


def scope(tree: Tree, function: Function, words: Words) -> Scope:
    names = {a.arg: 0 for a in _arguments(function) if a.arg not in ("self", "cls")}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = min(names.get(node.id, node.lineno), node.lineno)
    held, idle = _held(tree, function), _idle(tree, function, words)
    return Scope(tree, function, words, dict(itertools.islice(names.items(), MOST_NAMES)), held, idle)


def _idle(tree: Tree, function: Function, words: Words) -> frozenset[str]:
    """Arguments and locals of a function that it does not read, attributes that its class sets and does not read, and what
    the reference's functions read of a configuration and the candidate's files do not."""
    read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    given = {a.arg for a in _arguments(function) if a.arg not in ("self", "cls")}
    owner = tree.parents.get(function)
    inside = ast.walk(owner) if isinstance(owner, ast.ClassDef) else ()
    held = [n for n in inside if isinstance(n, ast.Attribute) and _is_self(n.value)]
    loaded = {n.attr for n in held if isinstance(n.ctx, ast.Load)}
    return frozenset(((given | stored) - read) | ({n.attr for n in held} - loaded) | words.unread)


def _held(tree: Tree, function: Function) -> tuple[str, ...]:
    """Attributes of `self` that the function's class reads or sets, without its methods."""
    owner = tree.parents.get(function)
    methods = {n.name for n in owner.body if isinstance(n, Function)} if isinstance(owner, ast.ClassDef) else set()
    found = {n.attr for n in ast.walk(owner) if isinstance(n, ast.Attribute) and _is_self(n.value)} if owner else set()
    return tuple(sorted(found - methods)[:MOST_NAMES]) if isinstance(owner, ast.ClassDef) else ()


def exchanged(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """Two arguments, elements, operands or argument names change places."""
    tree = scope.tree
    if isinstance(node, ast.Call):
        given = [*node.args, *(k.value for k in node.keywords)][:MOST_ARGUMENTS]
        yield from _swaps(tree, given)
    elif isinstance(node, ast.Tuple | ast.List):
        yield from _swaps(tree, node.elts[:MOST_ARGUMENTS])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ORDERED):
        yield from _swaps(tree, [node.left, node.right])
    elif node is scope.function:
        yield from _swaps(tree, [a for a in _arguments(scope.function) if a.arg not in ("self", "cls")])


def other_operator(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """Another arithmetic operator or comparison, `and` for `or`; a minus less, a `not` more."""
    tree = scope.tree
    if isinstance(node, ast.BinOp):
        old = OPERATORS.get(type(node.op), "")
        for new in OTHERS.get(old, ()):
            yield from _between(tree, node.left, node.right, old, new)
    elif isinstance(node, ast.AugAssign):
        old = OPERATORS.get(type(node.op), "")
        for new in OTHERS.get(old, ()):
            yield from _between(tree, node.target, node.value, f"{old}=", f"{new}=")
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        old, others = COMPARISONS[type(node.ops[0])]
        for new in others:
            yield from _between(tree, node.left, node.comparators[0], old, new)
    elif isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in itertools.pairwise(node.values):
            yield from _between(tree, left, right, old, new)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield tree.edit(node, tree.text(node.operand))
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield tree.edit(node.test, f"(not ({tree.text(node.test)}))")


def negated(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A minus more, before what is assigned, returned or an element."""
    parent = scope.tree.parents.get(node)
    if _is_value(scope.tree, node) and isinstance(parent, ast.Assign | ast.Return | ast.Tuple):
        yield scope.tree.edit(node, f"(-{scope.tree.text(node)})")


def sign_moved(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """The minus of one element, or argument, before another of them instead."""
    tree = scope.tree
    given = node.elts if isinstance(node, ast.Tuple | ast.List) else node.args if isinstance(node, ast.Call) else []
    for one, other in itertools.permutations(given[:MOST_ARGUMENTS], 2):
        if (
            not isinstance(one, ast.UnaryOp)
            or not isinstance(one.op, ast.USub)
            or isinstance(one.operand, ast.Constant)
        ):
            continue
        if not isinstance(other, ast.UnaryOp | ast.Starred | ast.Constant):
            new = (one, _operand(tree, one.operand)), (other, f"-{_operand(tree, other)}")
            yield tree.edited(*sorted(new, key=lambda pair: tree.span(pair[0])))


def _operand(tree: Tree, node: ast.expr) -> str:
    """What a minus may stand before."""
    tight = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return tree.text(node) if tight else f"({tree.text(node)})"


def other_literal(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A number's neighbours, its opposite, a number or word that the reference's functions say; the other flag."""
    tree, parent = scope.tree, scope.tree.parents.get(node)
    if not isinstance(node, ast.Constant) or isinstance(parent, ast.Expr):
        return
    value = node.value
    if isinstance(value, bool):
        yield tree.edit(node, str(not value))
    elif isinstance(value, int | float):
        place, own = _signed(tree, node)
        near = (own - 1, own + 1, -own, 0, 1, -1, -2, 2) if isinstance(value, int) else (own * 10, own / 10, -own)
        for number in dict.fromkeys([*sorted(scope.words.numbers, key=lambda n: abs(n - own)), *near]):
            if number != own and not (_indexes(tree, place) and isinstance(number, float)):
                yield tree.edit(place, repr(number) if number >= 0 else f"({number!r})")
    elif isinstance(value, str):
        for text in sorted(scope.words.texts - {value}):
            yield tree.edit(node, repr(text))


def configured(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """What is configured, for a number or another thing that is."""
    tree = scope.tree
    constant = isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    before = tree.text(node.value) if isinstance(node, ast.Attribute) else ""
    for owner, names in scope.words.attributes.items():
        first, _, rest = owner.partition(".")
        here = first in scope.names or (first == "self" and rest.split(".")[0] in scope.held)
        known = here and _configures(owner)
        if known and (constant or (read and owner == before)):
            place = _signed(tree, node)[0] if isinstance(node, ast.Constant) else node
            for name in sorted(names):
                if name != getattr(node, "attr", ""):
                    yield tree.edit(place, f"{owner}.{name}")


def other_name(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """Another value of the function, or another attribute of the same object."""
    tree = scope.tree
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in scope.names:
        for name in scope.at(node):
            if name != node.id:
                yield tree.edit(node, name)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _is_self(node.value):
        for name in scope.held if node.attr in scope.held else ():
            if name != node.attr:
                yield tree.edit(node, f"self.{name}")


def other_function(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A function that the reference calls, for the one that is called; a dtype or constant of torch that it reads."""
    tree, words = scope.tree, scope.words
    parent = tree.parents.get(node)
    called = isinstance(parent, ast.Call) and parent.func is node
    if called and isinstance(node, ast.Name) and node.id not in scope.names:
        for name in sorted(words.functions & words.known - {node.id}):
            yield tree.edit(node, name)
    elif called and isinstance(node, ast.Attribute) and not _is_self(node.value):
        for name in sorted(words.functions - words.classes - {node.attr}):
            yield tree.edit(node, f"{tree.text(node.value)}.{name}")
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and not _is_self(node.value):
        before = tree.text(node.value)
        if not _configures(before):
            for name in sorted(words.attributes.get(before, frozenset()) - {node.attr}):
                yield tree.edit(node, f"{before}.{name}")


def _signed(tree: Tree, node: ast.Constant) -> tuple[ast.AST, int | float]:
    """A number with the minus before it, if there is one, and what it is then."""
    parent, value = tree.parents.get(node), node.value
    assert isinstance(value, int | float)
    minus = isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.USub)
    return (parent, -value) if minus and parent is not None else (node, value)


def _indexes(tree: Tree, node: ast.AST) -> bool:
    return isinstance(tree.parents.get(node), ast.Subscript | ast.Slice)


def less(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A call, a factor, a summand, a slice, a keyword or a statement less."""
    tree = scope.tree
    if isinstance(node, ast.Call):
        if node.args and not isinstance(node.args[0], ast.Starred):
            yield tree.edit(node, f"({tree.text(node.args[0])})")
        if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Call | ast.Constant):
            yield tree.edit(node, tree.text(node.func.value))
        elif isinstance(node.func, ast.Attribute):
            yield tree.edit(node, f"({tree.text(node.func.value)})")
        for keyword in node.keywords:
            yield from _without(tree, node, keyword)
    elif isinstance(node, ast.BinOp):
        yield tree.edit(node, f"({tree.text(node.left)})")
        yield tree.edit(node, f"({tree.text(node.right)})")
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield tree.edit(node, tree.text(node.value))
    elif isinstance(node, ast.IfExp):
        yield tree.edit(node, f"({tree.text(node.body)})")
        yield tree.edit(node, f"({tree.text(node.orelse)})")
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
        yield tree.edit(node, "pass")


def more(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A keyword or a call that the reference makes, a minus, a factor or summand of the function's own values."""
    tree, words = scope.tree, scope.words
    if isinstance(node, ast.Call):
        name = tree.text(node.func).rpartition(".")[2]
        has = {k.arg for k in node.keywords}
        for keyword, value in words.keywords.get(name, {}).items():
            if keyword not in has and _free(value) <= {*LIBRARIES, "self", *scope.names}:
                start = tree.span(node)[1] - 1
                comma = ", " if node.args or node.keywords else ""
                line = node.end_lineno or node.lineno
                yield Edit(start=start, end=start, new=f"{comma}{keyword}={value}", line=line, last=line)
    if not _is_value(tree, node):
        return
    text = tree.text(node)
    yield tree.edit(node, f"(-{text})")
    for step in words.calls:
        yield tree.edit(node, step.text.replace(HOLE, f"({text})"))
    own = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    others = [n for n in scope.at(node) if n not in own or isinstance(node, ast.Call)]
    for name in (*others, *(f"self.{a}" for a in scope.held)):
        for sign in ("+", "*", "/"):
            yield tree.edit(node, f"({text} {sign} {name})")


def step_alike(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A call that the reference makes after, or before, a call of the name that is there."""
    tree = scope.tree
    if _is_value(tree, node) or _is_receiver(tree, node):
        inside, around = _inside(tree, node), _around(tree, node)
        for step in scope.words.calls:
            if (inside and step.inside == inside) or (around and step.around == around):
                yield tree.edit(node, step.text.replace(HOLE, f"({tree.text(node)})"))


def own_step(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A call of a module that the function's class holds and that nothing called."""
    tree = scope.tree
    if _is_value(tree, node) or _is_receiver(tree, node):
        for name in sorted(scope.words.uncalled.intersection(scope.held)):
            yield tree.edit(node, f"self.{name}({tree.text(node)})")


def other_part(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """A slice that begins or ends one earlier or later; a loop that runs otherwise."""
    tree = scope.tree
    if isinstance(node, ast.Slice):
        a, b, c = (tree.text(n) if n is not None else "" for n in (node.lower, node.upper, node.step))
        step = f":{c}" if c else ""
        starts = {a, "1" if not a else "", f"({a}) + 1" if a else "", f"({a}) - 1" if a else ""}
        ends = {b, "-1" if not b else "", f"({b}) + 1" if b else "", f"({b}) - 1" if b else ""}
        for start, end in sorted(itertools.product(starts, ends)):
            if (start == a) != (end == b) or (start, end) == (b, a):
                yield tree.edit(node, f"{start}:{end}{step}")
    elif isinstance(node, ast.For | ast.comprehension):
        text = tree.text(node.iter)
        for part in ("[::-1]", "[1:]", "[:-1]"):
            yield tree.edit(node.iter, f"list({text}){part}")


def reordered(scope: Scope, node: ast.AST) -> Iterator[Edit]:
    """Two statements that follow each other change places."""
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            plain = (ast.Assign, ast.AugAssign, ast.Expr)
            for left, right in itertools.pairwise(block):
                if isinstance(left, plain) and isinstance(right, plain):
                    yield scope.tree.swapped(left, right)


LIGHT: tuple[tuple[int, Slip], ...] = (
    (0, exchanged), (0, other_operator), (0, sign_moved), (1, other_literal), (1, other_name), (1, other_part), (2, negated),
    (3, configured), (3, other_function),
)  # fmt: skip
"""What puts one thing for another, with how unlikely it is: a change of the lesser number is tried first."""
HEAVY: tuple[tuple[int, Slip], ...] = ((0, own_step), (1, step_alike), (2, less), (4, reordered), (8, more))
"""What takes away or adds a step: a value can be mended so at many lines, so that it says less of where the fault is."""


def words_of(
    reference: list[tuple[Tree, Function]], candidate: list[Tree], uncalled: frozenset[str] = frozenset()
) -> Words:
    """What the reference's functions, and the candidate's files, say. uncalled: see Words."""
    numbers, texts, functions = set[int | float](), set[str](), set[str]()
    keywords: dict[str, dict[str, str]] = {}
    calls: dict[Step, None] = {}
    attributes: dict[str, set[str]] = {}
    for tree in candidate:
        for node in ast.walk(tree.root):
            _attribute(tree, node, attributes)
    own = {name for before, names in attributes.items() if _configures(before) for name in names}
    known = {n.id for tree in candidate for n in ast.walk(tree.root) if isinstance(n, ast.Name)}
    imports = (n for tree in candidate for n in tree.root.body if isinstance(n, ast.Import | ast.ImportFrom))
    known |= {a.asname or a.name for n in imports for a in n.names}
    known |= {n.name for tree in candidate for n in tree.root.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for tree, function in reference:
        for node in ast.walk(function):
            _attribute(tree, node, attributes)
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                if not isinstance(node.value, bool):  # True would stand for 1
                    numbers.add(node.value)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_text(tree, node):
                texts.add(node.value)
            elif isinstance(node, ast.Call):
                name = tree.text(node.func).rpartition(".")[2]
                functions.add(name)
                for keyword in node.keywords:
                    if keyword.arg:
                        keywords.setdefault(name, {})[keyword.arg] = tree.text(keyword.value)
                template = _template(tree, node, known)
                if template is not None:
                    calls.setdefault(template)
    theirs = {name for before, names in attributes.items() if _configures(before) for name in names}
    return Words(
        frozenset(n for n in numbers if not isinstance(n, bool)), frozenset(texts), frozenset(functions), keywords,
        tuple(calls), {before: frozenset(names) for before, names in attributes.items()}, frozenset(known), uncalled,
        frozenset(theirs - own),
    )  # fmt: skip


def _configures(owner: str) -> bool:
    """Whether what stands before an attribute is a configuration."""
    return owner.split(".")[-1] in CONFIGURATIONS


def _is_text(tree: Tree, node: ast.AST) -> bool:
    """Whether a literal is short and no documentation."""
    return len(tree.text(node)) < 40 and not isinstance(tree.parents.get(node), ast.Expr)


def _attribute(tree: Tree, node: ast.AST, found: dict[str, set[str]]) -> None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
        parent = tree.parents.get(node)
        if not (isinstance(parent, ast.Call) and parent.func is node and not _is_self(node.value)):
            found.setdefault(tree.text(node.value), set()).add(node.attr)


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _template(tree: Tree, call: ast.Call, known: set[str]) -> Step | None:
    """A call with a hole in the place of the one value that it is of, without keywords that mean nothing elsewhere; None
    where something else of it does not."""
    method = isinstance(call.func, ast.Attribute) and not _is_module(call.func.value)
    rest = call.args[0 if method else 1 :]
    if _inside(tree, call).startswith("__"):
        return None
    if not all(_resolves(value, known) for value in rest) or (not method and not call.args):
        return None
    if not method and not (_resolves(call.func, known) and not _of_self(call.func)):
        return None
    inner = call.func.value if method and isinstance(call.func, ast.Attribute) else call.args[0]
    given = [tree.text(value) for value in rest]
    given += [tree.text(k) for k in call.keywords if k.arg and _resolves(k.value, known)]
    if method and isinstance(call.func, ast.Attribute):
        text = f"{HOLE}.{call.func.attr}({', '.join(given)})"
    else:
        text = f"{tree.text(call.func)}({', '.join([HOLE, *given])})"
    return Step(text, _inside(tree, inner), _around(tree, call))


def _inside(tree: Tree, node: ast.AST) -> str:
    """The name of the function whose call a value comes of."""
    return tree.text(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def _around(tree: Tree, node: ast.AST) -> str:
    """The name of the function or method that a value is given to."""
    parent = tree.parents.get(node)
    if _is_receiver(tree, node):
        assert isinstance(parent, ast.Attribute)
        return parent.attr
    if not isinstance(parent, ast.Call) or node not in parent.args[:1]:
        return ""
    method = isinstance(parent.func, ast.Attribute) and not _is_module(parent.func.value)
    return "" if method else _inside(tree, parent)


def _is_receiver(tree: Tree, node: ast.AST) -> bool:
    """Whether a call's result or a name is what a method is called on."""
    parent = tree.parents.get(node)
    called = isinstance(parent, ast.Attribute) and isinstance(tree.parents.get(parent), ast.Call)
    return called and isinstance(node, ast.Call | ast.BinOp | ast.Subscript | ast.Name) and not _is_module(node)


def _is_module(node: ast.AST) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in (*LIBRARIES, "self")


def _of_self(node: ast.AST) -> bool:
    return any(_is_self(n) for n in ast.walk(node))


def _resolves(node: ast.AST, known: set[str]) -> bool:
    """Whether an expression means something in the candidate's file: literals and the names of libraries."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names <= known & LIBRARIES


def _free(text: str) -> set[str]:
    """The names in an expression."""
    return {n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name)}


def _is_value(tree: Tree, node: ast.AST) -> bool:
    """Whether an expression is handed on as a whole: assigned, returned, given to a call, or an operand."""
    if not isinstance(node, ast.Name | ast.Call | ast.BinOp | ast.Subscript | ast.Attribute):
        return False
    parent = tree.parents.get(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        return False
    if getattr(node, "attr", getattr(node, "id", "")) in NO_VALUES:
        return False
    loaded = isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    return loaded and isinstance(parent, ast.Assign | ast.Return | ast.Call | ast.keyword | ast.BinOp | ast.Tuple)


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args]


def _swaps(tree: Tree, nodes: list[ast.expr] | list[ast.arg]) -> Iterator[Edit]:
    ordered = sorted(nodes, key=tree.span)
    for left, right in itertools.combinations(ordered, 2):
        starred = isinstance(left, ast.Starred) or isinstance(right, ast.Starred)
        if not starred and tree.text(left) != tree.text(right):
            yield tree.swapped(left, right)


def _between(tree: Tree, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Edit]:
    found = tree.between(left, right, old, new)
    if found is not None:
        yield found


def _without(tree: Tree, call: ast.Call, keyword: ast.keyword) -> Iterator[Edit]:
    given: list[ast.AST] = sorted([*call.args, *call.keywords], key=tree.span)
    place = given.index(keyword)
    end = tree.span(keyword)[1]
    if place:
        line = keyword.lineno
        yield Edit(start=tree.span(given[place - 1])[1], end=end, new="", line=line, last=keyword.end_lineno or line)
