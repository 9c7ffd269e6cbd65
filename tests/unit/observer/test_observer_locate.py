"""Where code is."""

from __future__ import annotations

import importlib.util
import os

import pytest
from torch import nn

from verify.observer import locate


@pytest.fixture
def toy(tmp_path):
    def load(folder: str):
        file = tmp_path / folder / "unit_located.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import os\n\n\nclass Thing:\n    class Inner:\n        pass\n\n\ndef function():\n    pass\n")
        spec = importlib.util.spec_from_file_location(f"unit_located_{len(folder)}", file)
        module = importlib.util.module_from_spec(spec)
        import sys

        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


def test_own_code_is_relative(toy, tmp_path):
    module = toy("sub")
    root = str(tmp_path)
    assert locate.of(module.Thing, root) == {"file": "sub/unit_located.py", "line": 4, "name": "Thing", "own": True}
    assert locate.of(module.Thing.Inner, root)["name"] == "Thing.Inner"
    assert locate.of(module.function, root)["line"] == 9
    assert locate.of_class(module.Thing(), root) == locate.of(module.Thing, root)


def test_a_librarys_code_is_named_from_its_package_on():
    found = locate.of(nn.Linear, "/nowhere")
    assert found["file"] == "torch/nn/modules/linear.py"
    assert not found["own"]
    assert found["line"] > 1


def test_a_virtual_environment_inside_the_project_is_not_its_own(toy, tmp_path):
    module = toy("venv/lib/site-packages/pkg")
    found = locate.of(module.Thing, str(tmp_path))
    assert (found["file"], found["own"]) == ("pkg/unit_located.py", False)


def test_code_outside_is_absolute(toy, tmp_path):
    found = locate.of(toy("other").Thing, str(tmp_path / "elsewhere"))
    assert os.path.isabs(found["file"])
    assert not found["own"]


@pytest.mark.parametrize("thing", [int, len, type("Made", (), {"__module__": "nowhere"})])
def test_what_has_no_source_has_no_place(thing):
    assert locate.of(thing, "/") is None
    assert not locate.owns(thing, "/")


def test_whose_code_it_is(toy, tmp_path):
    module, root = toy("sub"), str(tmp_path)
    assert locate.owns(module.Thing, root)
    assert locate.owns(module.function, root)
    assert not locate.owns(nn.Linear, root)


def test_the_observer_is_never_the_sides_own():
    """This repository holds both: its root is a side's, and the verifier lies under it."""
    root = os.path.dirname(locate.OURS)
    assert locate.is_own(os.path.join(root, "llavavit", "modeling_llava_vit.py"), root)
    assert not locate.is_own(locate.__file__, root)
    assert not locate.owns(locate.of, root)
