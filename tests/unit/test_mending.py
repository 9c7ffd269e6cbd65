"""Of several changes that make every output agree: which is told, and which moves the place that is blamed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from verify.divergence.alignment import align
from verify.divergence.graph import Frame, Graph
from verify.divergence.mending import Budget, Mend, Prices
from verify.divergence.sources import Sources
from verify.edits import Edit
from verify.explain import mending
from verify.explain.changes import Changes
from verify.explain.mending import Mended, mended
from verify.observer import prints

SOURCE = "\n".join(f"line {n}" for n in range(1, 9)).encode()


def change(line: int, **about: object) -> Mend:
    edit = Edit(start=0, end=0, new=f"# {about}", line=line, last=line)
    return Mend(Frame("net.py", line, "f", True, 0), edit, "", 1, "f", bool(about.pop("making", False)), 0, **about)


REPLACES = {"light": True}
SIGN = {"light": True, "sign": True}
ALIKE = {"light": False, "alike": True, "adds": True}
STEP = {"light": False, "adds": True}


@pytest.fixture
def told(tmp_path, monkeypatch):
    """told(agreeing, …): what is told where these changes, and no others, make every output agree."""
    (tmp_path / "net.py").write_bytes(SOURCE)
    found = Prices(0.001, 0.003)

    def run(*agreeing: Mend, holds=None, anew: bool = False):
        def tried(ask, tries, *rest):
            *_, state = rest
            for one in tries:
                if one.old == "" and one.edit.new == "":
                    yield from [one] * anew
                elif state.useful(one):
                    yield one

        for name in ("reach", "course", "_suspected", "_spoken"):
            monkeypatch.setattr(mending, name, lambda *_: ())
        monkeypatch.setattr(mending, "mends", lambda *_: list(agreeing))
        monkeypatch.setattr(mending, "prices", lambda *_: found)
        monkeypatch.setattr(mending, "_agreeing", tried)
        match = SimpleNamespace(candidate=None, reference=None, candidate_suspects=SimpleNamespace(operations=[]))
        sources = {"candidate": Sources(tmp_path), "reference": Sources(tmp_path)}
        return mended(None, sources, match, None, {"candidate": {}, "reference": {}}, 1e-12, Budget(), holds=holds)

    return run


@pytest.mark.parametrize(
    ("agreeing", "line", "alone"),
    [
        ([(3, REPLACES), (4, REPLACES)], 3, True),
        ([(3, SIGN), (4, SIGN), (5, REPLACES)], 5, True),
        ([(3, STEP), (4, REPLACES)], 4, True),
        ([(3, STEP), (3, STEP)], 3, True),
        ([(3, STEP), (4, STEP)], 3, False),
        ([(3, STEP), (4, ALIKE)], 4, True),
        ([(3, ALIKE), (4, ALIKE)], 3, False),
        ([(3, SIGN), (4, STEP)], 3, True),
    ],
)
def test_what_says_most_is_told_and_whether_another_line_would_do(told, agreeing, line, alone):
    found = told(*(change(n, **about) for n, about in agreeing))
    assert (found.mend.frame.line, found.alone) == (line, alone)


def test_nothing_is_told_of_changes_that_do_not_hold(told):
    assert told() is None
    assert told(change(3, **REPLACES), holds=lambda mend: False) is None
    found = told(change(3, **REPLACES), change(4, **REPLACES), holds=lambda mend: mend.frame.line == 4)
    assert found.mend.frame.line == 4


def test_a_model_that_agrees_once_it_is_made_anew_proves_no_change(told):
    made = change(3, making=True, light=True)
    assert told(made).mend is made
    assert told(made, anew=True) is None
    assert told(made, change(5, **REPLACES), anew=True).mend.frame.line == 5


@pytest.mark.parametrize(
    ("about", "alone", "kind", "unknown", "moves"),
    [
        (REPLACES, True, "differs", False, True),
        (REPLACES, True, "setting", False, False),
        (REPLACES, True, "setting", True, True),
        (STEP, True, "differs", False, True),
        (STEP, False, "differs", False, False),
        (STEP, True, "operand", False, False),
        ({"light": False}, True, "differs", False, False),
        ({"light": False}, True, "setting", True, True),
        ({"light": False}, False, "setting", True, False),
    ],
)
def test_which_change_moves_the_place(tmp_path, about, alone, kind, unknown, moves):
    (tmp_path / "net.py").write_bytes(b"def f():\n" + b"    x = 1\n" * 8)
    changes = Changes(None, {"candidate": Sources(tmp_path)}, None)
    blamed = Frame("net.py", 7, "f", True, 0)
    culprit = SimpleNamespace(candidate=blamed, kind=kind, confidence="aligned", unknown=unknown)
    assert changes.moves(Mended(change(3, **about), "", "", alone=alone), culprit) is moves
    assert not changes.moves(Mended(change(7, **about), "", "", alone=alone), culprit)
    sure = SimpleNamespace(**{**vars(culprit), "confidence": "confirmed"})
    assert not changes.moves(Mended(change(3, **about), "", "", alone=alone), sure)


def line(number: int) -> list[object]:
    """A line as a side sends it."""
    return ["net.py", number, "f", True, 0]


BUFFERS = {
    "same": [1.0, 2.0, 4.0],
    "ones": [1.0, 1.0, 1.0],
    "other": [1.0, 2.0, 5.0],
}


def read_by_one(buffers: dict[str, list[float]]) -> Graph:
    """A pass of one operation, which reads buffers of the module `rope`."""
    arrays = [torch.tensor(v, dtype=torch.float64) for v in (*buffers.values(), [sum(map(sum, buffers.values()))] * 3)]
    numbers, made = list(range(len(buffers))), len(buffers)
    values = [[[3], "float", f"buffer:rope.{name}", None, ""] for name in buffers] + [[[3], "float", "", 0, ""]]
    operation = ["aten.cat.default", numbers, [made], 0, "rope#0", [], False]
    data = {
        "stacks": [[line(9)]],
        "operations": [operation],
        "values": values,
        "outputs": [["out", made]],
        "cut": False,
    }
    vectors = np.array([prints.vector(a) for a in arrays])
    none = {"hashes": np.zeros(0, dtype=np.int64), "starts": np.zeros(made + 2, dtype=np.int64)}
    return Graph.read(data, {"vectors": vectors, **none, "bounds": np.zeros(made + 1, dtype=np.int64)})


def test_lines_that_filled_a_buffer_with_what_the_reference_has_are_not_suspected():
    """Ones are in many places: that the reference has them too says nothing."""
    candidate, reference = read_by_one(BUFFERS), read_by_one(BUFFERS | {"other": [7.0, 8.0, 9.0]})
    match = SimpleNamespace(
        candidate=candidate,
        known_candidate=align(candidate, reference, 1e-12),
        candidate_suspects=SimpleNamespace(fronts=[0], values={3}),
    )
    origins = {"rope": {"set": {n: [None, [line(k)]] for k, n in enumerate(BUFFERS, 1)}, "made": [line(8)]}}
    suspected = list(mending._suspected(match, None, origins))
    assert [one.frame.line for one in suspected] == [9, 2, 3, 8]
