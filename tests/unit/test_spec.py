"""Spec: what is accepted, and how each fault is told."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unit_builders import ROOT, spec_of

from verify import spec
from verify.spec import InputSpec, Spec, SpecError

GOOD = """\
version: 1
reference: {model: "a:B"}
candidate: {factory: "a.b:C.d"}
cases:
  image:
    inputs:
      x: {shape: [1, "2*n"]}
"""


@pytest.fixture
def load(tmp_path):
    def read(text: str | bytes) -> Spec:
        file = tmp_path / "s.yml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return spec.load(file)

    return read


@pytest.fixture
def refused(load):
    def told(text: str | bytes) -> str:
        with pytest.raises(SpecError) as error:
            load(text)
        return str(error.value)

    return told


def test_a_good_spec_has_its_defaults(load):
    found = load(GOOD)
    assert found.first_variant == "default"
    assert found.cases["image"].arithmetic == "fp64"
    assert found.cases["image"].inputs["x"].shape == [1, "2*n"]
    assert found.tolerance.multiple == 64.0
    with pytest.raises(Exception, match="frozen"):
        found.version = 2


def test_the_preset_is_a_good_spec():
    found = spec.load(spec.PRESET)
    assert found.first_variant == "base"
    assert list(found.variants) == ["small", "base", "large", "huge", "giant"]


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("refrence: {}", "s.yml:8: refrence: unknown key; did you mean `reference`?"),
        ("zzz: 1", "s.yml:8: zzz: unknown key; the keys here are version, reference"),
        ("tolerance: {multipel: 2}", "8: tolerance.multipel: unknown key; did you mean `multiple`?"),
        ("checks: {forward: {ignored: []}}", "8: checks.forward.ignored: unknown key; did you mean `ignore`?"),
        ("tolerance: {multiple: 0}", "8: tolerance.multiple: Input should be greater than 0; got 0"),
        ("tolerance: {multiple: .inf}", "8: tolerance.multiple: Input should be less than or equal to 4096; got inf"),
        ("tolerance: {multiple: '64'}", "Input should be a valid number; got '64'"),
        ("default_variant: big", "s.yml:8: default_variant: there is no variant 'big' (there are: default)"),
        ("default_variant: defualt", "there is no variant 'defualt'; did you mean 'default'? (there are: default)"),
        (
            "checks:\n  forward: {cases: [imge]}",
            "9: checks.forward.cases: there is no case 'imge'; did you mean 'image'?",
        ),
        ("variants: {}", "variants: at least one is needed here; got {}"),
        (
            "variants: {v: {day: 2020-01-01}}",
            "8: variants.v: datetime.date(2020, 1, 1) under 'day' is a date; put it in quotes",
        ),
        ("variants: {v: {1: 2}}", "8: variants.v: the key 1 is no text; put it in quotes"),
        ("variants: {v: {s: !!set {a}}}", "8: variants.v: {'a'} under 's' is a set; put it in quotes"),
        ("variants: {v: &v {w: *v}}", "s.yml:8: this value contains itself"),
        ("cases: {}", "s.yml:8: the key `cases` is here twice, first in line 4"),
        ("depth_key: 3", "8: depth_key: Input should be a valid string; got 3"),
        ("checks: 3", "8: checks: Input should be a valid dictionary; got 3"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_its_line(refused, added, told):
    assert told in refused(GOOD + added + "\n")


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("{shape: [1], drew: normal}", "7: cases.image.inputs.x.drew: unknown key; did you mean `draw`?"),
        ("{shape: [1.5]}", "7: cases.image.inputs.x.shape.0"),
        ("{shape: [1], draw: integers}", "draw: integers needs `below`"),
        ("{shape: [1], below: 3}", "draw: normal takes no `below`; integers, subset and permutation do"),
        ("{shape: [], draw: subset, below: 3}", "needs a shape whose last size"),
        ("{shape: [1], scale: .nan}", "scale: Input should be a finite number"),
        ("{draw: normal}", "7: cases.image.inputs.x.shape: this key is missing"),
        ("3", "7: cases.image.inputs.x"),
    ],
)
def test_a_wrong_input_is_told_with_its_line(refused, case, told):
    assert told in refused(GOOD.replace('{shape: [1, "2*n"]}', case))


@pytest.mark.parametrize("name", ["inputs", "int", "str", "config"])
def test_a_case_may_have_any_name(refused, name):
    told = refused(GOOD.replace("image", name).replace("    inputs:\n", "    arithmetc: fp32\n    inputs:\n"))
    assert f"s.yml:6: cases.{name}.arithmetc: unknown key; did you mean `arithmetic`?" in told


@pytest.mark.parametrize("side", ["{}", '{model: "a:B", factory: "a:B"}'])
def test_a_side_needs_one_maker(refused, side):
    told = refused(GOOD.replace('{model: "a:B"}', side))
    assert "s.yml:2: reference: exactly one of `model` and `factory` is needed" in told


@pytest.mark.parametrize("target", ["a", "a:", ":B", "a-b:C", "a:B()", "a b:C"])
def test_a_target_is_a_module_and_a_name(refused, target):
    assert "reference.model: expected package.module:Name" in refused(GOOD.replace("a:B", target))


def test_every_fault_is_told_at_once(refused):
    told = refused("version: 2\nreference: {}\nx: 1\n").splitlines()
    assert sorted(line.partition("s.yml:")[2].partition(": ")[0::2] for line in told) == [
        ("1", "candidate: this key is missing"),
        ("1", "cases: this key is missing"),
        ("1", "version: Input should be 1; got 2"),
        ("2", "reference: exactly one of `model` and `factory` is needed; got {}"),
        ("3", told[-1].partition(": ")[2] if "x: unknown" in told[-1] else ""),
    ]


def test_a_long_value_is_cut(refused):
    told = refused(GOOD.replace('"a:B"', "[" + "1," * 99 + "]"))
    assert told.endswith("...")
    assert len(told.splitlines()[0]) < 300


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\xff\xfe\x00", "not UTF-8 text (byte 0)"),
        ("a: [", "not valid YAML"),
        ("a\0b", "not valid YAML"),
        ("? [1]\n: 2", "not valid YAML"),
        ("!!python/object:os.system {}", "not valid YAML"),
        ("[" * 1500, "not valid YAML"),
        ("", "this is empty"),
        ("# only a comment", "this is empty"),
        ("[1]", "this is a list"),
        ("just words", "this is a str"),
    ],
)
def test_what_is_no_mapping_is_told(refused, text, told):
    assert told in refused(text)


def test_aliases_that_multiply_are_refused_at_once(refused):
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 100000 values" in refused("\n".join(lines))


def test_merge_keys_may_be_overridden(load):
    found = load(GOOD + "variants:\n  a: &a {n: 1, m: 2}\n  b: {<<: *a, n: 3}\n")
    assert found.variants["b"] == {"n": 3, "m": 2}
    assert found.first_variant == "a"


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(SpecError, match=r"no\.yml: No such file or directory; --spec FILE names the spec"):
        spec.load(tmp_path / "no.yml")


def test_which_spec_is_used(tmp_path):
    asked = tmp_path / "mine.yml"
    assert spec.find(asked, tmp_path) == asked
    assert spec.find(None, tmp_path) == spec.PRESET
    own = tmp_path / spec.DEFAULT_NAME
    own.touch()
    assert spec.find(None, tmp_path) == own


@pytest.mark.parametrize(
    ("given_checks", "names"),
    [(["forward"], ["forward"]), ({"forward": None, "buffers": {"ignore": ["x"]}}, ["forward", "buffers"])],
)
def test_checks_may_be_a_list_or_have_options(given_checks, names):
    assert list(spec_of(checks=given_checks).checks) == names
    found = {**yaml.safe_load(GOOD), "checks": given_checks}
    jsonschema.validate(found, Spec.model_json_schema())


def test_the_preset_fits_the_schema():
    schema = Spec.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(spec.PRESET.read_text()), schema)


def test_the_packaged_schema_is_the_generated_one():
    packaged = json.loads((ROOT / "verify" / "spec.schema.json").read_text())
    assert packaged == Spec.model_json_schema(), "run `make schema`"


@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_a_spec_error(tmp_path_factory, text):
    file: Path = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_bytes(text.encode("utf-8", "replace"))
    with pytest.raises(SpecError):
        spec.load(file)


@given(st.sampled_from(["normal", "uniform", "constant", "integers", "subset", "permutation"]), st.booleans())
def test_whole_draws_and_below_go_together(draw, with_below):
    values = {"shape": [1], "draw": draw, **({"below": 3} if with_below else {})}
    if with_below == (draw in ("integers", "subset", "permutation")):
        assert InputSpec.model_validate(values).draw == draw
    else:
        with pytest.raises(ValueError, match="below"):
            InputSpec.model_validate(values)


@pytest.mark.parametrize("empty", ["cases:", "cases: {}"])
def test_a_spec_without_a_case_is_told_what_one_looks_like(refused, empty):
    told = refused(GOOD.partition("cases:")[0] + empty + "\n")
    assert "s.yml:4: cases: at least one case is needed, such as `image: {inputs: " in told


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("modeling.Model", "s.yml:2: reference.model: expected package.module:Name, such as modeling:Model; got 'modeling.Model'"),
        ("a.b.C", "such as a.b:C; got"),
        ("a/b.py", "expected package.module:Name, such as a:b; got"),
        ("model", "expected package.module:Name; got 'model'"),
        (":C", "expected package.module:Name; got ':C'"),
    ],
)  # fmt: skip
def test_a_class_of_another_form_is_told_the_right_one(refused, target, told):
    assert told in refused(GOOD.replace("a:B", target))


def test_a_name_with_a_slash_is_told(refused):
    assert "a name has 1 to 100 characters and no slash" in refused(GOOD.replace("image", "a/b"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\ncases: {a: [1, 2}\n", "s.yml:2:17: not valid YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("version: 1\n\tcases: 2\n", "s.yml:2:1: not valid YAML: while scanning for the next token, found character"),
        ("a: b: c\n", "s.yml:1:5: not valid YAML: mapping values are not allowed here"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_told_with_line_and_column(refused, text, told):
    assert told in refused(text)
    assert "\n" not in refused(text)
