# SPDX-License-Identifier: Apache-2.0
"""The tool as users run it, from a checkpoint to a model that AutoModel downloads; and the guide's two ways by hand."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from model_factory.publishing import errors

ROOT = Path(__file__).resolve().parents[2]
NAME = "hf_llava_vit_small_ln"
ANOTHER = "hf_" + "x" * 34

DOWNLOAD = """
import json, sys
import torch
from huggingface_hub import snapshot_download
from transformers import AutoModel

model = AutoModel.from_pretrained("user/model", trust_remote_code=True, dtype="auto")
weights = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
trained = torch.load(sys.argv[1], weights_only=True)["model"]
assert weights.keys() == trained.keys()
assert all(torch.equal(weights[name], tensor) for name, tensor in trained.items())
print(json.dumps({"folder": snapshot_download("user/model"), "module": type(model).__module__}))
"""


def test_from_a_checkpoint_to_what_anyone_downloads(fake, tool, command, trained, tmp_path):
    """Published, downloaded by AutoModel, and compared by the gate with what was trained."""
    options = ("--model_name", NAME, "--weight_path", trained, "--repo_id", "user/model", "--token", fake.writer)
    done = tool(*options, "--max_shard_size", "20MB", HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"published: {fake.endpoint}/user/model/tree/")
    for step in ("[1/5] load", "[2/5] stage", "[3/5] look", "[4/5] verify", "[5/5] upload and read back"):
        assert step in done.stderr
    assert "equal: 111 weights to the bit; 21 outputs in float64" in done.stderr
    assert fake.writer not in done.stdout + done.stderr
    assert fake.repositories["user/model"].messages == ["initial commit", f"Upload {NAME}"]

    downloaded = command(sys.executable, "-c", DOWNLOAD, trained)
    assert downloaded.returncode == 0, downloaded.stderr
    told = json.loads(downloaded.stdout.splitlines()[-1])
    assert told["module"].startswith("transformers_modules")

    from model_factory.publishing import gate

    snapshot = tmp_path / "snapshot"
    shutil.copytree(told["folder"], snapshot)
    found = gate.verify(gate.Request(model_name=NAME, checkpoint=trained, ema=False, folder=snapshot, dtype="float32"))
    assert found.weights == 111


def test_dry_run_stages_and_touches_no_network(fake, tool, trained, tmp_path):
    done = tool(
        "--model_name", NAME, "--weight_path", trained, "--dry_run", "--output_dir", "out", "--dtype", "bfloat16",
        HF_TOKEN="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "weights go from float32 to bfloat16" in done.stderr
    assert "nothing was uploaded" in done.stderr
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert fake.requests == []


def test_skipping_the_verification_is_loud(fake, tool, trained):
    done = tool("--model_name", NAME, "--weight_path", trained, "--dry_run", "--skip_verification")
    assert done.returncode == 0, done.stderr
    assert "verify: SKIPPED" in done.stderr
    assert "WARNING: --skip_verification: nobody has shown" in done.stderr


def test_options_reach_the_hub(fake, tool, trained, tmp_path):
    options = ("--model_name", NAME, "--weight_path", trained, "--repo_id", "user/model", "--skip_verification")
    done = tool(*options, "--private", "--revision", "trial", "--commit_message", "A first try", "--output_dir", "out")
    assert done.returncode == 0, done.stderr
    found = fake.repositories["user/model"]
    assert found.private
    assert found.messages[-1] == "A first try"
    held = fake.files("user/model", "trial")
    assert all(held[file.name] == file.read_bytes() for file in (tmp_path / "out").iterdir())
    assert set(fake.files("user/model")) == {".gitattributes"}


CARD = r"""
import re, sys
import torch
from huggingface_hub import hf_hub_download

