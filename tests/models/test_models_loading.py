# SPDX-License-Identifier: Apache-2.0
"""What is saved comes back, also in another process that sees only a folder; the rotary buffers are always right."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import llavavit
from model_factory import vit_preview_v0_hf

ROOT = Path(__file__).resolve().parents[2]

# What a user does who has the folder and nothing else of this repository.
USER = """
import hashlib, json, logging, sys
import torch
from transformers import AutoConfig, AutoModel
torch.set_num_threads(1)
folder, again = sys.argv[1:3]

def digests(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {n: [str(t.dtype), hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()] for n, t in tensors.items()}

model = AutoModel.from_pretrained(folder, trust_remote_code=True)
pixels = torch.ones(1, 3, 4, 6)
with torch.no_grad():
    pooled = model.eval()(pixels).pooler_output.tolist()

messages = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger(type(model).__module__).addHandler(handler)
flash = {"trust_remote_code": True, "attn_implementation": "flash_attention_2"}
fallen = [AutoModel.from_pretrained(folder, **flash) for _ in range(2)]
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
fallen.append(AutoModel.from_config(config, **flash))

half = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.bfloat16)
model.save_pretrained(again)
reloaded = AutoModel.from_pretrained(again, trust_remote_code=True)
print("RESULT", json.dumps({
    "module": type(model).__module__, "pooled": pooled, "tensors": digests(model), "reloaded": digests(reloaded),
    "backends": [m.config._attn_implementation for m in fallen], "messages": messages,
    "half": [str(half.dtype), {n: b.tolist() for n, b in half.named_buffers() if b.dtype == torch.float32}],
    "auto_map": json.load(open(again + "/config.json"))["auto_map"],
}))
"""


@pytest.fixture(scope="module")
def published(build, tmp_path_factory):
    """A small model with random weights, saved beside the two .py files, and what another process says of it."""
    torch.manual_seed(5)
    model = build(llavavit, rope_theta=300.0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("published")
    model.save_pretrained(folder / "checkpoint")
    for name in ("configuration_llava_vit.py", "modeling_llava_vit.py"):
        shutil.copy(ROOT / "llavavit" / name, folder / "checkpoint")
    scratch = {"HF_HOME": str(folder / "hf"), "HF_MODULES_CACHE": str(folder / "hf" / "modules"), "HF_HUB_OFFLINE": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, "-c", USER, str(folder / "checkpoint"), str(folder / "again")],
        cwd=folder,
        env={**environment, **scratch},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return model, json.loads(line.removeprefix("RESULT "))


def digests(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: [str(t.dtype), hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()] for name, t in tensors.items()
    }


@torch.no_grad()
def test_a_fresh_process_gets_the_same_bits(published):
    model, seen = published
    assert seen["module"].startswith("transformers_modules.")
    assert seen["tensors"] == digests(model)
    assert "video_rope.inv_freq_t" in seen["tensors"]
    assert torch.allclose(torch.tensor(seen["pooled"]), model(torch.ones(1, 3, 4, 6)).pooler_output, atol=1e-5)


def test_a_loaded_model_saves_a_loadable_folder(published):
    model, seen = published
    assert seen["reloaded"] == digests(model)
    assert seen["auto_map"] == llavavit.LlavaViTConfig().auto_map


def test_missing_flash_attention_warns_once_in_a_fresh_process(published):
    _, seen = published
    if torch.cuda.is_available():
        pytest.skip("flash attention may be there")
    assert seen["backends"] == ["sdpa"] * 3
    assert seen["messages"] == ["flash_attention_2 is not available here; using sdpa instead."]


def test_half_precision_loads_keep_the_frequencies(published):
    model, seen = published
    dtype, buffers = seen["half"]
    assert dtype == "torch.bfloat16"
    assert buffers == {name: buffer.tolist() for name, buffer in model.named_buffers()}
    assert len(buffers) == 3


def frequencies(theta=10000.0):
    return {
        f"video_rope.inv_freq_{axis}": torch.tensor([theta ** -(i / size) for i in range(size)])
        for axis, size in (("t", 4), ("h", 6), ("w", 6))
    }


def assert_frequencies(model, theta=10000.0):
    for name, expected in frequencies(theta).items():
        buffer = model.get_buffer(name)
        assert buffer.dtype == torch.float32
        torch.testing.assert_close(buffer, expected, rtol=5e-7, atol=0)
    assert not set(frequencies()) & set(model.state_dict())


@pytest.mark.parametrize("theta", [10000.0, 50, 1e6])
def test_frequencies(side, build, theta):
    assert_frequencies(build(side, rope_theta=theta), theta)


@pytest.mark.parametrize(
    "convert",
    [
        lambda model: model.half(),
        lambda model: model.bfloat16(),
        lambda model: model.double(),
        lambda model: model.to(torch.bfloat16).float(),
        lambda model: model.to("meta").to_empty(device="cpu"),
        lambda model: model.to_empty(device="cpu"),
    ],
    ids=["half", "bfloat16", "double", "there and back", "through meta", "to_empty"],
)
def test_conversions_keep_the_frequencies(side, build, convert):
    assert_frequencies(convert(build(side)))


def test_built_on_the_meta_device(side, build):
    with torch.device("meta"):
        model = build(side)
    assert_frequencies(model.to_empty(device="cpu"))


def test_built_under_another_default_dtype(side, build):
    torch.set_default_dtype(torch.float64)
    try:
        model = build(side)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_frequencies(model)
    assert model.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_from_pretrained(side, build, tmp_path, dtype):
    model = build(side, rope_theta=50.0).to(dtype)
    model.save_pretrained(tmp_path)
    loaded = side.LlavaViTModel.from_pretrained(tmp_path, dtype=dtype)
    assert_frequencies(loaded, 50.0)
    state = loaded.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert loaded.dtype == dtype


def test_each_side_loads_what_the_other_saved(build, tmp_path):
    modules = (llavavit, vit_preview_v0_hf)
    for writer, reader in (modules, modules[::-1]):
        model, folder = build(writer), tmp_path / writer.__name__
        model.save_pretrained(folder)
        loaded, info = reader.LlavaViTModel.from_pretrained(folder, output_loading_info=True)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        state = loaded.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_weights_missing_from_a_checkpoint_are_initialised(side, build, tmp_path):
    model = build(side, use_head=False)
    torch.nn.init.constant_(model.layernorm_pre.weight, 3.0)
    model.save_pretrained(tmp_path)
    loaded = side.LlavaViTModel.from_pretrained(tmp_path, use_head=True)
    assert (loaded.layernorm_pre.weight == 3.0).all()
    assert (loaded.layernorm_post.weight == 1.0).all()
    assert 0.5 < loaded.head.probe.std() < 1.5
    assert 0.01 < loaded.head.mlp.fc1.weight.std() < 0.03
    assert_frequencies(loaded)
