# SPDX-License-Identifier: Apache-2.0
"""Names, shapes and counts of the variants, the registry, and which file may import what."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import llavavit
from model_factory import VARIANTS, create_model, list_models, vit_preview_v0_hf

ROOT = Path(__file__).resolve().parents[2]
COPIES = ("configuration_llava_vit.py", "modeling_llava_vit.py")

# hidden size, layers, heads, MLP width, patch size, state dict entries, parameters, as in the released checkpoints
TABLE = {
    "hf_llava_vit_small_ln": (384, 6, 6, 1536, 16, 111, 12_716_928),
    "hf_llava_vit_base_ln": (768, 12, 12, 3072, 16, 207, 92_733_696),
    "hf_llava_vit_large_ln": (1024, 24, 16, 4096, 14, 399, 315_509_760),
    "hf_llava_vit_huge_ln": (1536, 27, 16, 4608, 14, 447, 662_025_216),
    "hf_llava_vit_giant_ln": (1536, 40, 16, 6144, 14, 655, 1_162_498_560),
}


def expected_names(layers):
    def weight_and_bias(*modules):
        return [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]

    names = ["embeddings.patch_embedding.weight", *weight_and_bias("layernorm_pre")]
    for layer in range(layers):
        modules = ["layer_norm1", *(f"self_attn.{p}_proj" for p in ("q", "k", "v", "out")), "layer_norm2"]
        names += weight_and_bias(*(f"encoder.layers.{layer}.{m}" for m in (*modules, "mlp.fc1", "mlp.fc2")))
    names += [*weight_and_bias("layernorm_post"), "head.probe"]
    names += ["head.attention.in_proj_weight", "head.attention.in_proj_bias"]
    names += [*weight_and_bias("head.attention.out_proj"), "head.norm.weight"]
    return [*names, *weight_and_bias("head.mlp.fc1", "head.mlp.fc2")]


@pytest.mark.parametrize("name", TABLE)
def test_variant_matches_the_table(name):
    hidden, layers, heads, mlp, patch, entries, parameters = TABLE[name]
    with torch.device("meta"):
        factory = create_model(name)
        hub = llavavit.LlavaViTModel(llavavit.LlavaViTConfig(**VARIANTS[name]))
    assert type(factory) is vit_preview_v0_hf.LlavaViTModel
    for model in (hub, factory):
        state = model.state_dict()
        assert list(state) == expected_names(layers)
        assert len(state) == entries
        assert sum(p.numel() for p in model.parameters()) == parameters
        assert all(p.requires_grad for p in model.parameters())
        assert model.config.num_attention_heads == heads
        assert state["embeddings.patch_embedding.weight"].shape == (hidden, 3, patch, patch)
        assert state["encoder.layers.0.mlp.fc1.weight"].shape == (mlp, hidden)
        unit = hidden // heads // 32
        assert [(n, len(b), b.dtype) for n, b in model.named_buffers()] == [
            (f"video_rope.inv_freq_{axis}", share * unit, torch.float32)
            for axis, share in (("t", 4), ("h", 6), ("w", 6))
        ]
    assert [(n, p.shape, p.dtype) for n, p in hub.named_parameters()] == [
        (n, p.shape, p.dtype) for n, p in factory.named_parameters()
    ]


def test_without_head_and_with_rms_norm(side, build):
    names = list(build(side, use_head=False, layer_norm_type="rms_norm").state_dict())
    assert not [name for name in names if name.startswith(("head", "layernorm_post"))]
    assert [name for name in names if "norm" in name and name.endswith("bias")] == []
    assert "layernorm_post.bias" not in build(side, layer_norm_type="rms_norm").state_dict()


def test_registry_lists_plain_values():
    assert list_models() == list(TABLE)
    assert json.loads(json.dumps(VARIANTS)) == VARIANTS


def test_overrides_reach_the_model():
    values = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "attn_implementation": "eager"}
    model = create_model("hf_llava_vit_small_ln", dtype=torch.bfloat16, use_head=False, **values)
    assert (model.dtype, model.config.hidden_size, model.config._attn_implementation) == (torch.bfloat16, 64, "eager")
    assert not hasattr(model, "head")
    assert VARIANTS["hf_llava_vit_small_ln"]["hidden_size"] == 384


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match=r"no model 'hf_llava_vit_larg_ln'.*'hf_llava_vit_large_ln'"):
        create_model("hf_llava_vit_larg_ln")
    with pytest.raises(ValueError, match="hf_llava_vit_base_ln"):
        create_model("resnet50")
    with pytest.raises(ValueError, match=r"no configuration value 'patchsize'.*'patch_size'"):
        create_model("hf_llava_vit_small_ln", patchsize=14)


@pytest.mark.parametrize("name", COPIES)
def test_reference_copies_are_identical(name):
    assert (ROOT / "model_factory" / name).read_bytes() == (ROOT / "llavavit" / name).read_bytes()


def imported(path):
    """Modules that a file imports, relative ones with their dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_each_implementation_stands_alone():
    allowed = {"torch", "transformers", "flash_attn", *sys.stdlib_module_names}
    roots = {name.split(".")[0] for name in imported(ROOT / "model_factory" / "vit_preview_v0_hf.py")}
    assert roots <= allowed
    for name in COPIES:
        for module in imported(ROOT / "llavavit" / name):
            assert module == ".configuration_llava_vit" or module.split(".")[0] in allowed - {"flash_attn"}


def test_importing_the_factory_imports_no_torch_and_no_copies():
    code = (
        "import sys, model_factory; model_factory.list_models(); assert 'torch' not in sys.modules; "
        "import model_factory.vit_preview_v0_hf; print([m for m in sys.modules if m.endswith('_llava_vit')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
