# SPDX-License-Identifier: Apache-2.0
"""The Hub readme is true: its examples run and its table is the registry's."""

import re
from pathlib import Path

import pytest
import torch

import llavavit
from model_factory import VARIANTS

README = (Path(__file__).resolve().parents[2] / "llavavit" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def namespace(build):
    """What the readme's model examples have before them, with a model and videos small enough for a test."""
    return {"torch": torch, "model": build(llavavit, patch_size=16, num_hidden_layers=1, num_channels=3)}


def test_examples_of_use_run(namespace):
    use = [block for block in BLOCKS if "model(pixel_values" in block]
    assert len(use) == 2
    for block in use:
        exec(block.replace("8, 224, 224", "8, 32, 32").replace("224 //", "32 //").replace("[:512]", "[:5]"), namespace)
    assert namespace["output"].last_hidden_state.shape == (2, 32, 64)
    assert namespace["chosen"].shape == (2, 5)


def test_the_other_examples_name_what_exists():
    load, construct = (block for block in BLOCKS if "model(pixel_values" not in block)
    assert "trust_remote_code=True" in load
    imported = re.search(r"from llavavit import (.*)", construct).group(1).split(", ")
    assert set(imported) <= set(llavavit.__all__)


def test_variants_table():
    rows = dict(re.findall(r"^\| (small|base|large|huge|giant) \| (.*?) \|$", README, flags=re.MULTILINE))
    assert [f"hf_llava_vit_{name}_ln" for name in rows] == list(VARIANTS)
    order = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size")
    for name, row in rows.items():
        values = VARIANTS[f"hf_llava_vit_{name}_ln"]
        assert [int(cell.replace(",", "")) for cell in row.split(" | ")[:5]] == [values[key] for key in order]
