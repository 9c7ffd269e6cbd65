"""Faults of an expression. Each operator takes a tree and one of its nodes and gives the edits that make its fault."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from verify.edits import Edit, Tree

Operator = Callable[[Tree, ast.AST], Iterator[Edit]]

ARITHMETIC: dict[type[ast.operator], list[tuple[str, str]]] = {
    ast.Add: [("+", "-")],
    ast.Sub: [("-", "+")],
    ast.Mult: [("*", "/")],
    ast.Div: [("/", "*")],
    ast.FloorDiv: [("//", "%")],
    ast.Mod: [("%", "//")],
    ast.Pow: [("**", "*")],
    ast.MatMult: [("@", "*")],
}
COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
FUNCTIONS = {
    "cos": "sin", "sin": "cos", "rsqrt": "sqrt", "sqrt": "rsqrt", "exp": "expm1", "log": "log1p", "sum": "mean",
    "mean": "sum", "amax": "amin", "amin": "amax", "max": "min", "min": "max", "softmax": "log_softmax",
    "gelu": "silu", "silu": "gelu", "relu": "silu", "sigmoid": "tanh", "tanh": "sigmoid", "abs": "neg",
    "square": "abs", "pow": "mul", "argsort": "argmax", "LayerNorm": "RMSNorm", "floor": "ceil", "ceil": "floor",
    "layer_norm": "rms_norm", "norm": "sum", "zeros": "ones", "ones": "zeros", "randn": "zeros", "zeros_": "ones_",
    "ones_": "zeros_", "normal_": "uniform_", "cumsum": "cumprod", "cumprod": "cumsum", "triu": "tril",
    "tril": "triu", "roll": "flip", "unbind": "unsafe_chunk", "zeros_like": "ones_like", "ones_like": "zeros_like",
    "randn_like": "zeros_like", "rand": "randn", "logical_and": "logical_or", "logical_or": "logical_and",
}  # fmt: skip
WORDS = {
    "gelu": "gelu_pytorch_tanh", "silu": "gelu", "relu": "gelu", "tanh": "none", "layer_norm": "rms_norm",
    "rms_norm": "layer_norm", "floor": "trunc", "trunc": "floor", "bilinear": "bicubic", "bicubic": "bilinear",
    "nearest": "bilinear", "zeros": "border", "mean": "sum", "sum": "mean", "ij": "xy", "xy": "ij",
    "reflect": "replicate", "same": "valid",
}  # fmt: skip
DTYPES = {
    "float32": ("bfloat16", "float64"), "float64": ("float32",), "float16": ("bfloat16",), "bfloat16": ("float16",),
    "int64": ("float32",), "long": ("int32",),
}  # fmt: skip
TAKES_ANY_ORDER = {
    "transpose", "swapaxes", "maximum", "minimum", "add", "mul", "max", "min", "promote_types", "isinstance", "getattr",
    "setattr", "is_same_size", "logical_and", "logical_or",
}  # fmt: skip
"""Functions whose first arguments may be swapped without a change, or that tests of types and names call."""

CREATES_TENSOR = re.compile(
    r"(linear|conv\w*|matmul|softmax|gelu|silu|relu|norm|attention\w*|cos|sin|gather|cat|stack|mean|sum|rsqrt|view|"
    r"reshape|transpose|flatten|fc\d|\w*proj\w*|\w*norm\w*|mlp|\w*embed\w*|permute|bmm|einsum|dropout|unflatten)$"
)
"""Names of functions whose result is, as a rule, a float tensor that a gradient flows through."""


def _called(node: ast.AST) -> str:
    """Name of what a call calls: the last part of a dotted one."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def float_constant(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A float constant becomes another (an eps ten times as large, a half that is 0.55)."""
    if isinstance(node, ast.Constant) and type(node.value) is float:
        changed = node.value * 10 if 0 < abs(node.value) < 0.01 else node.value * 1.1 or 0.1
        yield tree.edit(node, repr(changed))


