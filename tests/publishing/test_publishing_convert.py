# SPDX-License-Identifier: Apache-2.0
"""Names and layouts from training to the Hub and back: the same here, and exact where they differ."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model_factory.publishing import checkpoint, convert, models
from model_factory.publishing.errors import PublishError
from verify.spec import MappingSpec

ROOT = Path(__file__).resolve().parents[2]
NAME = "hf_llava_vit_small_ln"
SCRIPT = ROOT / "model_factory" / "convert_llava_vit.py"

RULES = MappingSpec.model_validate(
    {
        "parameters": [
            {"candidate": "blocks.{i}.qkv.{p}", "reference": [f"layers.{{i}}.{x}.{{p}}" for x in "qkv"]},
            {"candidate": "blocks.{i}.up.weight", "reference": "layers.{i}.up.weight", "transpose": True},
            {"candidate": "blocks.{i}.left", "reference": "layers.{i}.both", "part": [0, 2], "axis": 1},
            {"candidate": "blocks.{i}.right", "reference": "layers.{i}.both", "part": [1, 2], "axis": 1},
            {"candidate": "probe", "reference": "token", "reshape": True},
            {"candidate": "kernel", "reference": "patch", "transpose": True, "reshape": True},
        ]
    }
)
TRAINING = {
    **{f"layers.{i}.{x}.weight": (4, 6) for i in range(2) for x in "qkv"},
    **{f"layers.{i}.{x}.bias": (4,) for i in range(2) for x in "qkv"},
    **{f"layers.{i}.up.weight": (3, 5) for i in range(2)},
    **{f"layers.{i}.both": (2, 6) for i in range(2)},
    "token": (1, 1, 6),
    "patch": (2, 3, 4),
    "norm": (6,),
}
HUB = {
    **{f"blocks.{i}.qkv.weight": (12, 6) for i in range(2)},
    **{f"blocks.{i}.qkv.bias": (12,) for i in range(2)},
    **{f"blocks.{i}.up.weight": (5, 3) for i in range(2)},
    **{f"blocks.{i}.{x}": (2, 3) for i in range(2) for x in ("left", "right")},
    "probe": (6,),
    "kernel": (3, 8),
    "norm": (6,),
}


@pytest.fixture
def names() -> convert.Names:
    return convert.worked_out(RULES, TRAINING, HUB)


@pytest.fixture
def source() -> checkpoint.Checkpoint:
    torch.manual_seed(0)
    tensors = {name: torch.randn(shape) for name, shape in TRAINING.items()}
    tensors["norm"][2] = float("nan")  # a bit pattern like any other
    return checkpoint.Checkpoint(tensors=tensors)


def equal(found, wanted) -> bool:
    return found.keys() == wanted.keys() and all(convert.identical(found[name], wanted[name]) for name in wanted)


def test_to_the_hub_and_back(names, source, tmp_path):
    assert not names.same
    assert convert.convert(source, names, "hub", tmp_path / "hub", shard=300) == len(HUB)
    written = checkpoint.load(tmp_path / "hub")
    assert (tmp_path / "hub" / "model.safetensors.index.json").is_file()
    assert {name: tuple(t.shape) for name, t in written.tensors.items()} == HUB
    t, h = source.tensors, written.tensors
    assert torch.equal(h["blocks.1.qkv.weight"], torch.cat([t[f"layers.1.{x}.weight"] for x in "qkv"]))
    assert torch.equal(h["blocks.0.up.weight"], t["layers.0.up.weight"].T)
    assert torch.equal(h["blocks.0.right"], t["layers.0.both"][:, 3:])
    assert torch.equal(h["kernel"], t["patch"].transpose(0, 1).reshape(3, 8))

    convert.convert(written, names, "training", tmp_path / "training")
    assert equal(checkpoint.load(tmp_path / "training").tensors, source.tensors)


@pytest.mark.parametrize("prefix", ["module.", "net.encoder.", "module.encoder.", "net._orig_mod."])
def test_a_prefix_for_training_scripts(names, source, tmp_path, prefix):
    convert.convert(source, names, "hub", tmp_path / "hub", prefix=prefix)
    from safetensors.torch import load_file

    assert set(load_file(tmp_path / "hub" / "model.safetensors")) == {prefix + name for name in HUB}


def test_a_conversion_that_is_not_exact_leaves_nothing(names, source, tmp_path, monkeypatch):
    right = convert.Converted._undone
    monkeypatch.setattr(convert.Converted, "_undone", lambda *args: right(*args) + 0.0 * 1 + 1e-7)
    with pytest.raises(PublishError, match=r"(?s)came back changed:.*layers\.0\.q\.weight"):
        convert.convert(source, names, "hub", tmp_path / "hub")
    assert list(tmp_path.iterdir()) == []


def test_the_wrong_side_is_told(names, source, tmp_path):
    with pytest.raises(PublishError, match=r"(?s)not the Hub's names:.*missing.*blocks\.0\.qkv\.weight"):
        convert.convert(source, names, "training", tmp_path / "out")


def test_a_folder_that_exists_is_left_alone(names, source, tmp_path):
    with pytest.raises(PublishError, match="exists already"):
        convert.convert(source, names, "hub", tmp_path)


@pytest.mark.parametrize(
    ("training", "hub", "words"),
    [
        (TRAINING | {"more": (1,)}, HUB, r"more: nothing on the Hub is made of it"),
        (TRAINING, HUB | {"more": (1,)}, r"more: the training model has none"),
        (TRAINING | {"norm": (7,)}, HUB, r"norm: \[7\] in training, \[6\] on the Hub"),
        (TRAINING, {n: s for n, s in HUB.items() if n != "blocks.0.right"}, r"cut into 2, nothing is made of the pieces"),
    ],
)  # fmt: skip
def test_rules_that_lose_something(training, hub, words):
    with pytest.raises(PublishError, match=words):
        convert.worked_out(RULES, training, hub)


@pytest.mark.parametrize("name", list(models.VARIANTS))
def test_both_models_of_this_repository_have_the_same_names(name):
    shapes = models.expected(name)  # raises where they do not
    assert convert.worked_out(MappingSpec(), shapes, shapes).same


def test_the_command(command, trained, weights, tmp_path):
    """Wrappers come off on the way to the Hub, and on again on the way back."""
    options = ("--model_name", NAME, "--output_dir")
    there = command(sys.executable, SCRIPT, *options, "hub", "--weight_path", trained)
    assert there.returncode == 0, there.stderr
    assert "the two models have the same names and shapes" in there.stderr
    assert there.stdout == "hub: 111 tensors, exact\n"
    assert equal(checkpoint.load(tmp_path / "hub").tensors, weights)
    back = command(
        sys.executable, SCRIPT, *options, "back", "--weight_path", "hub", "--to", "training", "--prefix", "module."
    )
    assert back.returncode == 0, back.stderr
    stored = torch.load(trained, weights_only=True)["model"]
    from safetensors.torch import load_file

    assert equal(load_file(tmp_path / "back" / "model.safetensors"), stored)


SPEC = """
version: 1
reference: {path: training, model: net:Net}
candidate: {path: hub, model: net:Net}
cases: {one: {inputs: {x: {shape: [1, 4]}}}}
mapping:
  parameters:
    - {candidate: "both.{p}", reference: ["left.{p}", "right.{p}"]}
