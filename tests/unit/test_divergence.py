"""Divergence: the first module that differs, from fingerprints alone."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.divergence.modules import Fingerprint, divergence, first_module

ALLOWED = 1e-12
SIZES = {"x": 6, "y": 6, "z": 6, "w": 6}


def print_of(seed: float, shape=(2, 3), change: float = 0.0) -> dict:
    """A fingerprint as `observer/modules.py` makes it, of values seeded by a number."""
    values = np.random.default_rng(int(seed * 10)).standard_normal(int(np.prod(shape))) + change
    norm = float(np.linalg.norm(values))
    unit = values / (norm or 1.0)
    signs = np.random.default_rng(1).integers(0, 2, (4, values.size)) * 2 - 1
    sums = [unit.sum(), np.abs(unit).sum(), (unit**3).sum() * len(unit) ** 0.5]
    return {"shape": list(shape), "norm": norm, "sums": sums, "projections": (signs @ unit).tolist()}


def calls(tree, parent=None, counter=None, found=None) -> list[dict]:
    """Calls from (path, inputs, outputs, children) tuples."""
    counter, found = counter or count(), [] if found is None else found
    path, inputs, outputs, children = tree
    order = next(counter)
    place = {"file": f"{path or 'model'}.py", "line": order + 1, "name": "C"}
    found.append(
        {"path": path, "index": 0, "class": f"C{order}", "parent": parent, "order": order}
        | {"inputs": inputs, "outputs": outputs, "location": place, "own_location": None}
    )
    for child in children:
        calls(child, order, counter, found)
    return found


def model(embed=0.0, inner=0.0, head=0.0, layer="layer", shape=(2, 3)) -> list[dict]:
    """image -> embed -> layer(inner) -> head, with the change that each makes carried on."""
    x, e = print_of(1, shape), print_of(2, shape, embed)
    i, h = print_of(3, shape, embed + inner), print_of(4, shape, embed + inner + head)
    layers = (layer, [e], [i], [(f"{layer}.inner", [e], [i], [])])
    return calls(("", [x], [h], [("embed", [x], [e], []), layers, ("head", [i], [h], [])]))


@pytest.mark.parametrize(
    ("change", "path"), [({"embed": 0.1}, "embed"), ({"inner": 0.1}, "layer.inner"), ({"head": 0.1}, "head")]
)
def test_the_innermost_first_module_is_named(change, path):
    found = first_module(model(), model(**change), ALLOWED)
    assert found is not None
    assert (found[0]["path"], found[1]["path"]) == (path, path)


@given(st.permutations(["embed", "inner", "head"]), st.integers(1, 3))
def test_the_first_of_several_is_named(order, many):
    changed = order[:many]
    found = first_module(model(), model(**dict.fromkeys(changed, 0.1)), ALLOWED)
    assert found is not None
    first = next(name for name in ("embed", "inner", "head") if name in changed)
    assert found[0]["path"].endswith(first)


@pytest.mark.parametrize("change", ["embed", "inner", "head"])
def test_renamed_modules_are_found_by_value(change):
    found = first_module(model(layer="blocks"), model(layer="layer", **{change: 0.1}), ALLOWED)
    assert found is not None
    wanted = {"embed": ("embed", "embed"), "inner": ("layer.inner", "blocks.inner"), "head": ("head", "head")}[change]
    assert (found[0]["path"], found[1]["path"]) == wanted


@pytest.mark.parametrize("layer", ["layer", "blocks"])
def test_where_every_call_agrees_nothing_is_named(layer):
    assert first_module(model(), model(layer=layer), ALLOWED) is None
    assert first_module(model(), model(embed=1e-15), ALLOWED) is None


def test_a_difference_inside_that_comes_out_equal_is_left_alone():
    inside = [("", [print_of(1)], [print_of(9)], [("a", [print_of(1)], [print_of(2, change=c)], [])]) for c in (0, 0.1)]
    assert first_module(calls(inside[0]), calls(inside[1]), ALLOWED) is None


def test_no_calls_name_nothing():
    assert first_module([], model(), ALLOWED) is None
    assert first_module(model(), [], ALLOWED) is None


def test_without_a_counterpart_the_references_root_stands_in():
    left = calls(("", [print_of(1)], [print_of(2)], []))
    right = calls(("", [print_of(1)], [print_of(3)], [("extra", [], [print_of(3)], [])]))
    found = first_module(left, right, ALLOWED)
    assert found is not None
    assert (found[0]["path"], found[1]["path"]) == ("extra", "")


def read(**changes) -> Fingerprint:
    return Fingerprint.read({**print_of(1), **changes})


def test_near_is_layout_free_where_shapes_differ():
    same = read()
    assert same.near(read(), ALLOWED)
    assert same.near(read(shape=[3, 2], projections=[9.0] * 4), ALLOWED)
    assert not same.near(read(projections=[9.0] * 4), ALLOWED)
    assert not same.near(read(shape=[7]), ALLOWED)
    assert not same.near(read(shape=[6], sums=[0.0, 0.0, 0.0]), ALLOWED)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_near_never_takes_a_number_for_none(value):
    broken = read(norm=value)
    assert not broken.near(read(), ALLOWED)
    assert not read().near(broken, ALLOWED)
    assert broken.near(read(norm=value), ALLOWED)


def test_zeros_are_near_zeros():
    zero = read(norm=0.0)
    assert zero.scale == 1.0
    assert zero.near(read(norm=0.0), ALLOWED)
    assert not zero.near(read(norm=1e-6), ALLOWED)


def test_the_reports_entry():
    pair = first_module(model(), model(inner=0.1), ALLOWED)
    assert pair is not None
    pair[0]["own_location"] = {"file": "own.py", "line": 5, "name": "Block"}
    found = divergence(("forward", "base", "image"), 0.5, 1e-13, pair)
    assert (found.subject, found.confidence, found.measured, found.allowed) == ("layer.inner", "module", 0.5, 1e-13)
    assert found.candidate is not None
    assert (found.candidate.file, found.candidate.line) == ("own.py", 5)
    assert found.reference is not None
    assert found.reference.file == "layer.inner.py"
    root = first_module(calls(("", [], [print_of(1)], [])), calls(("", [], [print_of(2)], [])), ALLOWED)
    assert root is not None
    assert "is (the model)" in divergence(("f", "v", "c"), None, None, root).message


@pytest.mark.parametrize("order", [99, -1, 10**30, "0", None])
@pytest.mark.parametrize("call", range(5))
def test_a_hostile_order_changes_nothing(order, call):
    """A call's place in the list counts, not what it says about itself."""
    left, right = model(), model(embed=0.1)
    left[call]["order"] = right[call]["order"] = order
    found = first_module(left, right, ALLOWED)
    assert found is not None
    assert (found[0]["path"], found[1]["path"]) == ("embed", "embed")


@given(st.lists(st.none() | st.integers(-2, 6), min_size=5, max_size=5))
def test_hostile_parents_end(parents):
    left, right = model(), model(embed=0.1, inner=0.1, head=0.1)
    for call, parent in zip(right, parents, strict=True):
        call["parent"] = parent
    found = first_module(left, right, ALLOWED)
    assert found is None or found[0] in right


def test_a_call_that_is_its_own_parent_ends():
    left, right = model(), model(embed=0.1)
    right[1]["parent"] = 1
    right[0]["parent"] = 1
    assert first_module(left, right, ALLOWED) is None
