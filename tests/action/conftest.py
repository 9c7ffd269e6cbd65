"""Settings, reports and a fake GitHub for the tests of the Action."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [p for p in (str(ROOT), str(ROOT / "tests" / "e2e")) if p not in sys.path]

from action_builders import document  # noqa: E402
from fake_github import FakeGitHub  # noqa: E402

from entrypoint import process, report  # noqa: E402
from entrypoint.inputs import Event, Settings  # noqa: E402
from entrypoint.outcome import Outcome  # noqa: E402

SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture
def workspace() -> Iterator[Path]:
    """A checkout that another user can reach, unlike pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="llavavit-verify-test-"))
    folder.chmod(0o755)
    (folder / "llavavit").mkdir()
    (folder / "llavavit" / "model.py").write_text("".join(f"line {n}\n" for n in range(1, 31)))
    (folder / "factory").mkdir()
    (folder / "factory" / "model.py").write_text("".join(f"reference {n}\n" for n in range(1, 31)))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(workspace: Path) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        given: dict[str, Any] = {
            "workspace": workspace,
            "repository": "octo/models",
            "sha": "a" * 40,
            "run_id": "77",
            "run_number": 3,
            "workflow": "verify",
            "job": "verify",
            "token": "fake",
            "event": Event(name="pull_request", pull_request=7, head_sha="b" * 40),
        }
        return Settings(**{**given, **changes})

    return make


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    def make(verdict: str = "different", **changes: Any) -> Outcome:
        given = {k: changes.pop(k) for k in ("reason", "tail", "held") if k in changes}
        found = report.parse(json.dumps(document(verdict, **changes)).encode())
        return Outcome(verdict=verdict, report=found, seconds=13.0, **given)

    return make


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        server.pull(number=7, head_sha="b" * 40, head="octo:topic")
        yield server


@pytest.fixture
def isolated(monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether code can be run as another user here: as root, with a Python that others may run."""
    if os.geteuid() == 0 and Path(SYSTEM_PYTHON).exists() and _open_to_all(ROOT):
        return True
    monkeypatch.setattr(process, "user", lambda: 0)
    return False


def _open_to_all(path: Path) -> bool:
    return all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents))


@pytest.fixture
def python() -> str:
    return SYSTEM_PYTHON if Path(SYSTEM_PYTHON).exists() else sys.executable
