# SPDX-License-Identifier: Apache-2.0
"""Every command and every Python example of the publishing pages is run, in the order of the pages, in a copy of the
repository with a trained checkpoint and against a Hub on loopback. The large variant they speak of is run as the small one."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from fake_hub import FakeHub

from model_factory.publishing import checkpoint, models
from model_factory.publishing.errors import PublishError

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "docs/alignment-guide.md",
    "docs/alignment-guide.zh-CN.md",
    "model_factory/README_UPLOAD_TO_HF.md",
    "model_factory/MANUAL_UPLOAD_GUIDE.md",
    "model_factory/MANUAL_UPLOAD_GUIDE_CN.md",
    "model_factory/QUICK_START_CN.md",
    "llavavit/README.md",
)
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = "hf_llava_vit_small_ln"
UPLOAD = "model_factory/upload_llava_vit_to_hf.py"


def steps() -> list[tuple[str, str]]:
    """(language, text) of every command line and every Python block that needs the Hub or files, each once, in order.

    The examples in llavavit/README.md are about the model and are run by tests/models.
    """
    found = {}
    for page in PAGES:
        for language, body in FENCE.findall((ROOT / page).read_text(encoding="utf-8")):
            texts = [body] if language == "python" else body.splitlines()
            for text in texts if page != "llavavit/README.md" or language == "sh" else []:
                found[language, text] = page
    return list(found)


STEPS = steps()


def small(text: str) -> str:
    """A command for the small variant with few layers. Only the first run of the tool verifies: the gate has its tests."""
    text = text.replace("hf_llava_vit_large_ln", "hf_llava_vit_small_ln")
    text = text.replace("--variant large --depth 2", "--variant small --depth 1")
    if "verify_architecture_alignment.py" in text:
        text += " --variant small --depth 1"
    first = next(t for _, t in STEPS if UPLOAD in t)
    if UPLOAD in text and text != small_model(first):
        text += " --skip_verification"
    return text


def small_model(text: str) -> str:
    return text.replace("hf_llava_vit_large_ln", "hf_llava_vit_small_ln")


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with FakeHub() as running:
        yield running
        assert running.unknown == []


@pytest.fixture(scope="module")
def checkout(trained: Path, weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has: the repository, an environment, two checkpoints."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("llavavit", "model_factory", "verify"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "verify_architecture_alignment.py", folder)
    shutil.copy(trained, folder / "checkpoint.pth")
    averaged = {name: tensor * 0.5 for name, tensor in weights.items()}
    torch.save({"model": weights, "ema": averaged}, folder / "ema.pth")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, program in (("python", sys.executable), ("llavavit-verify", f"{sys.executable} -m verify")):
        (programs / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (programs / name).chmod(0o755)
    (programs / "hf").symlink_to(Path(sys.executable).parent / "hf")
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    return folder


@pytest.fixture(scope="module")
def done(checkout: Path, hub: FakeHub) -> dict[tuple[str, str], subprocess.CompletedProcess[str]]:
    """Every step, run after the other."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
    variables = kept | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.writer,
        "HF_HOME": str(checkout / ".hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(checkout),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    results = {}
    for language, text in STEPS:
        if language == "python":
            program = [sys.executable, "-c", small_model(text)]
        else:
            program = ["bash", "-c", f". .venv/bin/activate\n{small(text)}"]
        results[language, text] = subprocess.run(
            program,
            cwd=checkout,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            stdin=subprocess.DEVNULL,
        )
    return results


def test_there_are_steps():
    assert len([text for language, text in STEPS if language == "sh"]) > 12
    assert len([text for language, text in STEPS if language == "python"]) == 2


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1].strip().splitlines()[0][:100])
def test_step(done, step):
    result = done[step]
    assert result.returncode == 0, f"{result.args}\n{result.stdout}\n{result.stderr}"


def test_cards_name_their_repository_and_branch(done, hub):
    """Also of the folder that was staged by a dry run and uploaded by hand."""
    for repo, branch, named in (("large", "main", ""), ("trial", "trial", 'revision="trial", ')):
        card = hub.files(f"user/llava-vit-{repo}", branch)["README.md"].decode()
        assert f'from_pretrained("user/llava-vit-{repo}", {named}trust_remote_code=True' in card


def test_what_was_published(done, hub, checkout):
    assert set(hub.repositories) == {"user/llava-vit-large", "user/llava-vit-trial"}
    assert hub.repositories["user/llava-vit-trial"].private
    assert hub.files("user/llava-vit-trial", "trial")["config.json"]
    held = hub.files("user/llava-vit-large")
    assert held["model.safetensors"] == (checkout / "staged" / "model.safetensors").read_bytes()


PROGRAMS = ("hf ", "huggingface-cli ", "llavavit-verify ", "make ", "python ", "pip ", "git ")
LIGHTNING = '{k.removeprefix("model."): v for k, v in found["state_dict"].items() if k.startswith("model.")}'
SAVE = 'torch.save(model.state_dict(), "weights.pth")'
TRIED = {
    LIGHTNING: "test_the_model_out_of_a_lightning_checkpoint",
    SAVE: "test_the_weights_out_of_a_whole_model",
    "model.state_dict()": "test_the_weights_out_of_a_whole_model",
    "hf auth login": "test_the_stored_login_is_that_of_the_command",
    "huggingface-cli upload": "test_publishing_tool.py: test_the_staged_folder_uploaded_by_hand, where it is there",
}
"""Code within sentences, and the test that runs it."""
EXEMPT = {
    "ema.copy_to(model.parameters())": "of torch_ema, which is not installed",
    "llavavit-verify --variant all": "takes long; the same with one variant is a step",
    **{f"make {target}": "makes an environment or takes long" for target in ("verify", "test", "mutations", "e2e")},
    "git lfs pull": "needs a repository with large files",
    **{f"make {target}": "takes long" for target in ("publishing", "publishing-tests", "publishing-tests-4")},
}
"""Code within sentences that no test here runs, and why."""


