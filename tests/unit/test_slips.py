"""Small changes of source that undo slips: each of these slips is undone by one that is tried; and in which order."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from verify.divergence.course import course, reach
from verify.divergence.graph import Frame, Graph, Operation, Value
from verify.divergence.mending import (
    INNOCENT,
    MOST_SECONDS,
    PER_MODEL,
    PER_OPERATION,
    PER_TRY,
    Budget,
    Suspected,
    agrees,
    given_by,
    given_in,
    mends,
    prices,
    wanted,
)
from verify.divergence.slips import words_of
from verify.divergence.sources import Sources
from verify.divergence.wording import MOST, Wording
from verify.edits import Tree

RIGHT = '''\
import torch
from torch import nn
from torch.nn import functional as F


def turned(x, cosine, sine):
    """Doc."""
    return x * cosine + swapped(x) * sine


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.scale = config.width**-0.5
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x, shift):
        y = self.query(self.norm(x)) * self.scale
        z = F.gelu(y, approximate="tanh") - shift
        parts = z[..., 1:], z[..., :-1]
        for part in parts:
            z = z + part.sum(-1, keepdim=True)
        if shift.ndim > 1:
            z = torch.softmax(z, dim=-1)
        return turned(z, y, shift), -x
'''

SLIPS = [
    ("x * cosine + swapped(x)", "x * cosine - swapped(x)"),
    ("x * cosine + swapped(x)", "x * cosine + swapped(sine)"),
    ("x * cosine + swapped(x)", "x + swapped(x)"),
    ("def turned(x, cosine, sine)", "def turned(cosine, x, sine)"),
    ("eps=config.eps", "eps=config.width"),
    ("eps=config.eps", "eps=1e-3"),
    (", eps=config.eps", ""),
    ("config.width**-0.5", "config.width**0.5"),
    ("self.query, self.key =", "self.key, self.query ="),
    ("self.query(self.norm(x)) * self.scale", "self.key(self.norm(x)) * self.scale"),
    ("self.query(self.norm(x)) * self.scale", "self.query(self.norm(x))"),
    ("self.query(self.norm(x)) * self.scale", "self.query(self.norm(x)) / self.scale"),
    ('F.gelu(y, approximate="tanh")', "F.gelu(y)"),
    ('F.gelu(y, approximate="tanh")', 'F.silu(y, approximate="tanh")'),
    ("- shift\n", "- y\n"),
    ("z[..., 1:], z[..., :-1]", "z[..., :-1], z[..., 1:]"),
    ("z[..., 1:]", "z[..., :]"),
    ("in parts:", "in parts[:1]:"),
    ("keepdim=True", "keepdim=False"),
    ("shift.ndim > 1", "shift.ndim >= 1"),
    ("shift.ndim > 1", "not shift.ndim > 1"),
    ("torch.softmax(z, dim=-1)", "torch.softmax(z, dim=-2)"),
    ("torch.softmax(z, dim=-1)", "z"),
    ("turned(z, y, shift), -x", "turned(y, z, shift), -x"),
    ("turned(z, y, shift), -x", "turned(z, y, shift), x"),
    ("turned(z, y, shift), -x", "-turned(z, y, shift), x"),
]


def tried(tmp_path, text: str, line: int, making: bool = False):
    for name, source in (("right", RIGHT), ("wrong", text)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "net.py").write_text(source)
    theirs = [Frame("net.py", n, "f", True, 0) for n in (8, 14, 19)]
    at = Frame("net.py", line, "f", True, 0)
    candidate, reference = Sources(tmp_path / "wrong"), Sources(tmp_path / "right")
    return mends([Suspected(at, 0, making)], candidate, reference, theirs)


def meaning(text: str) -> str:
    return ast.dump(ast.parse(text))


@pytest.mark.parametrize(("right", "wrong"), SLIPS)
def test_a_slip_is_undone_by_a_change_that_is_tried(tmp_path, right, wrong):
    assert RIGHT.count(right) == 1
    text = RIGHT.replace(right, wrong)
    line = next(n for n, (a, b) in enumerate(zip(RIGHT.split("\n"), text.split("\n"), strict=True), 1) if a != b)
    found = tried(tmp_path, text, line)
    wanted = meaning(RIGHT)

    def result(mend) -> str:
        try:
            return meaning(mend.edit.apply(text.encode()).decode())
        except SyntaxError:
            return ""

    assert [m for m in found if result(m) == wanted]
    assert all(m.old == text.encode()[m.edit.start : m.edit.end].decode() for m in found)


def test_what_is_written_elsewhere_comes_first_then_the_blamed_line_and_little_before_much(tmp_path):
    found = tried(tmp_path, RIGHT.replace("- shift\n", "- y\n"), 20)
    weights = [m.weight for m in found]
    assert weights == sorted(weights)
    assert found[0].frame.line == 20
    assert found[0].edit.new == "shift"
    assert {m.name for m in found} == {"forward"}
    assert [m.away for m in found if m.weight == 1] == sorted(m.away for m in found if m.weight == 1)


@pytest.mark.parametrize(
    ("before", "after", "sign"),
    [
        ("turned(a, sine, cosine)", "turned(a, cosine, sine)", -1),
        (
            "def turned(x: Tensor, cosine: Tensor, sine: Tensor)",
            "def turned(x: Tensor, sine: Tensor, cosine: Tensor)",
            1,
        ),
        ("y = x", "y = x", 0),
        ("", "a strange and long piece of what nobody writes", 1),
    ],
)
def test_pieces_that_are_nowhere_else_are_strange(before, after, sign):
    texts = ["def turned(x: Tensor, cosine: Tensor, sine: Tensor)", "turned(b, cosine, sine)", "y = x", "y = x"]
    found = Wording([*texts, *([before] if before not in texts else [])]).strangeness(before, after)
    assert (found > 0) - (found < 0) == sign
    assert abs(found) <= MOST


def test_what_takes_a_step_away_is_tried_near_the_blamed_line_alone(tmp_path):
    near = tried(tmp_path, RIGHT, 20)
    assert [m for m in near if not m.light and m.frame.line == 20]
    (tmp_path / "again").mkdir()
    at = Frame("net.py", 20, "f", True, 0)
    candidate = Sources(tmp_path / "wrong")
    found = mends([Suspected(at, 3)], candidate, candidate, [])
    assert found
    assert all(m.light for m in found)


@pytest.mark.parametrize(
    ("right", "wrong", "line", "meant"),
    [
        ("eps=config.eps", "eps=config.width", 14, "config.eps"),
        ("self.query(self.norm(x)) * self.scale", "self.query(self.norm(x)) * self.key", 19, "self.scale"),
        ("x * cosine + swapped(x) * sine", "x * cosine + swapped(x) * cosine", 8, "sine"),
    ],
)
def test_what_is_there_and_read_nowhere_comes_before_other_names(tmp_path, right, wrong, line, meant):
    found = [m for m in tried(tmp_path, RIGHT.replace(right, wrong), line, making=True) if m.frame.line == line]
    names = [m for m in found if m.light and m.edit.new.replace("self.", "").replace("config.", "").isidentifier()]
    assert names[0].edit.new == meant


def ran(line: int, order: int) -> Operation:
    return Operation(order, "aten.add", (), (), (Frame("net.py", line, "forward", True, 0),), "norm#0", ())


def test_what_runs_after_the_difference_is_not_tried_and_what_made_nothing_wrong_is_tried_late(tmp_path):
    tried(tmp_path, RIGHT, 20)
    passed = graph()
    passed.operations = [ran(19, 0), ran(20, 1), ran(23, 2), ran(25, 3)]
    candidate, at = Sources(tmp_path / "wrong"), Frame("net.py", 20, "f", True, 0)
    every, some = (
        {(m.edit, m.light): m for m in mends([Suspected(at, 0)], candidate, candidate, [], *more) if not m.alike}
        for more in ((), (course(passed, {1}, 3),))
    )
    assert {m.frame.line for m in every.values()} - {m.frame.line for m in some.values()} == {25}
    for key, mend in some.items():
        if mend.edit.line != mend.edit.last:  # two statements
            continue
        later = INNOCENT if mend.edit.line in (19, 23) else 0
        assert mend.weight == every[key].weight + later


def test_the_operations_before_a_gate_are_those_until_its_module_is_left_for_the_last_time():
    passed = graph()
    passed.operations = [
        Operation(n, "aten.add", (), (), (), path, ()) for n, path in enumerate(("a#0", "c#0", "a#1", "a.b#0", "ab#0"))
    ]
    assert reach(passed, {"path": "a"}) == 4
    assert reach(passed, {"path": "c"}) == 2
    assert reach(passed, {"path": ""}) is reach(passed, {"path": "none"}) is reach(passed, None) is None


def test_a_lost_call_is_put_where_the_reference_has_it_before_anywhere_else(tmp_path):
    lost = RIGHT.replace("swapped(x) * sine", "swapped(x) * sine.abs().cos()")
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / "net.py").write_text(lost)
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "net.py").write_text(lost.replace(".abs()", ""))
    at = Frame("net.py", 8, "turned", True, 0)
    found = mends([Suspected(at, 0)], Sources(tmp_path / "wrong"), Sources(tmp_path / "right"), [at])
    first = next(m for m in found if not m.light and "abs" in m.edit.new)
    assert first.alike
    assert first.edit.new == "(sine).abs()"


def test_a_module_that_nothing_called_is_called(tmp_path):
    text = RIGHT.replace("self.query(self.norm(x))", "self.query(x)")
    tried(tmp_path, text, 25)
    passed = graph()
    passed.operations = [Operation(0, "aten.add", (), (), (), "query#0", ())]
    ran_so = course(passed, (), None, ["", "query", "norm", "key", "blocks.0"])
    assert ran_so.uncalled == {"norm", "key"}
    candidate, at = Sources(tmp_path / "wrong"), Frame("net.py", 25, "f", True, 0)
    found = mends([Suspected(at, 0)], candidate, candidate, [], ran_so)
    assert [m for m in found if m.alike and m.edit.new == "self.norm(x)" and m.frame.line == 19]
    assert not [m for m in found if m.edit.new.startswith("self.query(") and m.alike]


def test_a_function_that_touches_more_than_numbers_is_left_alone(tmp_path):
    assert tried(tmp_path, RIGHT.replace("y = self", "os.remove(str(x)); y = self"), 20) == []


def test_names_that_have_no_value_yet_are_not_tried(tmp_path):
    found = [m for m in tried(tmp_path, RIGHT, 19) if m.frame.line == 19]
    assert found
    assert not any(m.edit.new in ("z", "parts", "part") for m in found)


def test_words_come_of_both_sides():
    tree = Tree(RIGHT.encode())
    words = words_of([(tree, f) for f in tree.functions], [tree])
    assert {1, -0.5, 0.5, 8} & words.numbers == {1, 0.5, 8}
    assert "tanh" in words.texts
    assert {"gelu", "softmax", "LayerNorm"} <= words.functions
    assert words.classes == {"LayerNorm", "Linear"}
    assert words.keywords["softmax"] == {"dim": "-1"}
    assert words.attributes["config"] == {"width", "eps"}


def test_a_change_is_told_by_its_lines(tmp_path):
    text = RIGHT.replace("shift.ndim > 1", "shift.ndim >= 1")
    mend = next(m for m in tried(tmp_path, text, 24) if m.old == ">=" and m.edit.new == ">")
    assert mend.told(text.encode()) == ("if shift.ndim >= 1:", "if shift.ndim > 1:")


def graph(**outputs: list[float]) -> Graph:
    rows = np.array([[*v, *([0.0] * (14 - len(v)))] for v in outputs.values()])
    nothing = np.zeros(0, dtype=np.int64)
    values = [Value(n, (4,), "float", "", None, "", nothing, 0) for n in range(len(outputs))]
    return Graph([], values, rows, {name: n for n, name in enumerate(outputs)})


def test_every_output_has_to_agree_and_there_has_to_be_one():
    reference = graph(a=[1.0, 2.0], b=[3.0, 4.0])
    theirs, rows = given_by(reference), reference.vectors

    def gives(paths: list[str], rows, shape: tuple[int, ...] = (4,)) -> bool:
        return agrees(theirs, given_in({"outputs": paths, "shapes": [list(shape)] * len(paths)}, rows), 1e-12)

    assert gives(["a", "b"], rows)
    assert gives(["b", "a", "more"], [rows[1], rows[0], rows[0]])
    assert not gives(["a", "b"], rows, shape=(4, 1))
    assert not gives(["a"], rows[:1])
    assert not gives(["a", "b"], rows[::-1])
    assert not agrees({}, {}, 1e-12)


def test_of_outputs_that_differ_the_first_that_the_reference_has_is_looked_at(tmp_path):
    reference = graph(a=[1.0, 2.0], b=[3.0, 4.0], c=[float("nan"), 1.0])
    assert wanted(reference, ["other", "b", "a"], 1e-12) == {
        "path": "b", "print": [3.0, 4.0, *[0.0] * 12], "allowed": 2e-12,
    }  # fmt: skip
    assert wanted(reference, ["c"], 1e-12) is None
    assert wanted(reference, ["other"], 1e-12) is None


def test_a_model_of_many_operations_gets_few_tries_and_every_machine_as_many(tmp_path):
    tries, made = (tried(tmp_path, RIGHT, 20, making) for making in (False, True))
    nothing = graph()
    assert Budget().affordable(tries, prices(nothing, None)) == tries
    count = int((MOST_SECONDS / 10.5 - PER_TRY) / PER_OPERATION)
    nothing.operations = [Operation(n, "aten.add", (), (), (), "", ()) for n in range(count)]
    cost, budget = prices(nothing, None), Budget()
    assert budget.affordable(tries, cost) == tries[:10]
    assert budget.affordable(made, cost) == made[: 10 // PER_MODEL]
    budget.spend(tries[:7], cost)
    assert budget.affordable(tries, cost) == tries[:3]
    short = prices(nothing, count // 10)
    assert len(budget.affordable(tries, short)) == int(budget.left / short.until_gate) > 30
