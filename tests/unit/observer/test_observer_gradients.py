"""Gradients of fused, cut and transposed parameters in the reference's words; their fingerprints."""

from __future__ import annotations

import pytest
import torch

from verify.mapping import resolve
from verify.observer.gradients import _in_reference_words, fingerprint
from verify.spec import MappingSpec
from verify.weights import compose, draw

REFERENCE = {"q": (4, 6), "k": (4, 6), "v": (2, 6), "whole": (6, 4), "table": (3, 4)}


@pytest.mark.parametrize(
    ("rules", "shapes"),
    [
        ([{"candidate": "qkv", "reference": ["q", "k", "v"]}], {"qkv": (10, 6)}),
        ([{"candidate": "qk", "reference": ["q", "k"], "axis": 1, "transpose": True}], {"qk": (12, 4)}),
        ([{"candidate": f"part{i}", "reference": "whole", "part": [i, 3]} for i in range(3)], {f"part{i}": (2, 4) for i in range(3)}),
        ([{"candidate": f"part{i}", "reference": "whole", "part": [i, 2], "axis": 1, "transpose": True} for i in range(2)], {f"part{i}": (2, 6) for i in range(2)}),
        ([{"candidate": "flat", "reference": "table", "reshape": True}], {"flat": (12,)}),
        ([{"candidate": "turned", "reference": "table", "transpose": True, "reshape": True}], {"turned": (2, 6)}),
    ],
)  # fmt: skip
def test_taking_back_undoes_composing(rules, shapes):
    """The gradient of a linear function of the weights is that function: draw it as weights are drawn, then take it back."""
    found = resolve(MappingSpec.model_validate({"parameters": rules}), REFERENCE, shapes)
    assert not found.problems
    recipes = found.to_wire()
    grads = {name: torch.from_numpy(compose(0, recipe)) for name, recipe in recipes.items()}
    named = _in_reference_words(grads, recipes, {})
    assert named.keys() == {source for recipe in recipes.values() for source in recipe["sources"]}
    for name, grad in named.items():
        assert torch.equal(grad, torch.from_numpy(draw(0, name, REFERENCE[name]))), name


def test_what_is_not_connected_stays_so_under_all_its_names():
    recipes = resolve(
        MappingSpec.model_validate({"parameters": [{"candidate": "qkv", "reference": ["q", "k", "v"]}]}),
        REFERENCE,
        {"qkv": (10, 6)},
    ).to_wire()
    assert _in_reference_words({"qkv": None, "input:x": None}, recipes, {"x": "hidden"}) == {
        "q": None, "k": None, "v": None, "input:hidden": None,
    }  # fmt: skip


def test_fingerprints_tell_values_and_places_apart():
    x = torch.randn(5, 7, dtype=torch.float64)
    first = fingerprint(x)
    assert len(first) == 9
    assert first == fingerprint(x.clone())
    assert first[0] == pytest.approx(float(x.norm()), rel=1e-14)
    assert first[1:] != fingerprint(x.flip(0))[1:]
    assert fingerprint(x)[0] == pytest.approx(fingerprint(x.flip(0))[0], rel=1e-14)
