# SPDX-License-Identifier: Apache-2.0
"""The reference copies follow `llavavit/`: through the pre-commit hook, and through what CI runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COPIES = ("configuration_llava_vit.py", "modeling_llava_vit.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository with an edit in the Hub package that the copy has not got yet."""
    for name in ("llavavit", "model_factory", "verify"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "llavavit" / COPIES[1]).open("a") as file:
        file.write("# edited\n")
    return tmp_path


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable if word.endswith("bin/python") else word for word in shlex.split(line)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def hook() -> dict[str, str]:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    return next(h for h in repository["hooks"] if h["id"] == "copies")


def check() -> str:
    """The line of `make lint` that looks at copies."""
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (line,) = [line.strip() for line in lint[1].splitlines() if "sync" in line]
    return line.replace("$(BIN)", ".venv/bin")


def test_the_hook_mends_copies_and_ci_sees_those_that_differ(checkout):
    before = run(check(), checkout)
    assert before.returncode == 1
    assert f"model_factory/{COPIES[1]}: differs" in before.stdout
    assert run(hook()["entry"], checkout).returncode == 0
    assert all(
        (checkout / "model_factory" / n).read_bytes() == (checkout / "llavavit" / n).read_bytes() for n in COPIES
    )
    assert run(check(), checkout).returncode == 0


def test_the_hook_runs_when_either_place_changes():
    for place in ("llavavit", "model_factory"):
        assert all(re.search(hook()["files"], f"{place}/{name}") for name in COPIES)
    assert not re.search(hook()["files"], "verify/cli.py")


def test_ci_runs_it():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^test:.*\blint\b", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "make test" in (ROOT / ".ci" / "run").read_text()