"""
NET = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        %s
"""


def test_the_command_with_a_spec(command, tmp_path):
    """A pair of one's own whose published model joins two layers; both packages have one name."""
    for folder, lines in (("training", ["left", "right"]), ("hub", ["both"])):
        (tmp_path / folder).mkdir()
        made = "; ".join(f"self.{n} = torch.nn.Linear(4, {4 if n == 'both' else 2})" for n in lines)
        (tmp_path / folder / "net.py").write_text(NET % made)
    (tmp_path / "pair.yml").write_text(SPEC)
    tensors = {
        f"{n}.{p}": torch.randn((2, 4) if p == "weight" else (2,))
        for n in ("left", "right")
        for p in ("weight", "bias")
    }
    torch.save(tensors, tmp_path / "w.pth")
    options = ("--spec", "pair.yml", "--model_name", "default")
    done = command(sys.executable, SCRIPT, *options, "--weight_path", "w.pth", "--output_dir", "out")
    assert done.returncode == 0, done.stderr
    found = checkpoint.load(tmp_path / "out").tensors
    assert torch.equal(found["both.weight"], torch.cat([tensors["left.weight"], tensors["right.weight"]]))
    assert found.keys() == {"both.weight", "both.bias"}


MEASURED = """
import re, sys, threading, time
from pathlib import Path
from model_factory.publishing import checkpoint, convert
from verify.spec import MappingSpec

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

most = before = anonymous()
def watch():
    global most
    while True:
        most = max(most, anonymous())
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
source = checkpoint.load(Path("large.safetensors"))
shapes = {name: tuple(tensor.shape) for name, tensor in source.tensors.items()}
hub = {name: tuple(reversed(shape)) for name, shape in shapes.items()}
rule = {"candidate": "layers.{i}", "reference": "layers.{i}", "transpose": True}
names = convert.worked_out(MappingSpec.model_validate({"parameters": [rule]}), shapes, hub)
convert.convert(source, names, "hub", Path("out"), shard="50MB")
print(most - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is told by Linux")
def test_a_conversion_holds_one_shard(command, tmp_path):
    """600 MB in 50 MB shards, each tensor transposed, which copies it; pages of mapped files are not counted."""
    count, shape = 60, (1000, 2500)
    size = 4 * shape[0] * shape[1]
    header = {
        f"layers.{n}": {"dtype": "F32", "shape": list(shape), "data_offsets": [n * size, (n + 1) * size]}
        for n in range(count)
    }
    text = json.dumps(header).encode()
    with (tmp_path / "large.safetensors").open("wb") as file:  # zeros that take no room on the disk
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + count * size)
    done = command(sys.executable, "-c", MEASURED)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 12
    shutil.rmtree(tmp_path / "out")
    assert int(done.stdout) < 200e6, "a third of the file"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--model_name", "hf_llava_vit_lagre_ln"], 2, "there is no variant"),
        (["--model_name", NAME, "--to", "moon"], 2, "moon"),
        (["--model_name", NAME, "--spec", "missing.yml"], 1, "missing.yml"),
        (["--model_name", NAME, "--max_shard_size", "foo"], 2, "--max_shard_size foo"),
    ],
)
def test_bad_options_of_the_command(command, trained, options, code, words):
    done = command(sys.executable, SCRIPT, "--weight_path", trained, "--output_dir", "out", *options)
    assert done.returncode == code
    assert words in done.stderr


def test_a_model_that_cannot_be_built(command, trained, tmp_path):
    """Its interpreter is none."""
    for folder in ("training", "hub"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(NET % "self.left = torch.nn.Linear(4, 2)")
    (tmp_path / "not-python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "not-python").chmod(0o755)
    (tmp_path / "pair.yml").write_text(SPEC.replace("path: hub,", "path: hub, python: ./not-python,"))
    done = command(
        sys.executable, SCRIPT, "--spec", "pair.yml", "--model_name", "default", "--weight_path", trained,
        "--output_dir", "out",
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(variables, trained, tmp_path, number):
    script = (
        "import os, sys\nfrom model_factory import convert_llava_vit as tool\n"
        "from model_factory.publishing import staging\nfrom verify import interrupt\ninterrupt.heed_termination()\n"
        f"staging.write_weights = lambda *_: os.kill(os.getpid(), {int(number)})\nsys.exit(tool.run(sys.argv[1:]))"
    )
    options = ("--model_name", NAME, "--weight_path", str(trained), "--output_dir", "place/out")
    program = [sys.executable, "-c", script, *options]
    done = subprocess.run(
        program, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 128 + number
    assert done.stderr.endswith(f"{'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'}; nothing was written\n")
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("KeyError(hidden)", "KeyError: '[token] [/red]'"),
        (
            "side.SideError(trace.Fault(kind='setup', message=hidden))",
            "error: the two models cannot be asked for their names: [token] [/red]",
        ),
    ],
    ids=["defect", "side"],
)
def test_whatever_goes_wrong_is_told_without_tokens(command, trained, error, words):
    script = (
        "import sys\nfrom model_factory import convert_llava_vit as tool\nfrom model_factory.publishing import convert\n"
        "from verify import side, trace\nhidden = 'hf_' + 'z' * 34 + ' [/red]'\n"
        f"def broken(*_):\n    raise {error}\nconvert.names_of = broken\n"
        "sys.exit(tool.run(sys.argv[1:]))"
    )
    done = command(sys.executable, "-c", script, "--model_name", NAME, "--weight_path", trained, "--output_dir", "out")
    assert done.returncode == 1
    assert words in done.stderr


def test_names_that_begin_as_a_wrapper_does_are_converted(command, tmp_path):
    """Both models have everything in a module called model."""
    for folder in ("training", "hub"):
        (tmp_path / folder).mkdir()
        made = "self.model = torch.nn.ModuleDict({n: torch.nn.Linear(4, 2) for n in ('left', 'right')})"
        (tmp_path / folder / "net.py").write_text(NET % made)
    (tmp_path / "pair.yml").write_text(SPEC.partition("mapping:")[0])
    tensors = {
        f"model.{n}.{p}": torch.ones((2, 4) if p == "weight" else 2)
        for n in ("left", "right")
        for p in ("weight", "bias")
    }
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "w.pth")
    options = ("--spec", "pair.yml", "--model_name", "default")
    done = command(sys.executable, SCRIPT, *options, "--weight_path", "w.pth", "--output_dir", "out")
    assert done.returncode == 0, done.stderr
    assert "took 'module.' off every name" in done.stderr
    assert checkpoint.entries(tmp_path / "out").keys() == tensors.keys()
