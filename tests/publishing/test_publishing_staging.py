# SPDX-License-Identifier: Apache-2.0
"""The staged folder: whole, exact, the same each time, true in its card; and never half there."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file

import llavavit
from model_factory.publishing import checkpoint, errors, models, staging
from model_factory.publishing.errors import PublishError

ROOT = Path(__file__).resolve().parents[2]
NAME = "hf_llava_vit_small_ln"


def plan(**values) -> staging.Plan:
    return staging.Plan(**{"model_name": NAME, "source": "user/model", "dtype": torch.float32, **values})


def held(weights) -> checkpoint.Checkpoint:
    return checkpoint.Checkpoint(tensors=weights)


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    return {n: t for file in sorted(folder.glob("*.safetensors")) for n, t in load_file(file).items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_folder_holds_what_loading_needs_and_no_more(staged):
    assert {file.name for file in staged.iterdir()} == {
        "README.md", "config.json", "configuration_llava_vit.py", "example.py", "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json",
        "modeling_llava_vit.py", "preprocessor_config.json",
    }  # fmt: skip
    assert all((staged / f).read_bytes() == (ROOT / "llavavit" / f).read_bytes() for f in staging.CODE)
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in staged.glob("*.safetensors"))


def test_weights_are_the_checkpoints_to_the_bit(staged, weights):
    found = loaded(staged)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    index = json.loads((staged / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == weights.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in weights.values())


def test_staging_twice_gives_the_same_bytes(staged, trained, tmp_path):
    staging.stage(checkpoint.load(trained), plan(shard="20MB"), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(staged)


def test_one_file_where_it_fits(weights, tmp_path):
    staging.stage(held(weights), plan(), tmp_path / "folder")
    assert (tmp_path / "folder" / "model.safetensors").is_file()
    assert not (tmp_path / "folder" / "model.safetensors.index.json").exists()


def test_the_configuration_is_what_save_pretrained_writes(staged, tmp_path):
    model = llavavit.LlavaViTModel(models.hub_config(NAME, torch.float32))
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads((staged / "config.json").read_text())


def test_another_dtype(weights, tmp_path):
    staging.stage(held(weights), plan(dtype=torch.bfloat16), tmp_path / "folder")
    found = loaded(tmp_path / "folder")
    assert all(torch.equal(found[name], tensor.bfloat16()) for name, tensor in weights.items())
    assert json.loads((tmp_path / "folder" / "config.json").read_text())["dtype"] == "bfloat16"


# --- card, example, preprocessing -------------------------------------------------------------------------------------


def test_the_card_says_what_the_configuration_says(staged, weights):
    text = (staged / "README.md").read_text()
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["library_name"] == "transformers"
    assert metadata["tags"] == ["custom_code", "llava_vit", "vision"]
    assert not metadata.keys() & {"license", "datasets", "metrics", "model-index", "language"}, "claims of nobody's"
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
    config = json.loads((staged / "config.json").read_text())
    assert rows["parameters"] == f"{sum(t.numel() for t in weights.values()):,}" == "12,716,928"
    for row, key in (
        ("hidden size", "hidden_size"),
        ("layers", "num_hidden_layers"),
        ("MLP size", "intermediate_size"),
    ):
        assert rows[row] == str(config[key])
    assert rows["stored as"].startswith(config["dtype"])


def test_the_cards_example_runs(staged):
    (block,) = re.findall(r"```python\n(.*?)```", (staged / "README.md").read_text(), re.DOTALL)
    assert '"user/model"' in block
    names: dict[str, object] = {}
    exec(block.replace("user/model", str(staged)), names)
    told = re.search(r"output\.last_hidden_state  # (\(.*\))", block)[1]
    assert str(tuple(names["output"].last_hidden_state.shape)) == told


def test_the_example_runs_beside_the_weights(staged, command):
    done = command(sys.executable, staged / "example.py", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "image tokens (1, 16, 384) pooled (1, 384)",
        "video tokens (1, 48, 384) pooled (1, 384)",
    ]


def test_preprocessing_is_clips_at_the_models_size(staged):
    found = json.loads((staged / "preprocessor_config.json").read_text())
    readme = (ROOT / "llavavit" / "README.md").read_text()
    for values in (found["image_mean"], found["image_std"]):
        assert f"({', '.join(map(str, values))})" in readme
    assert found["size"] == dict.fromkeys(("height", "width"), llavavit.LlavaViTConfig().image_size)
    assert found["rescale_factor"] == 1 / 255


def test_transformers_makes_the_models_pixels(staged):
    """By the processor that preprocessor_config.json names: one colour, so that resizing changes nothing."""
    image = pytest.importorskip("PIL.Image")
    processor = transformers.AutoImageProcessor.from_pretrained(staged)
    colour, side = (200, 30, 90), llavavit.LlavaViTConfig().image_size
    pixels = processor(image.new("RGB", (300, 200), colour), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, side, side)
    wanted = (torch.tensor(colour) / 255 - torch.tensor(staging.CLIP_MEAN)) / torch.tensor(staging.CLIP_STD)
    assert torch.allclose(pixels, wanted.view(1, 3, 1, 1).expand_as(pixels), atol=1e-5)


PIPELINE = """
import sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, pipeline

