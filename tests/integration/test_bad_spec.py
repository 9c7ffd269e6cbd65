"""Specs that cannot be used: a message with the place and the fix, and a report that says so."""

from __future__ import annotations

import pytest
import yaml

from verify.spec import SpecError


def spec_with(duo, key, **changes):
    """Writes the spec with some keys of one part replaced."""
    file = duo.folder / "spec.yml"
    data = yaml.safe_load((file if file.exists() else duo.spec()).read_text())
    data[key] = {**data[key], **changes}
    file.write_text(yaml.safe_dump(data, sort_keys=False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a spec is a mapping"),
        ("- a\n- b", "a spec is a mapping"),
        ("version: [", "not valid YAML"),
        ("version: 1", "reference: this key is missing"),
        ("a: &a [*a]", "this value contains itself"),
        ("\n".join(["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]), "aliases"),
        ("[" * 5000, "not valid YAML"),
        ("!!python/object/apply:os.system [true]", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_malformed_spec_is_told(duo, text, message):
    (duo.folder / "spec.yml").write_text(text)
    with pytest.raises(SpecError, match=r"spec\.yml") as told:
        duo.run()
    assert message in str(told.value)


def test_a_depth_without_the_key_that_counts_layers_is_told(duo):
    with pytest.raises(SpecError, match=r"--depth 2: the spec names no `depth_key`"):
        duo.run(depth=2)


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        ("candidate", {"modle": "model:Model"}, "candidate.modle: unknown key; did you mean `model`?"),
        ("candidate", {"path": "nowhere"}, "candidate.path: there is no folder"),
        ("candidate", {"model": "no colon"}, "candidate.model"),
        ("cases", {"a/b": {"inputs": {"x": {"shape": [1]}}}}, "cases.a/b"),
        ("cases", {"bad": {"inputs": {"x": {"shape": ["wide"]}}}}, "cases/bad/x: size 'wide': 'wide' is no whole number"),
        ("cases", {"bad": {"inputs": {"x": {"shape": [-1]}}}}, "is not one that can be drawn"),
        ("cases", {"bad": {"inputs": {"x": {"shape": [10**12]}}}}, "is not one that can be drawn"),
        ("cases", {"bad": {"inputs": {"x": {"shape": [5], "draw": "subset", "below": 3}}}}, "cannot choose 5 of 3"),
        ("cases", {"bad": {"inputs": {"x": {"shape": [5], "draw": "integers", "below": 0}}}}, "below is 0"),
        ("cases", {"bad": {"inputs": {"x": {"shape": [], "draw": "integers", "below": 2}}}}, "at least one size"),
    ],
)  # fmt: skip
def test_a_key_or_value_that_cannot_be_used_is_named(duo, key, changes, message):
    spec_with(duo, key, **changes)
    with pytest.raises(SpecError) as told:
        duo.run()
    assert message in str(told.value)


@pytest.mark.parametrize("value", ["2026-01-01", "!!binary YQ==", "!!set {a}", "{1: 2}"])
def test_a_value_that_json_cannot_hold_is_named(duo, value):
    file = duo.spec()
    file.write_text(file.read_text().replace("width: 4", f"width: {value}"))
    with pytest.raises(SpecError, match=r"spec\.yml:\d+: variants\.tiny: .*in quotes"):
        duo.run()


@pytest.mark.parametrize("option", [{"variants": ("tinny",)}, {"cases": ("on",)}, {"checks": ("forwad",)}])
def test_a_name_that_the_spec_does_not_have_names_the_nearest(duo, option):
    with pytest.raises(SpecError, match="did you mean"):
        duo.run(**option)


def test_the_command_line_writes_the_error_into_every_report(duo):
    (duo.folder / "out.json").write_text('{"verdict": "equal"}')
    (duo.folder / "spec.yml").write_text("version: 1\nreferense: {}\n")
    code, output, report = duo.command("--junit", "out.xml", "--markdown", "out.md")
    assert code == 2
    assert "spec.yml:2: referense: unknown key; did you mean `reference`?" in output
    assert "Traceback" not in output
    assert report["verdict"] == "error"
    assert "did you mean" in report["checks"][0]["reason"]
    assert "did you mean" in (duo.folder / "out.xml").read_text()
    assert "did you mean" in (duo.folder / "out.md").read_text()


def test_a_missing_spec_is_told(duo):
    started = duo.start("--spec", "nowhere.yml", "--json", "out.json")
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 2
    assert "nowhere.yml: No such file or directory; --spec FILE names the spec" in errors
    assert (duo.folder / "out.json").exists()