card = open(hf_hub_download("user/model", "README.md", revision="trial")).read()
(block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
exec(block)
(name,) = [name for name in model.state_dict() if name.endswith("head.probe")]
print(torch.equal(model.state_dict()[name], torch.load(sys.argv[1], weights_only=True)["model"]["module." + name]))
"""


def test_a_branch_beside_other_weights_loads_its_own(fake, tool, command, trained, staged):
    """main holds other weights in one file, the branch has shards; its card and its example name the branch."""
    other = {file.name: file.read_bytes() for file in staged.iterdir() if file.suffix != ".safetensors"}
    del other["model.safetensors.index.json"]
    fake.add("user/model", {**other, "model.safetensors": b"old weights"})
    options = ("--model_name", NAME, "--weight_path", trained, "--repo_id", "user/model", "--skip_verification")
    done = tool(*options, "--revision", "trial", "--max_shard_size", "20MB", "--force")
    assert done.returncode == 0, done.stderr
    assert "no branch trial yet; it begins with what main holds" in done.stderr
    card = command(sys.executable, "-c", CARD, trained)
    assert card.stdout == "True\n", card.stderr
    example = command(sys.executable, staged / "example.py", "user/model", "trial")
    assert example.stdout.startswith("image tokens (1, 16, 384)"), example.stderr
    assert fake.files("user/model")["model.safetensors"] == b"old weights"


def test_a_difference_publishes_nothing(fake, command, trained, tmp_path):
    """A copy of the repository in which the Hub package lost an eps."""
    for name in ("llavavit", "model_factory", "verify"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "llavavit" / "modeling_llava_vit.py"
    right = "return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)"
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, "return nn.LayerNorm(config.hidden_size)"))
    done = command(
        sys.executable, tmp_path / "model_factory" / "upload_llava_vit_to_hf.py", "--model_name", NAME,
        "--weight_path", trained, "--repo_id", "user/model", "--output_dir", "out", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    assert "are not the same" in done.stderr
    assert "settings" in done.stderr
    assert fake.repositories == {}
    assert not (tmp_path / "out").exists(), "it would look like one to publish"
    assert f"{tmp_path / 'out-unverified'} is what was staged, to look at" in done.stderr
    assert (tmp_path / "out-unverified" / "config.json").is_file()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--repo_id", "name-alone"], "expected NAMESPACE/NAME, such as user/name-alone"),
        (["--repo_id", "a/b/c"], "is no repository id"),
        (["--repo_id", "user/bad..name"], "is no repository id"),
        (["--repo_id", "user/bad name"], "is no repository id"),
        ([], "--repo_id is needed"),
        (["--repo_id", "user/model", "--token", "two words"], "a character that no token has"),
        (["--repo_id", "user/model", "--model_name", "hf_llava_vit_lagre_ln"], "there is no model"),
        (["--repo_id", "user/model", "--revision", "a b"], "holds a blank"),
        (["--repo_id", "user/model", "--revision", "../x"], "holds .."),
        (["--repo_id", "user/model", "--revision", "bad..name"], "expected one such as v2 or trial"),
        (["--repo_id", "user/model", "--revision", "0" * 40], "is the id of a commit"),
        (["--repo_id", "user/model", "--max_shard_size", "foo"], "--max_shard_size foo: is no size"),
        (["--dry_run", "--max_shard_size", "0GB"], "expected a number with KB, MB, GB, TB, such as 2GB"),
        (["--dry_run", "--output_dir", "hf-home"], "would not write"),
        (["--dry_run", "--output_dir", "/proc/nowhere/out"], "cannot be written in /proc"),
        (["--dry_run", "--output_dir", "/proc/version"], "is a file"),
        (["--dry_run", "--output_dir", "."], "you are in this folder"),
        (["--dry_run", "--output_dir", "CHECKPOINT"], "the checkpoint is there"),
        (["--dry_run", "--output_dir", "/proc"], "is a mount point, which nothing can take the place of"),
    ],
)
def test_bad_options(fake, tool, trained, tmp_path, options, words):
    """Told before anything is read, written or asked of the Hub."""
    if "hf-home" in options:
        (tmp_path / "hf-home").mkdir()
        (tmp_path / "hf-home" / "thesis.txt").write_text("mine")
    named = [] if "--model_name" in options else ["--model_name", NAME]
    done = tool("--weight_path", trained, *named, *(str(trained.parent) if o == "CHECKPOINT" else o for o in options))
    assert done.returncode == 2
    assert words in done.stderr
    assert "[1/" not in done.stderr
    assert fake.requests == []


def test_other_content_stops_before_the_verification(fake, tool, trained):
    fake.add("user/model", {"thesis.txt": b"something else"})
    done = tool("--model_name", NAME, "--weight_path", trained, "--repo_id", "user/model")
    assert done.returncode == 1
    assert "thesis.txt (kept)" in done.stderr
    assert "[4/5]" not in done.stderr


@pytest.mark.parametrize(
    ("where", "form"),
    [("out", "folder"), ("out", "shard"), *(("out-unverified", f) for f in ("file", "folder", "link", "way"))],
)
def test_a_checkpoint_where_the_run_writes(tool, staged, tmp_path, where, form):
    """It would be replaced by what was made of it, and that then compared with itself."""
    place = Path(shutil.copytree(staged, tmp_path / where))
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    index, shards = place / "model.safetensors.index.json", sorted(place.glob("*.safetensors"))
    other = tmp_path / "other"
    other.mkdir()
    if form == "way":  # a link that leads through the folder and on
        shutil.copy(shards[0], other / "kept.safetensors")
        shards[0].unlink()
        shards[0].symlink_to(other / "kept.safetensors")
    for shard in shards if form in ("shard", "link") else []:
        (other / shard.name).symlink_to(shard) if form == "link" or shard == shards[1] else shutil.copy(shard, other)
    (other / "through").symlink_to(shards[0])
    shutil.copy(index, other)
    weights = {"file": index, "folder": place, "way": other / "through"}.get(form, other)
    done = tool("--model_name", NAME, "--weight_path", weights, "--dry_run", "--output_dir", "out")
    assert done.returncode == 2, done.stderr
    assert f"the checkpoint is there, and {place} will be replaced; name another folder:" in done.stderr
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before


def test_two_runs_with_one_folder(tool, trained, tmp_path):
    from model_factory.publishing import staging

    options = ("--model_name", NAME, "--weight_path", trained, "--dry_run", "--output_dir", "out")
    for name in ("out", "out-unverified"):
        with staging.locked(tmp_path / name):
            done = tool(*options)
        assert done.returncode == 1
        assert f"{tmp_path / name}: another run is at work there" in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_linked_folder_stays_a_link(tool, trained, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    options = ("--model_name", NAME, "--weight_path", os.path.relpath(trained, tmp_path), "--dry_run")
    done = tool(*options, "--skip_verification", "--output_dir", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "config.json").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(variables, trained, tmp_path, number):
    """While the folder is being written: one that is half there is removed."""
    script = (
        "import os, sys\nfrom model_factory import upload_llava_vit_to_hf as tool\n"
        "from model_factory.publishing import staging\nfrom verify import interrupt\ninterrupt.heed_termination()\n"
        f"staging._check_finite = lambda *_: os.kill(os.getpid(), {int(number)})\nsys.exit(tool.run(sys.argv[1:]))"
    )
    options = ("--model_name", NAME, "--weight_path", str(trained), "--dry_run", "--output_dir", "place/out")
    program = [sys.executable, "-c", script, *options]
    done = subprocess.run(
        program, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 128 + number
    assert f"interrupted by {'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'}; a repository" in done.stderr
    assert list((tmp_path / "place").iterdir()) == []


def test_an_unknown_option_shows_no_token(tool, trained):
    done = tool("--model_name", NAME, "--weight_path", trained, "--tokn", ANOTHER)
    assert done.returncode == 2
    assert "--tokn" in done.stderr
    assert ANOTHER not in done.stdout + done.stderr


def test_a_token_that_is_not_valid_stops_before_the_work(fake, tool, trained):
    options = ("--model_name", NAME, "--weight_path", trained, "--repo_id", "user/model", "--token")
    for token, words in ((ANOTHER, "does not accept this token"), (fake.reader, "it was made for reading")):
        done = tool(*options, token)
        assert done.returncode == 1
        assert words in done.stderr
        assert "[1/5]" not in done.stderr
        assert token not in done.stdout + done.stderr


def test_a_defect_of_the_tool_shows_no_token(command, trained, fake, variables):
    """Whatever goes wrong where nobody foresaw it: a traceback, without the token that is in the message."""
    script = (
        "import sys\nfrom model_factory import upload_llava_vit_to_hf as tool\nfrom model_factory.publishing import hub\n"
        "def broken(target):\n    raise KeyError(f'no {target.token} here')\nhub.look = broken\n"
        "sys.exit(tool.run(sys.argv[1:]))"
    )
    options = ("--model_name", NAME, "--weight_path", trained, "--repo_id", "user/model")
    home = Path(variables["HF_HOME"])
    home.mkdir()
    (home / "token").write_text("odd-secret\n")
    for given, more in (
        ((), {}),
        (("--token", "odd-secret"), {"HF_TOKEN": ""}),
        (("--token=odd-secret",), {}),
        ((), {"HF_TOKEN": "odd-secret\n"}),
        ((), {"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "odd-secret"}),
        ((), {"HF_TOKEN": ""}),
    ):
        done = command(sys.executable, "-c", script, *options, *given, **more)
        assert done.returncode == 1
        assert "KeyError: 'no [token] here'" in done.stderr
        assert "odd-secret" not in done.stderr
        assert fake.writer not in done.stderr


@pytest.mark.parametrize("token", [ANOTHER, "hf_oauth_eyJhbGciOiJFZERTQSJ9.eyJz_-b.sig", "api_org_" + "y" * 30])
def test_a_token_in_a_wrong_place_is_not_shown(tool, trained, token):
    options = ("--model_name", NAME, "--weight_path", trained)
    for wrong in (
        ("--repo_id", token),
        (token,),
        ("--repo_id", "user/model", "--revision", f"{token} "),
        ("--dtype", token),
    ):
        done = tool(*options, *wrong)
        assert done.returncode == 2
        assert "[token]" in done.stderr
        assert token not in done.stdout + done.stderr
    done = tool("--model_name", NAME, "--weight_path", token, "--dry_run")
    assert done.returncode == 1
    assert token not in done.stdout + done.stderr


def test_scrubbing_leaves_other_words_alone():
    text = "Pair a of hf_llava_vit_large_ln.pth and user/hf_llava_vit_small_ln"
    assert errors.scrub(text, "a", "", None) == text


def test_a_harmful_checkpoint(fake, tool, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.system, (f"touch '{tmp_path / 'executed'}'",)

    torch.save({"model": {}, "extra": Harmful()}, tmp_path / "bad.pth")
    done = tool("--model_name", NAME, "--weight_path", "bad.pth", "--repo_id", "user/model")
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert not (tmp_path / "executed").exists()
    assert fake.repositories == {}


def test_another_variant(fake, tool, trained):
    done = tool("--model_name", "hf_llava_vit_base_ln", "--weight_path", trained, "--repo_id", "user/model")
    assert done.returncode == 1
    assert "It is a checkpoint of hf_llava_vit_small_ln: pass --model_name hf_llava_vit_small_ln." in done.stderr
    assert fake.repositories == {}


@pytest.mark.parametrize("answer", ["y", "n"])
def test_other_content_is_asked_about_on_a_terminal(fake, folder, variables, answer):
    odd = "[red]notes[/red] :bug: [/].txt"
    fake.add("user/model", {"README.md": b"# Mine\n", odd: b"mine"})
    ours, theirs = pty.openpty()
    program = [sys.executable, str(Path(__file__).parent / "publish_folder.py"), str(folder), "user/model"]
    running = subprocess.Popen(program, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 120
    while b"[y/n]" not in shown and time.monotonic() < deadline:
        shown += os.read(ours, 4096)
    assert b"README.md (replaced)" in shown
    assert f"{odd} (kept)".encode() in shown, "names are shown as they are"
    os.write(ours, f"{answer}\n".encode())
    told = json.loads(running.communicate(timeout=120)[0].splitlines()[-1])
    os.close(ours)
    assert (running.returncode, "error" in told) == ((0, False) if answer == "y" else (1, True))
    assert (fake.files("user/model")["README.md"] == b"# Mine\n") == (answer == "n")


# --- by hand ----------------------------------------------------------------------------------------------------------

BY_HAND = """
import shutil, sys
from model_factory.publishing import checkpoint
from llavavit import LlavaViTConfig, LlavaViTModel
from model_factory import VARIANTS

model = LlavaViTModel(LlavaViTConfig(**VARIANTS["hf_llava_vit_small_ln"]))
model.load_state_dict(checkpoint.load(sys.argv[1]).tensors, strict=True)
model.save_pretrained("by-hand")
for file in ("configuration_llava_vit.py", "modeling_llava_vit.py"):
    shutil.copy(f"{sys.argv[2]}/llavavit/{file}", "by-hand")
"""


def clients() -> list[Path]:
    """The command lines that this environment's huggingface_hub brings."""
    return [p for name in ("hf", "huggingface-cli") if (p := Path(sys.executable).parent / name).exists()]


def test_there_is_a_client():
    assert clients()


@pytest.mark.parametrize("client", clients(), ids=lambda p: p.name)
def test_the_staged_folder_uploaded_by_hand(fake, command, staged, trained, client):
    done = command(client, "upload", "user/model", staged, ".")
    assert done.returncode == 0, done.stderr
    held = fake.files("user/model")
    assert all(held[file.name] == file.read_bytes() for file in staged.iterdir())
    downloaded = command(sys.executable, "-c", DOWNLOAD, trained)
    assert downloaded.returncode == 0, downloaded.stderr


def test_save_pretrained_by_hand(fake, command, trained):
    script = BY_HAND.replace("checkpoint.load(sys.argv[1])", "checkpoint.load(__import__('pathlib').Path(sys.argv[1]))")
    done = command(sys.executable, "-c", script, trained, ROOT)
    assert done.returncode == 0, done.stderr
    uploaded = command(clients()[0], "upload", "user/model", "by-hand", ".")
    assert uploaded.returncode == 0, uploaded.stderr
    downloaded = command(sys.executable, "-c", DOWNLOAD, trained)
    assert downloaded.returncode == 0, downloaded.stderr