image = Image.linear_gradient("L").convert("RGB")
found = torch.tensor(pipeline("image-feature-extraction", model=sys.argv[1], trust_remote_code=True)(image))
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
with torch.no_grad():
    wanted = model(**AutoImageProcessor.from_pretrained(sys.argv[1])(image, return_tensors="pt")).last_hidden_state
print(tuple(found.shape), torch.allclose(found, wanted, atol=1e-4))
"""


def test_the_pipeline_that_the_card_names_runs(staged, command):
    pytest.importorskip("PIL")
    assert "pipeline_tag: image-feature-extraction" in (staged / "README.md").read_text()
    done = command(sys.executable, "-c", PIPELINE, staged, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(1, 784, 384) True"


# --- what stops it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(weights, tmp_path, value):
    spoiled = weights["head.probe"].clone()
    spoiled[0, 0, 3] = value
    with pytest.raises(PublishError, match=r"head\.probe: 1 of 384 values are not finite$"):
        staging.stage(held({**weights, "head.probe": spoiled}), plan(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_values_that_float16_cannot_hold(weights, tmp_path):
    grown = {**weights, "layernorm_pre.weight": weights["layernorm_pre.weight"] * 1e6}
    with pytest.raises(PublishError, match="cannot hold them; choose another --dtype"):
        staging.stage(held(grown), plan(dtype=torch.float16), tmp_path / "folder")


def test_a_shard_size_that_is_none(weights, tmp_path):
    with pytest.raises(PublishError, match="--max_shard_size huge"):
        staging.stage(held(weights), plan(shard="huge"), tmp_path / "folder")


def test_a_folder_with_other_things_is_left_alone(weights, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PublishError, match=r"(?s)staging would not write.*thesis\.txt"):
        staging.stage(held(weights), plan(), tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}
    with pytest.raises(PublishError, match="is a file"):
        staging.stage(held(weights), plan(), tmp_path / "thesis.txt")


def test_an_earlier_staging_is_replaced_whole(weights, tmp_path):
    staging.stage(held(weights), plan(shard="20MB"), tmp_path / "folder")
    staging.stage(held(weights), plan(), tmp_path / "folder")
    assert [f.name for f in sorted((tmp_path / "folder").glob("model*")) if f.suffix != ".py"] == ["model.safetensors"]
    assert [f.name for f in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "options", [{"source": "path/to/this/folder"}, {"revision": "v2"}, {"dtype": torch.bfloat16}, {"shard": "20MB"}]
)
def test_an_earlier_staging_with_other_options_is_replaced(weights, tmp_path, options):
    staging.stage(held(weights), plan(**options), tmp_path / "folder")
    staging.stage(held(weights), plan(), tmp_path / "folder")
    assert 'from_pretrained("user/model", trust' in (tmp_path / "folder" / "README.md").read_text()


def bert(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def no_model(folder: Path) -> None:
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            file.unlink()


def edited(name: str):
    def edit(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write("\nMine.\n")

    return edit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (bert, r"config\.json \(of a bert\)"),
        (lambda folder: (folder / "config.json").write_text("[1]"), r"config\.json \(not of a LlavaViT: TypeError"),
        (no_model, r"model-00001-of-00003\.safetensors \(with no config\.json and no example\.py beside it\)"),
        (lambda folder: (folder / "example.py").unlink(), r"model.*\(with no example\.py beside it\)"),
        (edited("README.md"), r"README\.md \(edited"),
        (edited("example.py"), r"example\.py \(not as staging writes it\)"),
        (edited("preprocessor_config.json"), r"preprocessor_config\.json \(not as"),
        (lambda folder: (folder / "README.md").write_text("# Mine\n"), r"README\.md \(edited"),
    ],
    ids=["bert", "no config", "only weights", "no example", "card", "example", "preprocessor", "own card"],
)
def test_files_named_as_a_stagings_are_left_alone(staged, weights, tmp_path, change, words):
    """Every model on the Hub has a config.json and a model.safetensors; and a card is there to be edited."""
    folder = Path(shutil.copytree(staged, tmp_path / "folder"))
    change(folder)
    before = contents(folder)
    with pytest.raises(errors.OptionError, match=rf"(?s)staging would not write.*take these elsewhere:.*{words}"):
        staging.stage(held(weights), plan(), folder)
    (tmp_path / "fresh").mkdir()
    with pytest.raises(PublishError, match=rf"(?s)is left alone:.*{words}"):  # they came there while the run was on
        staging.replace(folder, tmp_path / "fresh")
    assert contents(folder) == before


def test_an_earlier_staging_without_its_card_is_replaced(staged, weights, tmp_path):
    folder = Path(shutil.copytree(staged, tmp_path / "folder"))
    (folder / "README.md").unlink()
    staging.stage(held(weights), plan(), folder)
    assert (folder / "README.md").is_file()


@pytest.mark.parametrize("stopped", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_folder_that_cannot_be_replaced_is_as_it_was(staged, tmp_path, monkeypatch, stopped):
    """The old one was out of the way already when the new one could not take its place."""
    folder, fresh = (Path(shutil.copytree(staged, tmp_path / name)) for name in ("folder", "fresh"))
    before, rename = contents(folder), Path.rename

    def fails(self, target):
        if self == fresh:
            raise stopped
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises((PublishError, KeyboardInterrupt)) as caught:
        staging.replace(folder, fresh)
    assert isinstance(caught.value, KeyboardInterrupt) or "cannot be replaced: Input/output" in str(caught.value)
    assert contents(folder) == before
    assert {file.name for file in tmp_path.iterdir()} == {"folder", "fresh"}


def test_what_cannot_be_put_back_is_told(staged, tmp_path, monkeypatch):
    folder, fresh = (Path(shutil.copytree(staged, tmp_path / name)) for name in ("folder", "fresh"))
    before, rename = contents(folder), Path.rename

    def fails(self, target):
        if self != folder:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PublishError, match=r"what was there lies in (.+)$") as caught:
        staging.replace(folder, fresh)
    assert contents(Path(re.search("lies in (.+)$", str(caught.value))[1])) == before


def test_one_run_at_a_time(tmp_path):
    """Also where a killed run left its lock, and where the folder is not there yet."""
    folder = tmp_path / "place" / "folder"
    folder.parent.mkdir()
    (folder.parent / ".folder.lock").touch()
    with staging.locked(folder):
        with pytest.raises(PublishError, match="another run is at work there"), staging.locked(folder):
            pass
        with staging.locked(folder.with_name("other")):
            pass
    with staging.locked(folder):
        pass
    assert list(folder.parent.iterdir()) == []


def test_too_little_room_is_seen_before_anything_is_written(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(PublishError, match=r"needs 0\.05 GB and 0\.00 GB are free"):
        staging.stage(held(weights), plan(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import sys
import torch
from pathlib import Path
from model_factory.publishing import checkpoint, staging
from model_factory.publishing.errors import PublishError

plan = staging.Plan(model_name=sys.argv[3], source="user/model", dtype=torch.float32, shard="20MB")
if "unseen" in sys.argv:  # the room is taken by somebody else after it was looked at
    import shutil

    shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12)
try:
    staging.stage(checkpoint.load(Path(sys.argv[1])), plan, Path(sys.argv[2]))
except PublishError as error:
    print(error)
    sys.exit(3)
"""


