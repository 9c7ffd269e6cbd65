"""What a configuration class does, as plain data."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from verify.observer import configuration
from verify.observer.configuration import _arguments, _attributes, _plain, _probes, observe


class Plain:
    kind = "toy"

    def __init__(self, width=4, rate=0.5, flag=True, name="x", sizes=(1, 2), *, need=None):
        self.width, self.rate, self.flag, self.name, self.sizes = width, rate, flag, name, sizes
        if width > 99:
            raise ValueError("too wide")

    @property
    def double(self):
        return self.width * 2

    @property
    def broken(self):
        raise RuntimeError("no")

    def method(self): ...


def observed(config_class, **values):
    builder = SimpleNamespace(config_class=lambda: config_class, config_values=dict, settings={"path": "/nowhere"})
    found = observe(builder, {"values": values})
    json.dumps(found)
    return found


def test_no_class_is_absent():
    assert observed(None) == {"absent": True}


def test_a_plain_class():
    found = observed(Plain, width=8)
    assert set(found) == {
        "arguments", "defaults", "explicit", "attributes", "probes", "dictionary_trip", "json_trip", "equality", "saving",
        "inherited", "location",
    }  # fmt: skip
    assert found["equality"] == found["saving"] == {}
    assert (found["defaults"]["width"], found["explicit"]["width"]) == (4, 8)
    assert found["dictionary_trip"] == found["json_trip"] == found["explicit"]
    assert found["attributes"]["double"] == 16
    assert found["attributes"]["broken"] == {"raised": "RuntimeError: no"}
    assert found["attributes"]["kind"] == "toy"
    assert "method" not in found["attributes"]
    assert found["probes"] == {"width": {"width": 24}, "rate": {"rate": 1.125}, "flag": {"flag": False}}


def test_a_value_that_is_refused_is_told_as_such():
    found = observed(Plain, width=100)
    assert found["explicit"] == found["json_trip"] == {"raised": "ValueError: too wide"}
    assert found["defaults"]["width"] == 4


def test_a_pretrained_configuration():
    from transformers import PretrainedConfig

    class Toy(PretrainedConfig):
        model_type = "unit-toy"
        attribute_map = {"hidden": "width"}  # noqa: RUF012

        def __init__(self, width=4, **kwargs):
            super().__init__(**kwargs)
            self.width = width

    found = observed(Toy, width=8)
    assert found["attributes"]["hidden"] == 8
    assert found["dictionary_trip"]["width"] == found["json_trip"]["width"] == 8
    assert found["probes"]["width"] == {"width": 24}


def test_arguments_and_probes():
    found = {a["name"]: a for a in _arguments(Plain)}
    assert list(found) == ["width", "rate", "flag", "name", "sizes", "need"]
    assert found["sizes"]["default"] == [1, 2]
    assert found["need"] == {"name": "need", "kind": "keyword-only", "default": None, "required": False}
    assert _arguments(lambda x: x)[0]["required"]
    assert all(dict(_probes(Plain))[n] != found[n]["default"] for n in ("width", "rate", "flag"))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({1: (2, {"a"})}, {"1": [2, ["a"]]}),
        (frozenset({3, 1}), [1, 3]),
        (object(), "<object>"),
        (1 + 2j, "<complex (1+2j)>"),
        (None, None),
        (float("inf"), float("inf")),
    ],
)
def test_values_are_plain(value, plain):
    assert _plain(value) == plain


def test_private_names_are_left_out():
    assert not [n for n in _attributes(Plain()) if n.startswith("_")]
    assert configuration._attempt(lambda: 1) == 1
