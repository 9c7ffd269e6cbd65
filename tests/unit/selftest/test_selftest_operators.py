"""Operators on source: each makes the fault that it is named for, and nothing else."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest
from unit_builders import ROOT

from verify.edits import Tree, same_program
from verify.selftest import expressions, rewrites, statements
from verify.selftest.mutant import SOURCE_KINDS, Mutant, compiles, in_turn, of_source

MODEL = (ROOT / "llavavit" / "modeling_llava_vit.py").read_bytes()


def edits(kind: str, source: str) -> list[str]:
    """Every source that an operator makes of this one."""
    text = dedent(source).encode()
    operators = {**SOURCE_KINDS, **rewrites.OPERATORS}
    return [m.edit.apply(text).decode() for m in sites(kind, text) if m.edit and kind in operators]


def sites(kind: str, source: bytes) -> list[Mutant]:
    return [m for m in of_source("model.py", source) if m.kind == kind]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("float-constant", "eps = 1e-06", ["eps = 9.999999999999999e-06"]),
        ("int-constant", "n = 2", ["n = 3", "n = 1"]),
        ("flip-boolean", "b = True", ["b = False"]),
        ("other-word", 'a = ACT["gelu"]', ['a = ACT["gelu_pytorch_tanh"]']),
        ("arithmetic", "y = a // b", ["y = a % b"]),
        ("comparison", "y = a < b", ["y = a <= b"]),
        ("negated-condition", "y = a if c else b", ["y = a if (not (c)) else b"]),
        ("and-for-or", "y = a and b", ["y = a or b"]),
        ("lost-condition", "y = a and b", ["y = ((b))", "y = ((a))"]),
        ("lost-summand", "y = x + f(x)", ["y = (x)", "y = (f(x))"]),
        ("lost-factor", "y = x / s", ["y = (x)"]),
        ("lost-sign", "y = -x", ["y = x"]),
        ("lost-call", "y = self.norm(x)", ["y = (x)"]),
        ("lost-call", "y = x.cos()", ["y = x"]),
        ("lost-cast", "y = x.to(d)", ["y = x"]),
        ("other-dtype", "d = torch.float64", ["d = torch.float32"]),
        ("swapped-arguments", "y = f(a, b)", ["y = f(b, a)"]),
        ("swapped-arguments", "y = x.transpose(1, 2)", []),
        ("swapped-operands", "y = a - b", ["y = b - a"]),
        ("swapped-parts", "q, k = f(x)", ["k, q = f(x)"]),
        ("lost-keyword", "y = f(x, eps=1)", ["y = f(x)"]),
        ("none-for-keyword", "y = f(x=x)", ["y = f(x=None)"]),
        ("other-function", "y = x.sin()", ["y = x.cos()"]),
        ("other-axis", "y = x.mean(-1)", ["y = x.mean(-2)"]),
        ("other-slice", "y = x[..., 0::2]", ["y = x[..., 1::2]"]),
        ("other-slice", "y = x[:, 0]", ["y = x[:, -1]"]),
        ("other-configuration", "a = config.b\nc = config.d", ["a = config.d\nc = config.d", "a = config.b\nc = config.b"]),
        ("fixed-training", "y = self.training", ["y = False", "y = (not self.training)"]),
        ("shortened-loop", "for a in b: pass", ["for a in list(b)[:-1]: pass"]),
        ("reversed-loop", "y = [a for a in b]", ["y = [a for a in list(b)[::-1]]"]),
        ("frozen-parameter", "p = nn.Parameter(x)", ["p = nn.Parameter(x, requires_grad=False)"]),
        ("other-persistence", "self.register_buffer('a', x)", ["self.register_buffer('a', x, persistent=False)"]),
        ("scaled-initialisation", "nn.init.normal_(w)", ["nn.init.normal_(w).data.mul_(2)"]),
        ("other-default", "def f(x, eps=2.0): pass", ["def f(x, eps=4.0): pass"]),
        ("swapped-parameters", "def f(self, a, b): pass", ["def f(self, b, a): pass"]),
    ],
)  # fmt: skip
def test_an_operator_makes_its_fault(kind, before, after):
    assert edits(kind, before) == after


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("detached", "def forward(self, x):\n    return self.fc1(x)", "return (self.fc1(x)).detach()"),
        ("lower-precision", "def forward(self, x):\n    return x.softmax(-1)", "_v.bfloat16().to(_v.dtype)"),
        ("lost-statement", "def f(x):\n    x = g(x)\n    return x", "def f(x):\n    pass\n    return x"),
        ("lost-return-value", "def f(x):\n    return x, y", "return None, y"),
        ("no-grad", "class A:\n    def forward(self, x):\n        return x", "no_grad()\n    def forward"),
        ("lost-method", "class A:\n    n = 1\n    def _apply(self): return 1", "    n = 1\n    pass"),
        ("sibling-variable", "def f(x):\n    c, s = g(x)\n    return c", "return s"),
        (
            "sibling-attribute",
            "class A:\n    def __init__(self):\n        self.q = nn.Linear(1, 1)\n        self.k = nn.Linear(1, 1)\n"
            "    def forward(self, x):\n        return self.q(x)",
            "return self.k(x)",
        ),
        (
            "renamed-attribute",
            "class A:\n    def __init__(self):\n        self.q = nn.Linear(1, 1)\n    def forward(self, x):\n"
            "        return self.q(x)",
            "return self.q_(x)",
        ),
        (
            "swapped-definitions",
            "class A:\n    def __init__(self):\n        self.q = nn.Linear(1, 1)\n        self.k = nn.Linear(2, 2)",
            "self.k = nn.Linear(2, 2)\n        self.q = nn.Linear(1, 1)",
        ),
    ],
)
def test_an_operator_on_a_function_makes_its_fault(kind, before, after):
    assert any(after in found for found in edits(kind, before))


def test_every_source_operator_is_tested_above_and_has_a_name_of_its_own():
    tested = {mark[0] for test in (test_an_operator_makes_its_fault, test_an_operator_on_a_function_makes_its_fault)
              for mark in test.pytestmark[0].args[1]}  # fmt: skip
    assert tested == set(SOURCE_KINDS)
    assert not set(expressions.OPERATORS) & set(statements.OPERATORS)
    assert not set(SOURCE_KINDS) & set(rewrites.OPERATORS)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("factors-turned", "y = a * b", "y = ((b) * (a))"),
        ("difference-as-sum", "y = a - b", "y = (a + -(b))"),
        ("doubly-negated", "y = a if c else b", "y = a if not (not (c)) else b"),
        ("through-a-function", "def f(x):\n    y = g(x)", "y = (lambda: g(x))()"),
        ("copied-value", "def forward(self, x):\n    return x + self.mlp(x)", "x + self.mlp(x).clone()"),
        ("other-method", "y = x.view(2)", "y = x.reshape(2)"),
        ("added-pass", "def f(x):\n    y = x", "_unused = None\n    y = x"),
        ("returned-by-name", "def f(x):\n    return x", "_result = (x)\n    return _result"),
        ("renamed-local", "def f(x):\n    y = x\n    return y", "y_value = x\n    return y_value"),
        (
            "swapped-methods",
            "class A:\n    def f(self): pass\n    def g(self): pass",
            "def g(self): pass\n    def f(self)",
        ),
    ],
)
def test_a_rewrite_changes_text_alone(kind, before, after):
    assert any(after in found for found in edits(kind, before))


@pytest.mark.parametrize(
    "muted",
    [
        'raise ValueError(f"{1 + 2}")',
        "assert a < 2",
        '"""Documentation of 2 things."""',
        "x: Tensor | None",
        'if x.ndim != 4:\n    raise ValueError("no")',
        'logger.warning(f"{n + 1} things", 2)',
        'def _check(x):\n    if x < 2:\n        raise ValueError("no")',
        "class A:\n    def extra_repr(self):\n        return str(1 + 2)",
    ],
)
def test_what_no_output_depends_on_is_left_alone(muted):
    assert not [m for m in of_source("model.py", muted.encode()) if not m.harmless and m.kind != "lost-statement"]


def test_positions_count_bytes_so_that_letters_beyond_ascii_shift_nothing():
    source = 'a = "größer · ✓"; eps = 1e-6  # ✓\nb = True\n'
    assert edits("flip-boolean", source) == [source.replace("True", "False")]
    assert len(edits("float-constant", source)) == 1


def test_every_fault_of_the_real_model_is_a_program_and_another_one():
    found = of_source("model.py", MODEL)
    assert len(found) > 1000
    assert len({m.kind for m in found if not m.harmless}) >= 40
    for mutant in found[::23]:
        assert mutant.edit is not None
        changed = mutant.edit.apply(MODEL)
        assert changed != MODEL
        assert compiles(changed), mutant
        assert mutant.text(MODEL)


def test_the_same_seed_chooses_the_same_and_kinds_take_turns():
    found = of_source("model.py", MODEL)
    first, again, other = (list(in_turn(list(found), seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    kinds = [m.kind for m in first]
    assert len(set(kinds[:40])) == 40
    assert sorted(map(repr, first)) == sorted(map(repr, found))


def test_a_change_of_comments_and_lines_is_the_same_program_and_a_number_is_not():
    assert same_program(b"def f(x):\n    return x + 1\n", b"# more\ndef f(x):\n\n    return (x + 1)\n")
    assert not same_program(b"x = 1", b"x = 1.0")
    assert not same_program(b"def f(x):\n    return x + 1\n", b"def f(x):\n    return x + 2\n")


def test_the_text_of_a_mutant_is_its_diff():
    (mutant,) = sites("flip-boolean", b"a = 1\nb = True\n")
    assert mutant.text(b"a = 1\nb = True\n") == "-b = True\n+b = False"
    live = Mutant(kind="module-skipped", place="a.b", fault={"kind": "module-skipped", "path": "a.b", "name": None})
    assert live.text(b"") == "path=a.b"


def test_what_is_no_python_has_no_sites():
    assert of_source("model.py", b"def f(") == []
    assert of_source("model.py", b"\0") == []


def test_a_tree_knows_where_a_node_is():
    tree = Tree(b"x = (1 +\n     2)\n")
    node = next(n for n in tree.nodes if isinstance(n, ast.BinOp))
    assert tree.text(node) == "1 +\n     2"
    edit = tree.edit(node, "3")
    assert (edit.line, edit.last) == (1, 2)
    assert edit.apply(tree.source) == b"x = (3)\n"
