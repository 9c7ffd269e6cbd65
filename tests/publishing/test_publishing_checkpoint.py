# SPDX-License-Identifier: Apache-2.0
"""Reading checkpoints: every form that holds the weights gives the same tensors, and every other is refused in words."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from model_factory.publishing import checkpoint, models
from model_factory.publishing.errors import PublishError

WEIGHTS = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.ones(3), "probe": torch.zeros(1, 1, 4)}
AVERAGED = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
OPTIMIZER = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 0.1}]}


def prefixed(prefix: str, weights=WEIGHTS):
    return {prefix + name: tensor for name, tensor in weights.items()}


def same(found: checkpoint.Checkpoint, weights=WEIGHTS) -> bool:
    return found.tensors.keys() == weights.keys() and all(torch.equal(found.tensors[n], t) for n, t in weights.items())


@pytest.fixture
def saved(tmp_path):
    def save(content, name="checkpoint.pth", **options) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS, "optimizer": OPTIMIZER, "epoch": 3},
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model_state_dict": WEIGHTS},
        {"module": WEIGHTS, "global_steps": 7},
        {"state_dict": {"model": WEIGHTS, "step": 1}},
        prefixed("module."),
        {"model": prefixed("module.")},
        prefixed("_orig_mod."),
        prefixed("module._orig_mod.model."),
        {"layer._orig_mod.weight": WEIGHTS["layer.weight"], "layer.bias": WEIGHTS["layer.bias"], "probe": WEIGHTS["probe"]},
        prefixed("_fsdp_wrapped_module."),
        {"ema": WEIGHTS},
        {"params_ema": WEIGHTS},
        {"params": WEIGHTS, "params_ema": AVERAGED},
        {"model_ema": {"module": WEIGHTS, "decay": 0.999}},
        {**prefixed("module."), "n_averaged": torch.tensor(5)},
        {"model": WEIGHTS, "params": {"lr": 0.1}},
        {"model": WEIGHTS, "module": {"names": {"first": "a"}}},
    ],
    ids=lambda c: " ".join(list(c)[:2]),
)  # fmt: skip
def test_every_form_of_a_training_script(saved, content):
    assert same(checkpoint.load(saved(content)))


def test_the_old_format_of_torch(saved):
    assert same(checkpoint.load(saved({"model": WEIGHTS}, _use_new_zipfile_serialization=False)))


def test_reading_maps_the_file_and_copies_nothing(saved):
    """Zeros written over the file show in tensors whose values were never copied."""
    file = saved({"w": torch.ones(100_000)})
    tensor = checkpoint.load(file).tensors["w"]
    with file.open("r+b") as stream:
        data = stream.read()
        at = data.index(torch.ones(100_000).numpy().tobytes())
        stream.seek(at)
        stream.write(bytes(400_000))
    assert tensor.abs().sum() == 0


def test_averaged_weights_only_where_asked_for(saved):
    file = saved({"model": WEIGHTS, "model_ema": AVERAGED})
    plain, averaged = checkpoint.load(file), checkpoint.load(file, ema=True)
    assert same(plain)
    assert any("--ema" in note for note in plain.notes)
    assert same(averaged, AVERAGED)
    with pytest.raises(PublishError, match="no averaged weights"):
        checkpoint.load(saved({"model": WEIGHTS}), ema=True)


@pytest.mark.parametrize(
    "content",
    [
        {"model": WEIGHTS, "model_ema": AVERAGED, "ema": {"decay": 0.9}},
        {"state_dict": {"model": WEIGHTS, "ema": AVERAGED}},
        {"state_dict": {"model": WEIGHTS, "ema": AVERAGED}, "params": {"lr": 0.1}},
        {"ema": {"shadow": AVERAGED, "decay": 0.9}},
    ],
)
def test_averaged_weights_beside_or_below_others(saved, content):
    assert same(checkpoint.load(saved(content), ema=True), AVERAGED)


def test_settings_of_averaging_are_no_averaged_weights(saved):
    file = saved({"model": WEIGHTS, "ema": {"decay": 0.9}})
    assert checkpoint.load(file).notes == ("the weights are under 'model'",)
    with pytest.raises(PublishError, match="no averaged weights"):
        checkpoint.load(file, ema=True)


@pytest.mark.parametrize(
    ("wrapped", "expected", "found"),
    [
        ("model.", "model.", "model."),
        ("module.model.", "model.", "model."),
        ("module.model.", "", ""),
        ("module._orig_mod.ema.", "ema.", "ema."),
        ("model.", "other.", "model."),
    ],
)
def test_names_that_begin_as_a_wrapper_does(saved, wrapped, expected, found):
    """A model may have a module of that name; which of them are wrappers, the names that are wanted tell."""
    loaded = checkpoint.load(saved(prefixed(wrapped)), expected=list(prefixed(expected)))
    assert same(loaded, prefixed(found))
    short = {name: tensor for name, tensor in prefixed(wrapped).items() if not name.endswith("probe")}
    few = checkpoint.load(saved(short), expected=list(prefixed(expected))).tensors
    assert few.keys() == {name for name in prefixed(found) if not name.endswith("probe")}, "also where one is missing"


def test_safetensors(tmp_path):
    save_file(prefixed("module."), tmp_path / "w.safetensors")
    assert same(checkpoint.load(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards(tmp_path, kind):
    stem, write = ("model", save_file) if kind == "safetensors" else ("pytorch_model", torch.save)
    where = {}
    for number, names in enumerate((["layer.weight"], ["layer.bias", "probe"])):
        shard = f"{stem}-{number}.{kind}"
        write({name: WEIGHTS[name] for name in names}, tmp_path / shard)
        where |= dict.fromkeys(names, shard)
    index = tmp_path / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert same(checkpoint.load(index))
    assert same(checkpoint.load(tmp_path))

    index.write_text(json.dumps({"weight_map": {**where, "lost": f"{stem}-0.{kind}"}}))
    with pytest.raises(PublishError, match=r"(?s)lacks.*lost"):
        checkpoint.load(index)
    index.write_text(json.dumps({"weight_map": {n: s for n, s in where.items() if n != "probe"}}))
    with pytest.raises(PublishError, match=r"(?s)also holds.*probe"):
        checkpoint.load(index)
    (tmp_path / f"{stem}-1.{kind}").unlink()
    with pytest.raises(PublishError, match="is missing"):
        checkpoint.load(index)


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/passwd", "..", ""])
def test_shards_lie_beside_their_index(tmp_path, shard):
    folder = tmp_path / "inside"
    folder.mkdir()
    save_file(WEIGHTS, tmp_path / "outside.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(WEIGHTS, shard)}))
    with pytest.raises(PublishError, match="beside their index"):
        checkpoint.load(index)


@pytest.mark.parametrize("shard", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_names_no_index(tmp_path, shard):
    """Itself least of all."""
    index = tmp_path / "model.safetensors.index.json"
    for name in (index.name, shard):
        (tmp_path / name).write_text(json.dumps({"weight_map": dict.fromkeys(WEIGHTS, shard)}))
    with pytest.raises(PublishError, match=rf"names '{shard}' as a shard, which is an index"):
        checkpoint.load(index)


# --- what is refused --------------------------------------------------------------------------------------------------


class Harmful:
    """Runs a command when it is unpickled without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize("form", ["zip", "old", "plain", "inside"])
