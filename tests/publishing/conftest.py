# SPDX-License-Identifier: Apache-2.0
"""A Hub on loopback, a small trained checkpoint, and the tool run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
for place in (ROOT, HERE):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from fake_hub import FakeHub  # noqa: E402

NAME = "hf_llava_vit_small_ln"
TOOL = ROOT / "model_factory" / "upload_llava_vit_to_hf.py"


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    """A Hub of one test. Requests that it does not know fail the test: it would then speak less than the client."""
    with FakeHub() as running:
        yield running
        assert running.unknown == []


@pytest.fixture
def variables(fake: FakeHub, tmp_path: Path) -> dict[str, str]:
    """The environment of a user of the fake Hub, logged in with a token that may write."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
    return kept | {
        "HF_ENDPOINT": fake.endpoint,
        "HF_TOKEN": fake.writer,
        "HF_HOME": str(tmp_path / "hf-home"),
        "HF_HUB_DISABLE_XET": "1",  # the fake Hub speaks LFS
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "COLUMNS": "200",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def command(variables: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`command(*words, **variables)`: a program run in an empty folder, its output as text."""

    def run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env={**variables, **more},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture
def tool(command, variables) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`tool(*options, **variables)`: the upload tool, which leaves Xet alone by itself."""
    variables.pop("HF_HUB_DISABLE_XET")
    return lambda *options, **more: command(sys.executable, TOOL, *options, **more)


@pytest.fixture
def publish(command) -> Callable[..., SimpleNamespace]:
    """`publish(folder, *options)`: the Hub's half of the tool alone. Returns what it told, and its code and output."""

    def run(folder: Path, *options: str, repo: str = "user/model", **more: str) -> SimpleNamespace:
        done = command(sys.executable, HERE / "publish_folder.py", folder, repo, *options, **more)
        assert done.stdout, done.stderr
        told = {"error": "", "changed": None, "commit": None, **json.loads(done.stdout.splitlines()[-1])}
        return SimpleNamespace(**told, code=done.returncode, output=done.stdout + done.stderr)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to upload that is small and has large files and small ones."""
    made = tmp_path / "folder"
    made.mkdir()
    (made / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A model\n")
    (made / "config.json").write_text('{"model_type": "llava_vit"}\n')
    for number in (1, 2):
        (made / f"model-0000{number}-of-00002.safetensors").write_bytes(bytes([number]) * 300_000)
    (made / "model.safetensors.index.json").write_text("{}\n")
    return made


@pytest.fixture(scope="session")
def weights() -> dict[str, object]:
    """Every parameter of the small variant, in generic position: no bias of zero, no norm weight of one."""
    import torch

    from model_factory.publishing import models
    from verify.weights import draw

    return {name: torch.from_numpy(draw(7, name, shape)) for name, shape in models.expected(NAME).items()}


@pytest.fixture(scope="session")
def trained(weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as a training script saves it."""
    import torch

    file = tmp_path_factory.mktemp("trained") / "checkpoint.pth"
    torch.save({"model": {f"module.{k}": v for k, v in weights.items()}, "epoch": 12}, file)
    return file


@pytest.fixture(scope="session")
def staged(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint staged in three shards."""
    import torch

    from model_factory.publishing import checkpoint, staging

    plan = staging.Plan(model_name=NAME, source="user/model", dtype=torch.float32, shard="20MB")
    target = tmp_path_factory.mktemp("staged") / "folder"
    staging.stage(checkpoint.load(trained), plan, target)
    return target
