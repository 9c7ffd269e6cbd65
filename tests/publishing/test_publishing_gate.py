# SPDX-License-Identifier: Apache-2.0
"""The gate with real weights: the staged folder is what was trained, or the run stops and says where it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model_factory.publishing import gate, side
from model_factory.publishing.errors import PublishError
from verify import interrupt
from verify.report import Finding, Verdict

ROOT = Path(__file__).resolve().parents[2]
NAME = "hf_llava_vit_small_ln"


def request(trained: Path, folder: Path) -> gate.Request:
    return gate.Request(model_name=NAME, checkpoint=trained, ema=False, folder=folder, dtype="float32")


@pytest.fixture
def copy(staged, tmp_path) -> Path:
    return Path(shutil.copytree(staged, tmp_path / "copy"))


def replace(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def against(trained, tmp_path_factory):
    """`against(folder)`: the gate, with the training model run once for all tests."""
    scratch = tmp_path_factory.mktemp("gate")
    asked = gate.prepared(request(trained, trained), scratch)
    reference = gate.ask("reference", request(trained, trained), asked, scratch)

    def verify(folder: Path) -> gate.Verified:
        for name in ("candidate", "candidate-home"):
            shutil.rmtree(scratch / name, ignore_errors=True)
        return gate.compare(reference, gate.ask("candidate", request(trained, folder), asked, scratch), asked, scratch)

    return verify


def test_the_staged_folder_is_what_was_trained(trained, staged):
    found = gate.verify(request(trained, staged))
    assert found.weights == 111
    assert found.outputs == 4 * 2 + 7 + 6, "two of each case, and every hidden state and attention of one"
    assert 0 < found.worst < 1


def by_one_ulp(folder: Path) -> None:
    file = folder / "model-00002-of-00003.safetensors"
    tensors = load_file(file)
    name = "encoder.layers.3.mlp.fc1.bias"
    value = tensors[name].clone()
    value[17] = torch.nextafter(value[17], torch.tensor(9.0))
    save_file({**tensors, name: value}, file, metadata={"format": "pt"})


def without_a_weight(folder: Path) -> None:
    file = folder / "model-00003-of-00003.safetensors"
    tensors = load_file(file)
    del tensors["head.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    text = json.loads(index.read_text())
    del text["weight_map"]["head.norm.weight"]
    index.write_text(json.dumps(text))


def other_gelu(folder: Path) -> None:
    replace(folder / "config.json", '"hidden_act": "gelu"', '"hidden_act": "gelu_pytorch_tanh"')


def other_theta(folder: Path) -> None:
    replace(folder / "config.json", '"rope_theta": 10000.0', '"rope_theta": 10001.0')


def other_norm(folder: Path) -> None:
    replace(
        folder / "modeling_llava_vit.py", "pow(2).mean(-1, keepdim=True) + self.eps)", "pow(2).mean(-1, keepdim=True))"
    )


def code_that_fails(folder: Path) -> None:
    replace(
        folder / "modeling_llava_vit.py",
        "class LlavaViTEmbeddings",
        "raise OSError('no such luck')\n\n\nclass LlavaViTEmbeddings",
    )


def code_that_is_killed(folder: Path) -> None:
    killed = "import os\nos.kill(os.getpid(), 9)\n\n\nclass LlavaViTEmbeddings"
    replace(folder / "modeling_llava_vit.py", "class LlavaViTEmbeddings", killed)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (by_one_ulp, r"weight encoder\.layers\.3\.mlp\.fc1\.bias: other values"),
        (without_a_weight, r"loading tells of missing_keys: head\.norm\.weight"),
        (other_gelu, r"image last_hidden_state: .* apart, .* allowed \(64 x the reference's own response"),
        (other_theta, r"buffer video_rope\.inv_freq_t: values differ"),
        (other_norm, r"image pooler_output: .* apart"),
        (code_that_fails, r"(?s)staged folder through AutoModel cannot be run.*no such luck"),
        (code_that_is_killed, r"cannot be run: the process was killed, most likely because memory ran out; free some"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_a_difference_stops_the_run(against, copy, spoil, words):
    spoil(copy)
    with pytest.raises(PublishError, match=words) as caught:
        against(copy)
    assert "nothing is published" in str(caught.value).lower()


def test_the_staged_code_sees_no_token(against, copy, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "s" * 34)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_" + "s" * 34)
    seen = tmp_path / "seen.json"
    spy = f"import json, os\nopen({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))\n\n\nclass LlavaViTEmbeddings"
    replace(copy / "modeling_llava_vit.py", "class LlavaViTEmbeddings", spy)
    against(copy)
    variables = json.loads(seen.read_text())
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert "hf_ssss" not in json.dumps(variables)


def test_nothing_compared_is_not_equal(tmp_path):
    for role in ("reference", "candidate"):
        (tmp_path / role).mkdir()
        save_file({"buffer": torch.ones(2)}, tmp_path / role / "buffers.safetensors")
    answer = {"digests": {"weight": "1"}, "missing": {}, "remote": True, "class": "Model", "memory": 1}
    with pytest.raises(PublishError, match="nothing was compared"):
        gate.compare(answer, answer, [], tmp_path)


# --- the code of both models ------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A copy of the two implementations, compared instead of ours."""
    for name in ("llavavit", "model_factory"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(gate, "ROOT", tmp_path)
    return tmp_path


def test_the_code_is_compared_too(repository):
    assert gate.check_code(NAME) > 2000
    replace(repository / "llavavit" / "modeling_llava_vit.py", "states * cos + _rotate", "states * cos - _rotate")
    with pytest.raises(
        PublishError, match=r"(?s)are not the same:.*forward.*llavavit-verify --variant small"
    ) as caught:
        gate.check_code(NAME)
    assert "could not be decided" not in str(caught.value)


def test_what_a_forward_pass_does_not_show_is_compared_too(repository):
    """The pooling head learns and hands nothing on to the layers before it."""
    replace(
        repository / "llavavit" / "modeling_llava_vit.py",
        "self.head(hidden_states)",
        "self.head(hidden_states.detach())",
    )
    with pytest.raises(PublishError, match=r"(?s)are not the same:.*gradients"):
        gate.check_code(NAME)


def test_what_cannot_be_decided_is_no_difference(repository):
    (repository / "llavavit" / "__init__.py").write_text("raise OSError('no such luck')\n")
    with pytest.raises(
        PublishError, match=r"(?s)the same could not be decided:.*no such luck.*Nothing is pub"
    ) as caught:
        gate.check_code(NAME)
    assert "are not the same:" not in str(caught.value)


def test_notes_are_not_told_as_differences():
    """Only what differs, and what could not be decided, each by itself."""
    about = {"check": "forward", "variant": "small", "case": "image", "kind": "value", "message": "said"}
    found = [Finding(**about, subject=v.value, verdict=v) for v in (Verdict.NOTE, Verdict.DIFFERENT, Verdict.ERROR)]
    report = SimpleNamespace(findings=found)
    assert gate._findings(report, Verdict.DIFFERENT) == ["forward image different: said"]
    assert gate._findings(report, Verdict.ERROR) == ["forward image error: said"]


@pytest.mark.parametrize("code", [130, 143])
def test_an_interruption_is_one(monkeypatch, code):
    def stopped(*_: object) -> None:
        raise gate.verifier.Interrupted(None, "stopped", code)

    monkeypatch.setattr(gate.verifier, "run", stopped)
    with pytest.raises(KeyboardInterrupt) as caught:
        gate.check_code(NAME)
    assert interrupt.describe(caught.value)[1] == code


# --- one block at a time in float64 -----------------------------------------------------------------------------------


class Odd(nn.Module):
    """A parameter outside of every block."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.layers = nn.ModuleList([nn.Linear(3, 3)])

    def forward(self, x):
        return self.layers[0](x) * self.scale


def test_blocks_are_a_partition_of_the_model():
    from model_factory.publishing import models

    model = models.training_outline(NAME)
    found = [p for block in side.blocks(model) for p in block.parameters()]
    assert len(found) == len({id(p) for p in found}) == len(list(model.parameters()))
    assert max(sum(p.numel() for p in b.parameters()) for b in side.blocks(model)) < 0.2 * 12_716_928
    with pytest.raises(RuntimeError, match="belongs to no block"), side.widened(Odd(), nudged=False):
        pass


def test_weights_are_as_they_were_after_a_pass(weights, tmp_path):
    from model_factory.publishing import models

    model = models.trained(NAME, weights, torch.float32)
    save_file({"pixel_values": torch.randn(1, 3, 32, 32)}, tmp_path / "inputs.safetensors")
    case = {"inputs": str(tmp_path / "inputs.safetensors"), "arguments": {}}
    plain, moved = side.run(model, case), side.run(model, case, nudged=True)
    assert all(p.dtype == torch.float32 and p is dict(model.named_parameters())[n] for n, p in model.named_parameters())
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    with torch.no_grad():
        wide = model.double()(load_file(case["inputs"])["pixel_values"].double())
    apart = (plain["last_hidden_state"] - wide.last_hidden_state).abs().max()
    assert apart < 1e-6, "the same as the whole model in float64, but for float32 islands"
    assert 0 < (plain["last_hidden_state"] - moved["last_hidden_state"]).abs().max() < 1e-11
