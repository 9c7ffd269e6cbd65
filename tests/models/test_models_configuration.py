# SPDX-License-Identifier: Apache-2.0
"""Both configurations accept, hold and write the same values; only the Hub's adds an auto_map."""

import copy
import inspect
import json

import pytest

import llavavit
from model_factory import vit_preview_v0_hf

DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 448,
    "patch_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "layer_norm_type": "layer_norm",
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "rope_theta": 10000.0,
    "use_head": True,
}
OTHERS = {
    "hidden_size": 128,
    "intermediate_size": 100,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_channels": 1,
    "image_size": 30,
    "patch_size": 5,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-3,
    "layer_norm_type": "rms_norm",
    "attention_dropout": 0.25,
    "initializer_range": 0.5,
    "rope_theta": 77.0,
    "use_head": False,
}
AUTO_MAP = {
    "AutoConfig": "configuration_llava_vit.LlavaViTConfig",
    "AutoModel": "modeling_llava_vit.LlavaViTModel",
}


def plain(config):
    return {key: value for key, value in config.to_dict().items() if key != "auto_map"}


def saved(config, folder):
    config.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_defaults_and_order(side):
    parameters = inspect.signature(side.LlavaViTConfig.__init__).parameters
    assert {n: p.default for n, p in parameters.items() if n not in ("self", "kwargs")} == DEFAULTS
    assert list(parameters) == ["self", *DEFAULTS, "kwargs"]
    config = side.LlavaViTConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert config.model_type == "llava_vit"


@pytest.mark.parametrize("values", [{}, OTHERS, {"output_hidden_states": True, "return_dict": False, "extra": 5}])
def test_both_hold_the_same(values, tmp_path):
    hub, factory = (module.LlavaViTConfig(**values) for module in (llavavit, vit_preview_v0_hf))
    assert list(plain(hub).items()) == list(plain(factory).items())
    for name, value in values.items():
        assert getattr(hub, name) == getattr(factory, name) == value
    on_disk = saved(hub, tmp_path / "hub")
    assert on_disk.pop("auto_map") == AUTO_MAP
    assert on_disk == saved(factory, tmp_path / "factory")
    assert "auto_map" not in plain(factory)


@pytest.mark.parametrize("values", [{}, OTHERS])
def test_round_trips(side, values, tmp_path):
    config = side.LlavaViTConfig(**values)
    expected = {**DEFAULTS, **values}
    config.save_pretrained(tmp_path)
    for back in (
        side.LlavaViTConfig.from_dict(config.to_dict()),
        side.LlavaViTConfig.from_pretrained(tmp_path),
        side.LlavaViTConfig(**json.loads(config.to_json_string())),
        copy.deepcopy(config),
    ):
        assert {name: getattr(back, name) for name in DEFAULTS} == expected
    assert json.loads((tmp_path / "config.json").read_text()).items() >= expected.items()  # defaults are written, too


def test_equality_sees_every_value(side):
    assert side.LlavaViTConfig() == side.LlavaViTConfig()
    for name, value in OTHERS.items():
        assert side.LlavaViTConfig(**{name: value}) != side.LlavaViTConfig(), name
    assert side.LlavaViTConfig() != 3


def test_auto_map_of_the_checkpoint_is_kept_until_saving(tmp_path):
    remote = {"AutoConfig": "org/repo--" + AUTO_MAP["AutoConfig"], "AutoModel": "org/repo--" + AUTO_MAP["AutoModel"]}
    config = llavavit.LlavaViTConfig(auto_map={**remote, "AutoImageProcessor": "org/repo--processing.P"})
    assert config.auto_map["AutoModel"] == remote["AutoModel"]
    assert saved(config, tmp_path)["auto_map"] == {**AUTO_MAP, "AutoImageProcessor": "org/repo--processing.P"}
    back = llavavit.LlavaViTConfig.from_pretrained(tmp_path)
    assert saved(back, tmp_path / "again")["auto_map"] == config.auto_map
    assert llavavit.LlavaViTConfig().auto_map == AUTO_MAP  # nothing leaked into the class


def test_auto_map_is_written_whatever_happened_to_the_attribute(tmp_path):
    config = llavavit.LlavaViTConfig()
    config.auto_map = None
    assert saved(config, tmp_path / "none")["auto_map"] == AUTO_MAP
    del config.auto_map
    assert saved(config, tmp_path / "deleted")["auto_map"] == AUTO_MAP


def test_model_save_writes_auto_map(build, tmp_path):
    build(llavavit, num_hidden_layers=1).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == AUTO_MAP
