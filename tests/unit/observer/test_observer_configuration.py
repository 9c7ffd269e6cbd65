"""What a configuration class does, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from verify.observer import configuration
from verify.observer.configuration import _arguments, _attributes, _probes, observe, plain


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


HERE = str(Path(__file__).parent)


def observed(config_class, root="/nowhere", **values):
    """root: the side's own folder; by default every class is a library's."""
    builder = SimpleNamespace(config_class=lambda: config_class, config_values=dict, settings={"path": root})
    found = observe(builder, {"values": values})
    json.dumps(found)
    return found


def test_no_class_is_absent():
    assert observed(None) == {"absent": True}


def test_a_plain_class():
    found = observed(Plain, width=8)
    assert set(found) == {
        "arguments", "defaults", "explicit", "attributes", "probes", "unusual", "dictionary_trip", "json_trip", "equality",
        "own_equality", "saving", "inherited", "location",
    }  # fmt: skip
    assert not found["own_equality"]  # it is object's
    assert not any(found["equality"].values())
    assert found["saving"] == {}
    assert (found["defaults"]["width"], found["explicit"]["width"]) == (4, 8)
    assert found["dictionary_trip"] == found["json_trip"] == found["explicit"]
    assert found["attributes"]["double"] == 16
    assert found["attributes"]["broken"] == {"raised": "RuntimeError: no"}
    assert found["attributes"]["kind"] == "toy"
    assert "method" not in found["attributes"]
    assert found["probes"] == {"width": {"width": 24}, "rate": {"rate": 1.125}, "flag": {"flag": False}}


@dataclass
class Needs:
    width: int
    depth: int = 2
    inner: object = field(default_factory=lambda: Inner())


@dataclass
class Inner:
    heads: int = 4


def test_an_argument_without_a_default_is_given_the_variants_value():
    found = observed(Needs, width=8, depth=3)
    assert found["defaults"] == {"width": 8, "depth": 2, "inner": {"fields": {"heads": 4}}}
    assert found["probes"] == {"depth": {"depth": 20}}
    assert set(observed(Needs)["defaults"]) == {"raised"}


def test_a_configuration_within_one_is_told_by_its_fields_whatever_its_class_is_called():
    other = make_dataclass("Other", [("heads", int, 4)])
    assert plain(Inner()) == plain(other()) == {"fields": {"heads": 4}}
    assert plain(Inner(8)) != plain(Inner())
    assert plain({"heads": 4}) != plain(Inner())
    assert plain(SimpleNamespace(to_dict=lambda: {"heads": 4})) == plain(Inner())


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


def test_equality_is_what_it_does_whoever_says_so():
    class Base(Plain):
        broken = None

        def __eq__(self, other):
            return isinstance(other, Plain) and vars(self) == vars(other)

    class Toy(Base): ...

    found = observed(Toy)
    assert not found["own_equality"]
    assert observed(Toy, HERE)["own_equality"]
    assert found["equality"].pop("the same values") is True
    assert set(found["equality"]) == {"no configuration", "width", "rate", "flag"}
    assert not any(found["equality"].values())


@pytest.mark.parametrize("kind", [str, Path])
def test_the_folder_that_is_handed_on_is_one_in_any_form(kind):
    from transformers import PretrainedConfig

    class Toy(PretrainedConfig):
        def save_pretrained(self, save_directory, push_to_hub=False, **kwargs):
            return super().save_pretrained(kind(save_directory), push_to_hub=push_to_hub, **kwargs)

    handed = observed(Toy, HERE)["saving"]["arguments"]
    assert handed == {"save_directory": True, "push_to_hub": False, "kwargs": {"any_other": "argument"}}


def test_another_folder_that_is_handed_on_is_told():
    from transformers import PretrainedConfig

    class Toy(PretrainedConfig):
        def save_pretrained(self, save_directory, push_to_hub=False, **kwargs):
            return super().save_pretrained(Path(save_directory, "below"), push_to_hub=push_to_hub, **kwargs)

    assert observed(Toy, HERE)["saving"]["arguments"]["save_directory"] is False


def test_arguments_and_probes():
    found = {a["name"]: a for a in _arguments(Plain)}
    assert list(found) == ["width", "rate", "flag", "name", "sizes", "need"]
    assert found["sizes"]["default"] == [1, 2]
    assert found["need"] == {"name": "need", "kind": "keyword-only", "default": None, "required": False}
    assert _arguments(lambda x: x)[0]["required"]
    assert all(dict(_probes(Plain))[n] != found[n]["default"] for n in ("width", "rate", "flag"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1: (2, {"a"})}, {"1": [2, ["a"]]}),
        (frozenset({3, 1}), [1, 3]),
        (object(), "<object>"),
        (1 + 2j, "<complex (1+2j)>"),
        (None, None),
        (float("inf"), float("inf")),
    ],
)
def test_values_are_plain(value, expected):
    assert plain(value) == expected


def test_private_names_are_left_out():
    assert not [n for n in _attributes(Plain()) if n.startswith("_")]
    assert configuration._attempt(lambda: 1) == 1
