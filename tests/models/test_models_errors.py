# SPDX-License-Identifier: Apache-2.0
"""Bad input: both implementations say the same thing, and say what came, what was expected and the fix."""

import inspect

import pytest
import torch

import llavavit
from model_factory import vit_preview_v0_hf

IMAGE, VIDEO = torch.zeros(2, 3, 4, 6), torch.zeros(2, 3, 2, 4, 6)
INDEX = torch.zeros(2, 3, dtype=torch.int64)

INPUTS = {
    "missing": ((None, None), ["pixel_values is NoneType", "expected a floating-point tensor"]),
    "bytes": ((IMAGE.byte(), None), ["torch.uint8", "Normalise"]),
    "no batch": ((IMAGE[0], None), ["(3, 4, 6)", "(batch, channels, height, width)", "unsqueeze(0)"]),
    "six axes": ((VIDEO[None], None), ["(1, 2, 3, 2, 4, 6)", "(batch, channels, frames, height, width)"]),
    "grey": ((IMAGE[:, :1], None), ["1 channels", "num_channels = 3", "axis 1"]),
    "frames first": ((VIDEO.transpose(1, 2), None), ["2 channels", "before the frames"]),
    "height": ((torch.zeros(1, 3, 5, 6), None), ["(1, 3, 5, 6)", "patch_size = 2", "to 4 x 6"]),
    "width": ((torch.zeros(1, 3, 2, 1, 9), None), ["(1, 3, 2, 1, 9)", "patch_size = 2", "to 2 x 8"]),
    "no frames": ((VIDEO[:, :, :0], None), ["(2, 3, 0, 4, 6)", "at least one frame"]),
    "no rows": ((IMAGE[:, :, :0], None), ["(2, 3, 0, 6)", "positive"]),
    "index list": ((IMAGE, [[0]]), ["type list", "(batch, kept)"]),
    "index rank": ((IMAGE, INDEX[0]), ["shape (3,)", "(batch, kept)", "(batch, 1, frames, height, width)"]),
    "index dtype": ((IMAGE, INDEX.int()), ["torch.int32", "torch.int64", "visible_indices.long()"]),
    "mask": ((IMAGE, INDEX.bool()), ["torch.bool", "torch.int64"]),
    "index batch": ((IMAGE, INDEX[:1]), ["shape (1, 3)", "(2, kept)", "expand(batch, -1)"]),
    "nothing kept": ((IMAGE, INDEX[:, :0]), ["shape (2, 0)", "kept > 0"]),
    "residual channels": ((VIDEO, VIDEO), ["shape (2, 3, 2, 4, 6)", "expected (2, 1, 2, 4, 6)"]),
    "residual frames": ((VIDEO, VIDEO[:, :1, :1]), ["shape (2, 1, 1, 4, 6)", "expected (2, 1, 2, 4, 6)"]),
    "residual size": ((IMAGE, VIDEO[:, :1, :1, :, :4]), ["shape (2, 1, 1, 4, 4)", "expected (2, 1, 1, 4, 6)"]),
    "residual batch": ((VIDEO, VIDEO[:1, :1]), ["shape (1, 1, 2, 4, 6)", "expected (2, 1, 2, 4, 6)"]),
}
CONFIGS = {
    "rotary split": ({"hidden_size": 96}, ["hidden_size / num_attention_heads / 2 is 24", "multiple of 16", "4:6:6"]),
    "odd head size": ({"hidden_size": 66}, ["/ 2 is 16.5", "multiple of 16"]),
    "heads": ({"num_attention_heads": 3}, ["hidden_size is 64", "num_attention_heads is 3", "divides"]),
    "norm": ({"layer_norm_type": "batch_norm"}, ["'batch_norm'", "'layer_norm' or 'rms_norm'"]),
}


@pytest.fixture(scope="module")
def models(build):
    return [build(module, num_hidden_layers=1) for module in (llavavit, vit_preview_v0_hf)]


def messages(calls):
    said = []
    for call in calls:
        with pytest.raises(ValueError, match="expected") as caught:
            call()
        said.append(str(caught.value))
    return said


@pytest.mark.parametrize("case", INPUTS)
def test_inputs(models, case):
    inputs, expected = INPUTS[case]
    hub, factory = messages([lambda model=model: model(*inputs) for model in models])
    assert hub == factory
    assert [part for part in expected if part not in hub] == [], hub


@pytest.mark.parametrize("case", CONFIGS)
def test_configurations(build, case):
    values, expected = CONFIGS[case]
    calls = [lambda module=module: build(module, **values) for module in (llavavit, vit_preview_v0_hf)]
    hub, factory = messages(calls)
    assert hub == factory
    assert [part for part in expected if part not in hub] == [], hub


@pytest.mark.parametrize("index", [6, -1])
def test_an_index_outside_the_grid_raises_on_the_cpu(models, index):
    said = []
    for model in models:
        with pytest.raises(RuntimeError, match="out of bounds") as caught:
            model(IMAGE, torch.full((2, 1), index))
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_the_same_arguments(models):
    hub, factory = (inspect.signature(model.forward).parameters for model in models)
    assert [(p.name, p.default, p.kind) for p in hub.values()] == [
        (p.name, p.default, p.kind) for p in factory.values()
    ]