def inline() -> dict[str, str]:
    """Commands and Python within the sentences of the pages, each with a page."""
    found = {}
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`\n]+)`", text):
            if code.startswith(PROGRAMS) or re.search(r"\w\(.*\)", code):
                found[code] = page
    return found


def test_code_within_sentences_is_run_or_exempt():
    lines = {text for language, text in STEPS if language == "sh"}
    found = inline()
    for code, page in found.items():
        assert code in TRIED or code in EXEMPT or code in lines, f"{page}: nobody runs {code}"
    assert set(TRIED) | set(EXEMPT) <= set(found), "what no page says any more"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for code in found:
        assert not code.startswith("make ") or f"\n{code[5:]}: " in makefile, f"the Makefile has no {code[5:]}"
    for where in TRIED.values():
        file, _, name = where.partition(",")[0].rpartition(": ")
        assert f"def {name}(" in (Path(__file__).parent / (file or Path(__file__).name)).read_text(encoding="utf-8")


def test_the_model_out_of_a_lightning_checkpoint(weights, tmp_path):
    """Which has a loss beside the model: that stops the tool, and what the page says helps."""
    held = {f"model.{name}": tensor for name, tensor in weights.items()} | {"loss.weight": torch.ones(2)}
    torch.save({"state_dict": held, "epoch": 1}, tmp_path / "lightning.ckpt")
    with pytest.raises(PublishError, match=r"loss\.weight"):
        models.check(checkpoint.load(tmp_path / "lightning.ckpt"), NAME)
    found = torch.load(tmp_path / "lightning.ckpt", weights_only=True)
    torch.save(eval(LIGHTNING, {"found": found}), tmp_path / "weights.pth")
    saved = checkpoint.load(tmp_path / "weights.pth")
    models.check(saved, NAME)
    assert all(torch.equal(saved.tensors[name], tensor) for name, tensor in weights.items())


def test_the_weights_out_of_a_whole_model(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = models.trained(NAME, weights, torch.float32)
    torch.save(model, "model.pth")
    with pytest.raises(PublishError, match=re.escape("torch.save(model.state_dict(), ...)")):
        checkpoint.load(tmp_path / "model.pth")
    exec(SAVE, {"torch": torch, "model": model})
    models.check(checkpoint.load(tmp_path / "weights.pth"), NAME)


def test_the_stored_login_is_that_of_the_command(fake, command, publish, folder):
    """It asks for the token where none is given."""
    done = command(Path(sys.executable).parent / "hf", "auth", "login", "--token", fake.writer, HF_TOKEN="")
    assert done.returncode == 0, done.stderr
    assert publish(folder, HF_TOKEN="").code == 0
    assert fake.files("user/model")["config.json"]


def test_the_options_table_is_the_tools():
    text = (ROOT / "model_factory" / "README_UPLOAD_TO_HF.md").read_text(encoding="utf-8")
    written = dict(re.findall(r"^\| `(--\w+)` \| (.*?) \|", text, re.MULTILINE))
    tool = importlib.import_module("model_factory.upload_llava_vit_to_hf")
    arguments = tool.app.default_command and tool.app.assemble_argument_collection()
    assert set(written) == {argument.name for argument in arguments}
    for argument in arguments:
        default = argument.field_info.default
        if argument.required:
            assert written[argument.name] == "required"
        elif default is False:
            assert written[argument.name] == "off"
        elif default is not None:
            assert written[argument.name] == f"`{default}`"


def test_messages_that_the_pages_quote_are_the_tools():
    """What a page says that the tool says is in its sources."""
    sources = " ".join(
        re.sub(r'"\s*\n\s*f?"', "", file.read_text(encoding="utf-8"))
        for file in [*(ROOT / "model_factory" / "publishing").glob("*.py"), ROOT / UPLOAD]
    )
    english = (
        (ROOT / "model_factory/README_UPLOAD_TO_HF.md")
        .read_text(encoding="utf-8")
        .partition("## When it stops")[2]
        .partition("## ")[0]
    )
    quoted = [row.split(" | ")[0].strip("| ") for row in english.splitlines() if row.startswith("| ")][1:]
    chinese = (ROOT / "model_factory/QUICK_START_CN.md").read_text(encoding="utf-8")
    quoted += re.findall(r"^\| `(.+?)` \|", chinese, re.MULTILINE)
    assert len(quoted) > 15
    for words in (part.strip(" …`") for line in quoted for part in line.split(", the ")):
        assert words.replace("float32, bfloat16", "{mixed}") in sources, words


@pytest.mark.parametrize("page", ["MANUAL_UPLOAD_GUIDE.md", "MANUAL_UPLOAD_GUIDE_CN.md"])
def test_messages_that_the_guides_quote_are_of_transformers(page):
    """What a guide says that a load prints is in the library that prints it."""
    text = (ROOT / "model_factory" / page).read_text(encoding="utf-8")
    quoted = [
        words for row in re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE) for words in re.findall("`(.+?)`", row)
    ]
    assert len(quoted) > 3
    library = Path(transformers.__file__).parent
    sources = " ".join(
        (library / file).read_text(encoding="utf-8")
        for file in ("utils/hub.py", "dynamic_module_utils.py", "models/auto/configuration_auto.py")
    )
    for words in quoted:
        for part in re.split("modeling_llava_vit.py|llava_vit", words):
            assert part.strip() in sources, words