def int_constant(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A whole number becomes its neighbour."""
    if isinstance(node, ast.Constant) and type(node.value) is int and not isinstance(tree.parents[node], ast.UnaryOp):
        yield tree.edit(node, str(node.value + 1))
        if node.value > 0:
            yield tree.edit(node, str(node.value - 1))


def flip_boolean(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """True becomes False, and False True."""
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield tree.edit(node, str(not node.value))


def other_word(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A choice that is named by text becomes another (gelu its tanh form)."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in WORDS:
        yield tree.edit(node, f'"{WORDS[node.value]}"')


def arithmetic(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """An arithmetic operator becomes another."""
    if isinstance(node, ast.BinOp):
        for old, new in ARITHMETIC.get(type(node.op), []):
            if edit := tree.between(node.left, node.right, old, new):
                yield edit


def comparison(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A comparison becomes its neighbour or its opposite."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        old, new = COMPARISONS[type(node.ops[0])]
        if edit := tree.between(node.left, node.comparators[0], old, new):
            yield edit


def negated_condition(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """The other branch is taken."""
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield tree.edit(node.test, f"(not ({tree.text(node.test)}))")


def and_for_or(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """`and` becomes `or`, and back."""
    if isinstance(node, ast.BoolOp):
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            if edit := tree.between(left, right, *words):
                yield edit


def lost_condition(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """One of several conditions is forgotten."""
    if isinstance(node, ast.BoolOp):
        for index in range(len(node.values)):
            kept = [f"({tree.text(v)})" for n, v in enumerate(node.values) if n != index]
            word = " and " if isinstance(node.op, ast.And) else " or "
            yield tree.edit(node, f"({word.join(kept)})")


def lost_summand(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """One side of a sum is forgotten: a residual, a bias, a mask."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield tree.edit(node, f"({tree.text(node.left)})")
        yield tree.edit(node, f"({tree.text(node.right)})")


def lost_factor(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A factor or divisor is forgotten: a scale, a weight."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        yield tree.edit(node, f"({tree.text(node.left)})")
        if isinstance(node.op, ast.Mult):
            yield tree.edit(node, f"({tree.text(node.right)})")


def lost_sign(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A minus is forgotten, or written before what had none."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield tree.edit(node, tree.text(node.operand))


def lost_call(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A function is not applied to its first argument, or a method not to its object."""
    if not isinstance(node, ast.Call) or _called(node) in ("to", "float", "double", "half", "super"):
        return
    of_tensor = isinstance(node.func, ast.Attribute) and not re.match(
        r"(self|nn|torch|F|super\(\))(\.|$)", tree.text(node.func.value)
    )
    if of_tensor and isinstance(node.func, ast.Attribute):
        yield tree.edit(node, tree.text(node.func.value))
    elif node.args and not isinstance(node.args[0], ast.Starred):
        yield tree.edit(node, f"({tree.text(node.args[0])})")


def lost_cast(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A cast is forgotten."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("to", "float", "double", "half", "type_as")
    ):
        yield tree.edit(node, tree.text(node.func.value))


def other_dtype(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A dtype becomes another."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
        for other in DTYPES.get(node.attr, ()):
            yield tree.edit(node, f"torch.{other}")


def lower_precision(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A value is rounded to bfloat16 on its way."""
    if _makes_tensor(tree, node):
        yield tree.edit(node, f"(lambda _v: _v.bfloat16().to(_v.dtype))({tree.text(node)})")


def detached(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """No gradient flows through a value."""
    if _makes_tensor(tree, node):
        yield tree.edit(node, f"({tree.text(node)}).detach()")


def _makes_tensor(tree: Tree, node: ast.AST) -> bool:
    function = tree.function(node)
    inside = function is not None and function.name != "__init__"
    return inside and isinstance(node, ast.Call) and bool(CREATES_TENSOR.search(_called(node)))


def swapped_arguments(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Two neighbouring arguments change places."""
    if isinstance(node, ast.Call) and _called(node) not in TAKES_ANY_ORDER:
        for left, right in zip(node.args, node.args[1:], strict=False):
            yield from _swap(tree, left, right)


def swapped_operands(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """The two sides of a difference, a quotient or a matrix product change places."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv | ast.Mod | ast.MatMult):
        yield from _swap(tree, node.left, node.right)


def swapped_parts(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Two neighbours in a tuple or list change places: outputs, names that are unpacked to, parts that are joined."""
    if isinstance(node, ast.Tuple | ast.List):
        for left, right in zip(node.elts, node.elts[1:], strict=False):
            yield from _swap(tree, left, right)


def _swap(tree: Tree, left: ast.AST, right: ast.AST) -> Iterator[Edit]:
    starred = isinstance(left, ast.Starred) or isinstance(right, ast.Starred)
    if tree.text(left) != tree.text(right) and not starred:
        yield tree.swapped(left, right)


def lost_keyword(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A keyword argument is forgotten, so that its default counts."""
    if not isinstance(node, ast.Call):
        return
    everything: list[ast.AST] = sorted([*node.args, *node.keywords], key=lambda n: tree.span(n))
    for keyword in node.keywords:
        index = everything.index(keyword)
        if len(everything) == 1:
            yield tree.edit(keyword, "")
        elif index:
            before = everything[index - 1]
            start, end = tree.span(before)[1], tree.span(keyword)[1]
            yield Edit(start=start, end=end, new="", line=keyword.lineno, last=keyword.end_lineno or keyword.lineno)


def none_for_keyword(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A keyword argument is None: an output that is not handed out."""
    if isinstance(node, ast.keyword) and not isinstance(node.value, ast.Constant):
        yield tree.edit(node.value, "None")


def other_function(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A function becomes one of its neighbours (cos sin, ones zeros, sum mean)."""
    name = _called(node)
    if isinstance(node, ast.Call) and name in FUNCTIONS:
        new = re.sub(rf"{name}$", FUNCTIONS[name], tree.text(node.func))
        yield tree.edit(node.func, new)


def other_axis(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """An axis that is counted from the end is the one beside it."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if type(value) is int and isinstance(tree.parents[node], ast.keyword | ast.Call | ast.Tuple):
            yield tree.edit(node, str(-value - 1))


def other_slice(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A slice begins one later, or an index is the next."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
        return
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for part in parts:
        if isinstance(part, ast.Slice) and isinstance(part.lower, ast.Constant) and type(part.lower.value) is int:
            yield tree.edit(
                part.lower, str(1 - part.lower.value) if part.lower.value in (0, 1) else str(part.lower.value + 1)
            )
        elif isinstance(part, ast.Slice) and part.lower is None and isinstance(part.upper, ast.expr):
            yield tree.edit(part.upper, f"({tree.text(part.upper)}) - 1")
        elif isinstance(part, ast.Constant) and type(part.value) is int:
            yield tree.edit(part, "-1" if part.value == 0 else "0")


def sibling_attribute(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Another submodule of the same kind is used (the keys' projection for the queries')."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and tree.text(node.value) == "self"):
        return
    kinds = _made(tree, tree.owner(node))
    for other, kind in kinds.items():
        if other != node.attr and kind == kinds.get(node.attr):
            yield tree.edit(node, f"self.{other}")


def _made(tree: Tree, owner: ast.ClassDef | None) -> dict[str, str]:
    """What a class assigns to its attributes: the called function, by attribute."""
    found: dict[str, str] = {}
    for node in ast.walk(owner) if owner else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            for target in node.targets:
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == "self"
                ):
                    found[target.attr] = tree.text(node.value.func)
    return found


def other_configuration(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Another configuration value is read, one that the file reads elsewhere."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _is_config(node.value)):
        return
    known = {n.attr for n in ast.walk(tree.root) if isinstance(n, ast.Attribute) and _is_config(n.value)}
    for other in sorted(known - {node.attr}):
        yield tree.edit(node, f"{tree.text(node.value)}.{other}")


def _is_config(node: ast.AST) -> bool:
    return getattr(node, "id", getattr(node, "attr", "")) in ("config", "cfg", "args", "hparams")


def fixed_training(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """Train mode is ignored, or taken for always."""
    if isinstance(node, ast.Attribute) and node.attr == "training" and isinstance(node.ctx, ast.Load):
        yield tree.edit(node, "False")
        yield tree.edit(node, f"(not {tree.text(node)})")


def shortened_loop(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """The last of what is looped over is left out."""
    if isinstance(node, ast.For | ast.comprehension):
        yield tree.edit(node.iter, f"list({tree.text(node.iter)})[:-1]")


def reversed_loop(tree: Tree, node: ast.AST) -> Iterator[Edit]:
    """A loop runs backwards."""
    if isinstance(node, ast.For | ast.comprehension):
        yield tree.edit(node.iter, f"list({tree.text(node.iter)})[::-1]")


OPERATORS: dict[str, Operator] = {
    operator.__name__.replace("_", "-"): operator
    for operator in (
        float_constant, int_constant, flip_boolean, other_word, arithmetic, comparison, negated_condition, and_for_or,
        lost_condition, lost_summand, lost_factor, lost_sign, lost_call, lost_cast, other_dtype, lower_precision,
        detached, swapped_arguments, swapped_operands, swapped_parts, lost_keyword, none_for_keyword, other_function,
        other_axis, other_slice, sibling_attribute, other_configuration, fixed_training, shortened_loop, reversed_loop,
    )
}  # fmt: skip