def test_a_harmful_pickle_is_refused_and_not_run(tmp_path, form):
    file, mark = tmp_path / "checkpoint.pth", tmp_path / "executed"
    content = {"model": WEIGHTS, "args": Harmful(mark)} if form == "inside" else Harmful(mark)
    if form == "plain":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form != "old")
    with pytest.raises(PublishError, match=r"refused: .*Nothing of it was executed") as caught:
        checkpoint.load(file)
    assert not mark.exists()
    assert form == "plain" or ".system)" in str(caught.value)
    if form in ("zip", "inside"):
        torch.load(file, weights_only=False)  # the harm is real
        assert mark.exists()


def test_harm_in_one_shard(tmp_path):
    mark = tmp_path / "executed"
    torch.save({"layer.weight": Harmful(mark)}, tmp_path / "a.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"layer.weight": "a.bin"}}))
    with pytest.raises(PublishError, match="refused"):
        checkpoint.load(tmp_path)
    assert not mark.exists()


def test_arguments_of_a_training_script_are_named_with_the_way_out(saved):
    file = saved({"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)})
    with pytest.raises(PublishError, match=r"argparse\.Namespace.*model\.state_dict\(\)"):
        checkpoint.load(file)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -1])
@pytest.mark.parametrize("kind", ["pth", "old.pth", "safetensors"])
def test_truncated(tmp_path, kind, keep):
    file = tmp_path / f"w.{kind}"
    if kind == "safetensors":
        save_file(WEIGHTS, file)
    else:
        torch.save(WEIGHTS, file, _use_new_zipfile_serialization=kind == "pth")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(PublishError, match="truncated" if keep else "is empty; copy it again"):
        checkpoint.load(file)


PAGE = b"<!DOCTYPE html><html><body>Sign in to see this file</body></html>\n" * 3
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pth", b"abc", "is no checkpoint: it begins with b'abc'; expected what torch.save wrote"),
        ("w.pth", PAGE, "is no checkpoint: it begins with b'<!DOCTYPE html>"),
        ("w.safetensors", PAGE, "is no safetensors file: it begins with b'<!DOCTYPE html>"),
        ("w.pth", POINTER, "is the pointer of a file in git-lfs and not the file; get that with `git lfs pull`"),
        ("w.safetensors", POINTER, "get that with `git lfs pull`"),
        ("w.bin", save({"a": torch.ones(2)}), "looks like safetensors; give it a name that ends with .safetensors"),
    ],
    ids=["three bytes", "page", "page as safetensors", "pointer", "pointer as safetensors", "safetensors"],
)
def test_a_file_of_another_kind(tmp_path, name, content, words):
    """None of these could run code, and none was cut."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PublishError, match=re.escape(words)) as caught:
        checkpoint.load(tmp_path / name)
    assert not re.search("truncated|refused|could run code", str(caught.value))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "is empty"),
        ([1, 2], "holds a list"),
        ({"epoch": 3, "lr": 0.1}, r"(?s)no tensor.*epoch \(int\)"),
        ({"layer.weight": torch.ones(2), "epoch": 3}, r"(?s)no tensor.*epoch"),
        ({"model": WEIGHTS, "state_dict": AVERAGED}, "under 'model' and 'state_dict'"),
        ({"layer._orig_mod.bias": torch.ones(1), "layer.bias": torch.ones(1)}, r"(?s)one parameter.*layer\.bias"),
    ],
)
def test_no_state_dict(saved, content, words):
    with pytest.raises(PublishError, match=words):
        checkpoint.load(saved(content))


def test_no_file(tmp_path):
    with pytest.raises(PublishError, match="no such file"):
        checkpoint.load(tmp_path / "nothing.pth")
    with pytest.raises(PublishError, match=r"none of model\.safetensors\.index\.json"):
        checkpoint.load(tmp_path)


# --- what a variant expects -------------------------------------------------------------------------------------------

SMALL = "hf_llava_vit_small_ln"


def test_the_right_variant(weights):
    models.check(checkpoint.Checkpoint(tensors=weights), SMALL)


def test_another_variant_is_named(weights):
    with pytest.raises(PublishError, match=r"--model_name hf_llava_vit_small_ln") as caught:
        models.check(checkpoint.Checkpoint(tensors=weights), "hf_llava_vit_base_ln")
    assert "96 missing" in str(caught.value)
    assert "111 of another shape" in str(caught.value)


def test_every_key_that_does_not_fit_is_listed(weights):
    wrong = {n: t for n, t in weights.items() if not n.startswith("head.mlp.")}
    wrong |= {"head.probe": torch.zeros(1, 2, 384), **{f"extra.{n}": torch.zeros(1) for n in range(30)}}
    with pytest.raises(PublishError) as caught:
        models.check(checkpoint.Checkpoint(tensors=wrong), SMALL)
    text = str(caught.value)
    for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
        assert f"head.mlp.{part}" in text
    assert all(f"extra.{n} [1]" in text for n in range(30))
    assert "head.probe: [1, 2, 384] in the checkpoint, [1, 1, 384] in the model" in text


def test_a_nearly_right_checkpoint_names_its_variant(weights):
    wrong = {**weights, "classifier.weight": torch.zeros(10, 384)}
    with pytest.raises(PublishError, match="nearest variant is hf_llava_vit_small_ln, from which it differs in 1"):
        models.check(checkpoint.Checkpoint(tensors=wrong), SMALL)


def test_types_that_cannot_be_published(weights):
    wrong = {**weights, "layernorm_pre.bias": weights["layernorm_pre.bias"].double()}
    with pytest.raises(PublishError, match=r"layernorm_pre\.bias \(torch\.float64\)"):
        models.check(checkpoint.Checkpoint(tensors=wrong), SMALL)


def test_the_dtype_is_the_checkpoints_own_or_asked_for(weights):
    mixed = checkpoint.Checkpoint(tensors={**weights, "head.probe": weights["head.probe"].bfloat16()})
    assert models.published_dtype(checkpoint.Checkpoint(tensors=weights), None) == torch.float32
    assert models.published_dtype(mixed, "bfloat16") == torch.bfloat16
    with pytest.raises(PublishError, match="mixes float32, bfloat16; choose one with --dtype"):
        models.published_dtype(mixed, None)