def test_a_disk_that_takes_no_more_in_the_middle(trained, tmp_path, command):
    """The system refuses to write past 10 MiB a file; an earlier staging stays whole."""
    target = tmp_path / "place" / "folder"
    assert command(sys.executable, "-c", SCRIPT, trained, target, NAME).returncode == 0
    before = contents(target)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * 2**20, 10 * 2**20))

    arguments = [sys.executable, "-c", SCRIPT, str(trained), str(target), NAME]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        arguments, preexec_fn=limited, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3, done.stderr
    assert "cannot be written" in done.stdout
    assert "File too large" in done.stdout
    assert contents(target) == before
    assert [f.name for f in target.parent.iterdir()] == ["folder"]


NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
CAN_MOUNT = (
    shutil.which("unshare")
    and not subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    ).returncode
)


@pytest.mark.skipif(not CAN_MOUNT, reason="no user namespaces here, so no small disk can be mounted")
@pytest.mark.parametrize("unseen", [False, True])
def test_a_full_disk(trained, tmp_path, command, unseen):
    """A real disk of 30 MB, for 51 MB of weights."""
    disk = tmp_path / "disk"
    disk.mkdir()
    shell = f'mount -t tmpfs -o size=30m tmpfs {disk} && {{ "$@"; code=$?; ls -A {disk}; exit $code; }}'
    program = [sys.executable, "-c", SCRIPT, trained, disk / "folder", NAME, *(["unseen"] if unseen else [])]
    done = command(*NAMESPACE, "sh", "-c", shell, "sh", *program)
    assert done.returncode == 3, done.stderr
    told, *rest = done.stdout.splitlines()
    assert ("No space left on device" if unseen else "are free there") in told
    assert rest == [], "nothing is left of it"
