"""Names and layouts of the candidate from the reference's."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pydantic import ValidationError

from verify.mapping import Recipe, inverse, rename, renamed, resolve, to_wire
from verify.spec import MappingSpec, ParameterRule
from verify.weights import compose, draw


def mapping(*rules: dict) -> MappingSpec:
    return MappingSpec.model_validate({"parameters": list(rules)})


@pytest.mark.parametrize(
    ("name", "source", "target", "expected"),
    [
        ("blocks.3.norm1.weight", "blocks.{i}.norm1.{p}", "layers.{i}.ln.{p}", "layers.3.ln.weight"),
        ("blocks.3.norm1.weight", "blocks.{i}.{rest*}", "layers.{i}.{rest*}", "layers.3.norm1.weight"),
        ("blocks.3.norm1.weight", "blocks.{i}", "layers.{i}", None),
        ("a.b.a", "{x}.b.{x}", "{x}", "a"),
        ("a.b.c", "{x}.b.{x}", "{x}", None),
        ("axb", "a.b", "c", None),  # a dot is a dot
    ],
)
def test_rename(name, source, target, expected):
    assert rename(name, source, target) == expected


def test_the_first_rule_that_matches_counts_and_others_stay():
    rules = {"a.{x}": "b.{x}", "{x*}": "other.{x*}"}
    assert renamed("a.1", rules) == "b.1"
    assert renamed("z", rules) == "other.z"
    assert renamed("z", {}) == "z"
    assert renamed(
        renamed("hidden_states.3", {"hidden_states.{i}": "1.{i}"}), inverse({"hidden_states.{i}": "1.{i}"})
    ) == ("hidden_states.3")


def test_names_without_a_rule_need_no_recipe():
    assert resolve(mapping({"candidate": "x", "reference": "y"}), {"w": (2, 3)}, {"w": (2, 3)}).recipes == {}


def test_a_fused_projection_holds_what_the_three_hold():
    rule = {"candidate": "{i}.qkv", "reference": ["{i}.q", "{i}.k", "{i}.v"]}
    found = resolve(mapping(rule), {"0.q": (4, 3), "0.k": (2, 3), "0.v": (2, 3)}, {"0.qkv": (8, 3)})
    assert not found.problems
    values = compose(5, found.to_wire()["0.qkv"])
    parts = [draw(5, f"0.{n}", (rows, 3)) for n, rows in (("q", 4), ("k", 2), ("v", 2))]
    assert np.array_equal(values, np.concatenate(parts))
    scaled = compose(5, found.to_wire()["0.qkv"], scaled={"0.k": -1.5})
    assert np.array_equal(scaled, np.concatenate([parts[0], parts[1] * np.float32(-1.5), parts[2]]))


def test_pieces_of_a_fused_projection():
    rules = [{"candidate": n, "reference": "qkv", "part": [i, 3]} for i, n in enumerate("qkv")]
    found = resolve(mapping(*rules), {"qkv": (6, 4)}, {"q": (2, 4), "k": (2, 4), "v": (2, 4)})
    whole = draw(1, "qkv", (6, 4))
    for index, name in enumerate("qkv"):
        assert np.array_equal(compose(1, found.to_wire()[name]), whole[2 * index : 2 * index + 2])


def test_a_piece_that_nothing_is_made_of_is_told():
    rules = [{"candidate": n, "reference": "qkv", "part": [i, 3]} for i, n in enumerate("qk")]
    found = resolve(mapping(*rules), {"qkv": (6, 4)}, {"q": (2, 4), "k": (2, 4)})
    assert "[2]" in found.problems["q"]


def test_transposed_and_reshaped():
    rules = [
        {"candidate": "linear", "reference": "conv", "reshape": True},
        {"candidate": "conv1d", "reference": "dense", "transpose": True},
    ]
    found = resolve(mapping(*rules), {"conv": (4, 3, 2, 2), "dense": (5, 2)}, {"linear": (4, 12), "conv1d": (2, 5)})
    assert not found.problems
    assert np.array_equal(compose(0, found.to_wire()["linear"]), draw(0, "conv", (4, 3, 2, 2)).reshape(4, 12))
    assert np.array_equal(compose(0, found.to_wire()["conv1d"]), draw(0, "dense", (5, 2)).T)


@pytest.mark.parametrize(
    ("rule", "reference", "candidate", "told"),
    [
        ({"candidate": "a", "reference": "b"}, {}, {"a": (1,)}, "does not have"),
        ({"candidate": "a", "reference": "b"}, {"b": (2,)}, {"a": (1,)}, "[1]"),
        ({"candidate": "a", "reference": ["b", "b"], "axis": 1}, {"b": (2,)}, {"a": (4,)}, "no axis 1"),
        ({"candidate": "a", "reference": ["b", "c"]}, {"b": (2, 3), "c": (2, 4)}, {"a": (4, 3)}, "cannot be joined"),
        ({"candidate": "a", "reference": "b", "part": [0, 3]}, {"b": (4,)}, {"a": (1,)}, "equal parts"),
        ({"candidate": "a", "reference": "b", "transpose": True}, {"b": (4,)}, {"a": (4,)}, "no two axes"),
        ({"candidate": "a", "reference": "b", "reshape": True}, {"b": (4,)}, {"a": (5,)}, "cannot be reshaped"),
    ],
)
def test_what_does_not_fit_is_told(rule, reference, candidate, told):
    found = resolve(mapping(rule), reference, candidate)
    assert told in found.problems["a"]
    assert not found.recipes


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"candidate": "{i}", "reference": "{j}"}, "{j}"),
        ({"candidate": "a", "reference": []}, "names no parameter"),
        ({"candidate": "a", "reference": "b", "part": [3, 3]}, "index < count"),
        ({"candidate": "a", "reference": "b", "part": [0]}, "index < count"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, told):
    with pytest.raises(ValidationError, match=re.escape(told)):
        ParameterRule.model_validate(rule)


def test_only_another_name_is_plain():
    assert Recipe(sources=("a",), shapes=((1,),)).plain
    assert not Recipe(sources=("a", "b"), shapes=((1,), (1,))).plain
    assert not Recipe(sources=("a",), shapes=((1, 1),), transpose=True).plain


@pytest.mark.parametrize(
    ("source", "target", "name"),
    [
        ("blocks.{i}.{rest*}", "layers.{i}.{rest*}", "blocks.3.norm.weight"),
        ("{a}.{a}", "{a}", "x.x"),
        ("0", "states.0", "0"),
        ("plain", "a\\b\\g<0>", "plain"),
        ("a+b", "c", "aab"),
    ],
)
def test_rules_for_a_side_rename_as_ours_do(source, target, name):
    ((expression, template),) = to_wire({source: target})
    found = re.fullmatch(expression, name)
    assert (found.expand(template) if found else None) == rename(name, source, target)
