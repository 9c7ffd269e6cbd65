"""Runs of the real verifier on real models, on copies of the repository's two implementations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from verify import spec
from verify.report import Report
from verify.run import Options, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with copies of llavavit/ and model_factory/, to break at will."""
    for name in ("llavavit", "model_factory"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def gate() -> Callable[..., Report]:
    """Runs the preset on a folder, small variant, two layers."""

    def run_it(folder: Path, **options: object) -> Report:
        chosen = {"variants": ("small",), "depth": 2, "timeout": 120.0, **options}
        return run(spec.load(spec.PRESET), folder, Options(**chosen))  # type: ignore[arg-type]

    return run_it
