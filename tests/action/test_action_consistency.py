"""The three action.yml, the documents and the code say the same of every input and output."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from entrypoint.inputs import INPUTS, OUTPUTS

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
ICONS = {"check-circle"}
COLOURS = {"white", "black", "yellow", "blue", "green", "orange", "red", "purple", "gray-dark"}


def test_the_code_reads_what_the_action_declares():
    assert list(ACTION["inputs"]) == [i.name for i in INPUTS]
    assert {n: str(v["default"]) for n, v in ACTION["inputs"].items()} == {i.name: i.default for i in INPUTS}
    assert tuple(ACTION["outputs"]) == OUTPUTS


@pytest.mark.parametrize("one", INPUTS, ids=lambda i: i.name)
def test_every_input_names_its_choices_and_an_example(one):
    said = ACTION["inputs"][one.name]["description"]
    assert "Example:" in said
    assert all(choice in said for choice in one.choices)


def test_the_flavours_follow_the_root():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "actions.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for folder in ("cpu", "gpu"):
        other = yaml.safe_load((ROOT / folder / "action.yml").read_text())
        assert other["inputs"] == ACTION["inputs"]
        assert list(other["outputs"]) == list(ACTION["outputs"])


def test_the_gpu_flavour_passes_on_every_input_and_output():
    gpu = yaml.safe_load((ROOT / "gpu" / "action.yml").read_text())
    step = gpu["runs"]["steps"][0]
    for name in ACTION["inputs"]:
        assert step["env"][f"VERIFY_{name.upper().replace('-', '_')}"] == f"${{{{ inputs.{name} }}}}"
        assert f"\n{name}\n" in step["run"]
    assert "${{" not in step["run"]
    for name, output in gpu["outputs"].items():
        assert output["value"] == f"${{{{ steps.verify.outputs.{name} }}}}"


def test_what_the_marketplace_asks_for():
    assert ACTION["name"]
    assert len(ACTION["description"]) <= 125
    assert ACTION["branding"]["icon"] in ICONS
    assert ACTION["branding"]["color"] in COLOURS


def _table(text: str, head: str) -> dict[str, str]:
    rows = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", text.partition(head)[2].partition("\n## ")[0], re.MULTILINE)
    return dict(rows)


def test_the_documents_show_every_input_and_output():
    text = (ROOT / "docs" / "action.md").read_text()
    inputs = _table(text, "## Inputs")
    assert list(inputs) == [i.name for i in INPUTS]
    for one in INPUTS:
        assert f"`{one.default}`" in inputs[one.name] or (not one.default and "(empty)" in inputs[one.name])
        assert all(f"`{c}`" in inputs[one.name] for c in one.choices)
    assert tuple(_table(text, "## Outputs")) == OUTPUTS


READMES = {
    "README.md": ("## On GitHub", "Outputs: ", "(empty)"),
    "README.zh-CN.md": ("## 在 GitHub 上", "输出：", "（空）"),
}


@pytest.mark.parametrize("file", READMES)
def test_the_readmes_show_every_input_and_output(file):
    head, outputs, empty = READMES[file]
    text = (ROOT / file).read_text()
    inputs = _table(text, head)
    assert list(inputs) == [i.name for i in INPUTS]
    for one in INPUTS:
        default, line = inputs[one.name].split(" | ")
        assert default.strip() == (f"`{one.default}`" if one.default else empty)
        assert line.strip()
        assert not one.choices or re.findall(r"`([\w-]+)`", line) == list(one.choices)
    [said] = re.findall(rf"^{outputs}.*$", text, re.MULTILINE)
    assert tuple(re.findall(r"`([\w-]+)`", said)) == OUTPUTS
    assert "](docs/action.md)" in text.partition(head)[2].partition("\n## ")[0]


def pins(file: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name.lower(): version for name, version in found}


def test_the_environment_of_transformers_4_is_the_other_one_but_for_that():
    other, ours = pins("requirements/transformers-4.txt"), pins("requirements/dev.txt")
    assert {name for name, version in other.items() if ours[name] != version} == {"transformers", "huggingface_hub"}
    assert other["transformers"].startswith("4.57.")


def test_the_image_installs_the_locked_versions_of_what_is_tested():
    tested, wanted = pins("requirements/dev.txt"), pins("requirements/image.in")
    for flavour in ("cpu", "cuda"):
        locked = pins(f"requirements/image-{flavour}.txt")
        for name, version in {**wanted, "torch": tested["torch"]}.items():
            assert locked[name].removesuffix("+cpu") == version
        for name in set(tested) & set(locked):
            assert locked[name].removesuffix("+cpu") == tested[name], name


def test_the_entrypoint_imports_neither_torch_nor_the_verifier():
    for file in (ROOT / "entrypoint").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] not in ("torch", "transformers", "numpy", "verify"), f"{file}: {name}"


def test_only_inputs_reads_what_the_runner_sets():
    for file in (ROOT / "entrypoint").glob("*.py"):
        if file.name not in ("inputs.py",):
            assert not re.search(r"""["'](INPUT|GITHUB|RUNNER|ACTIONS)_""", file.read_text()), file
