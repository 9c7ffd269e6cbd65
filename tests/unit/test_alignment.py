"""Alignment by value, suspects and layouts, on graphs made by hand. No model, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from verify.divergence.alignment import Level, align
from verify.divergence.graph import Graph
from verify.divergence.sources import Sources
from verify.divergence.suspects import anchor_pairs, suspects, wrong_outputs
from verify.divergence.trials import layouts

ALLOWED = 1e-12
SIGNS = np.random.default_rng(3).integers(0, 2, (4, 4096)) * 2 - 1.0


def vector(array: np.ndarray) -> list[float]:
    """As `observer/prints.py` makes it, with other signs."""
    flat = array.ravel()
    norm = float(np.linalg.norm(flat)) or 1.0
    wide = [axis for axis, size in enumerate(array.shape) if size > 1]
    marginals = [array.sum(tuple(a for a in range(array.ndim) if a != axis)) for axis in wide]
    return [
        norm, flat.sum(), np.abs(flat).sum(), (flat**3).sum() / norm**2 * flat.size**0.5,
        *(SIGNS[:, : flat.size] @ flat), *([m @ SIGNS[0, : m.size] for m in marginals] + [0.0] * 6)[:6],
    ]  # fmt: skip


@dataclass
class Tape:
    """Records operations on arrays as a side would."""

    data: dict[str, Any] = field(default_factory=lambda: {"operations": [], "stacks": [], "values": [], "cut": False})
    arrays: list[np.ndarray] = field(default_factory=list)
    outputs: list[list[Any]] = field(default_factory=list)

    def leaf(self, array: np.ndarray, name: str) -> int:
        return self._value(array, name, None)

    def run(self, name: str, inputs: list[int], array: np.ndarray, line: int = 1) -> int:
        order = len(self.data["operations"])
        self.data["stacks"].append([["net.py", line, "forward", True, line]])
        made = self._value(array, "", order)
        self.data["operations"].append([f"aten.{name}.default", inputs, [made], order, "", [], False])
        return made

    def _value(self, array: np.ndarray, leaf: str, producer: int | None) -> int:
        whole = leaf.removeprefix("parameter:") if leaf.startswith("parameter:") else ""
        self.data["values"].append([list(array.shape), "float", leaf, producer, whole])
        self.arrays.append(array)
        return len(self.arrays) - 1

    def graph(self, **outputs: int) -> Graph:
        hashes = [np.unique(np.abs(a).round(9).view(np.int64)) for a in self.arrays]
        starts = np.cumsum([0, *map(len, hashes)])
        bounds = np.full(len(self.arrays), 2**62)
        table = {"vectors": np.array([vector(a) for a in self.arrays]), "hashes": np.concatenate(hashes)}
        data = {**self.data, "outputs": [[k, v] for k, v in outputs.items()]}
        return Graph.read(data, {**table, "starts": starts, "bounds": bounds})


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 4, 5))


def levels(first: np.ndarray, *theirs: np.ndarray) -> Level:
    """The level of a value on a side whose other side computes `theirs`."""
    mine, other = Tape(), Tape()
    number = mine.run("op", [], first)
    for array in theirs:
        other.run("op", [], array)
    return Level(align(mine.graph(), other.graph(), ALLOWED).level[number])


def test_the_same_values_are_known_in_whatever_layout(x):
    assert levels(x, x * (1 + 1e-15)) == Level.EXACT
    assert levels(x[None], x) == Level.EXACT
    assert levels(x.reshape(12, 5), x) == Level.SAME
    assert levels(np.ascontiguousarray(x.transpose(2, 0, 1)), x) == Level.SAME


def test_other_values_are_not_known(x):
    assert levels(x * (1 + 1e-9), x) == Level.UNKNOWN
    assert levels(x[:2], x) == Level.UNKNOWN
    assert levels(x, np.abs(x)) == Level.UNKNOWN


@pytest.mark.parametrize("turn", [lambda x: x[::-1], lambda x: x[:, :, ::-1], lambda x: x[:, [1, 0, 2, 3]]])
def test_the_same_elements_in_another_order_are_told_apart(x, turn):
    assert levels(np.ascontiguousarray(turn(x)), x) == Level.PERMUTED
    assert levels(np.ascontiguousarray(turn(x)).reshape(12, 5), x) == Level.PERMUTED


def test_axes_that_were_mixed_are_told_apart(x):
    mixed = x.reshape(4, 3, 5).transpose(1, 2, 0)
    assert levels(np.ascontiguousarray(mixed), x) == Level.PERMUTED


def test_parts_and_wholes_are_known_by_their_elements(x):
    mine, other = Tape(), Tape()
    part, whole = mine.run("slice", [], x[:2]), mine.run("cat", [], np.concatenate([x, x + 7]))
    strange = mine.run("op", [], x + 100)
    for array in (x, x + 7):
        other.run("op", [], array)
    known = align(mine.graph(), other.graph(), ALLOWED)
    assert (known.elements[part], known.elements[whole], known.elements[strange]) == (True, True, False)


def faulty(x: np.ndarray) -> tuple[Graph, Graph]:
    """y = tanh(x·w) + 1 on both sides; the candidate adds 2, on the way it computes something of its own."""
    w = np.random.default_rng(1).standard_normal((5, 5))
    graphs = []
    for added, private in ((1.0, False), (2.0, True)):
        tape = Tape()
        a, b = tape.leaf(x, "input:x"), tape.leaf(w, "parameter:w")
        y = tape.run("mm", [a, b], x @ w, 1)
        made = np.tanh(x @ w)
        y = tape.run("exp", [y], np.exp(2 * (x @ w)), 2) if private else y
        y = tape.run("tanh", [y], made, 3)
        y = tape.run("add", [y], made + added, 4)
        y = tape.run("exp", [y], np.exp(made + added), 5)
        graphs.append(tape.graph(y=y))
    return graphs[0], graphs[1]


def test_suspects_end_at_the_last_values_that_agree(x):
    reference, candidate = faulty(x)
    wrong = wrong_outputs(reference, candidate, ALLOWED)
    assert wrong == ["y"]
    found = suspects(candidate, align(candidate, reference, ALLOWED), wrong)
    assert [candidate.operations[o].short for o in found.operations] == ["add", "exp"]
    assert [candidate.operations[o].short for o in found.fronts] == ["add"]


def test_equal_sides_have_no_suspects(x):
    reference, _ = faulty(x)
    assert wrong_outputs(reference, reference, ALLOWED) == []


def test_operations_with_one_parameter_are_anchors(x):
    reference, candidate = faulty(x)
    known = align(candidate, reference, ALLOWED)
    assert anchor_pairs(candidate, known, reference) == {0: 0}


def test_a_record_of_another_form_is_refused(x):
    tape = Tape()
    tape.run("op", [], x)
    tape.data["operations"][0][1] = [99]
    with pytest.raises((IndexError, ValueError)):
        tape.graph()


@pytest.mark.parametrize("read", [[2], [0, 2], [-1], [1]])
def test_a_record_in_which_a_value_is_made_of_what_comes_later_is_refused(x, read):
    """Walks backwards through a record end."""
    tape = Tape()
    tape.run("tanh", [tape.leaf(x, "input:x")], np.tanh(x))
    tape.run("mul", [1], x * 2)
    tape.data["operations"][0][1] = read
    with pytest.raises(ValueError, match="is made of"):
        tape.graph()


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [((1, 3, 4, 5), (1, 4, 3, 5), (0, 2, 1, 3)), ((3, 4, 5), (4, 15), (1, 0, 2)), ((2, 3), (6,), (1, 0))],
)
def test_layouts_are_axis_orders_that_fit(shape, target, expected):
    assert expected in layouts(shape, target)
    for axes in layouts(shape, target):
        assert np.zeros(shape).transpose(axes).reshape(target).shape == target


def test_sources_stay_in_the_sides_folder(tmp_path):
    side = tmp_path / "side"
    side.mkdir()
    (side / "net.py").write_text("def f():\n    return 1\n")
    (tmp_path / "secret.py").write_text("token = 1\n")
    (side / "link.py").symlink_to(tmp_path / "secret.py")
    (side / "notes.txt").write_text("x\n")
    sources = Sources(side)
    assert sources.excerpt("net.py", 2) == [(1, "def f():"), (2, "    return 1")]
    for file in ("../secret.py", "link.py", str(tmp_path / "secret.py"), "notes.txt", "gone.py", "a\0b"):
        assert sources.excerpt(file, 1) == [], file
    assert sources.excerpt("net.py", 99) == []
