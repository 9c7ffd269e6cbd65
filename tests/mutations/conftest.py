"""Runs the verifier on copies of the two implementations, with sides forked from one warmed interpreter."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mutant import Fault, Rewrite

from verify import spec
from verify.report import Report
from verify.run import Options, run
from verify.side import Servers
from verify.spec import Spec

ROOT = Path(__file__).resolve().parents[2]
OUTLINE = ("configuration", "signature", "structure", "settings", "buffers", "initialisation", "source")
"""Checks that need no forward pass."""

FEW = ("image", "video-2-frames")
"""Cases that every fault runs on beside its own. Each one that differs is explained, which takes longest."""

NEVER = ("configuration", "signature", "structure", "buffers", "source")
"""Checks that must be silent about a fault that only a forward pass shows."""

EVERY = ("image", "visible-per-row")
"""Cases of which each check that runs cases runs one at least. Every rewrite runs on them beside its own."""

PRELOAD = (
    "torch",
    "safetensors.torch",
    "transformers.modeling_utils",
    "transformers.modeling_layers",
    "transformers.activations",
    "transformers.modeling_outputs",
    "transformers.models.auto.auto_factory",
)

SHARE = 8
"""Of how many seeded changes one runs in `make test`, which is to take minutes; `make mutations` runs them all."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects all but a share of the changes: the first of each check, and every eighth from there on."""
    if os.environ.get("MUTATIONS") == "all":
        return
    seen: Counter[str] = Counter()
    left = []
    for item in items:
        change = getattr(item, "callspec", None) and next(
            (v for v in item.callspec.params.values() if isinstance(v, Rewrite)), None
        )
        if change is not None and Path(__file__).parent in item.path.parents:
            kind = change.check if isinstance(change, Fault) else ""
            seen[kind] += 1
            if seen[kind] % SHARE != 1:
                left.append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        dropped = set(left)
        items[:] = [item for item in items if item not in dropped]


# Small enough to run in no time; no two sizes are equal, so that none can stand in for another.
TINY = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_channels": 5,
    "image_size": 24,
    "patch_size": 4,
}


@pytest.fixture(scope="session")
def tiny() -> Spec:
    """The preset, all its cases included, with one tiny variant."""
    return spec.load(spec.PRESET).model_copy(update={"variants": {"tiny": TINY}, "default_variant": "tiny"})


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """One interpreter with the imports paid."""
    with Servers(PRELOAD) as warmed:
        yield warmed


@pytest.fixture
def gate(tmp_path: Path, servers: Servers, tiny: Spec, monkeypatch: pytest.MonkeyPatch) -> Callable[[Rewrite], Report]:
    """Applies a change to a copy of the repository's packages and returns the report of the real run on them.

    Unless the change names its cases, it runs on those that share one model, and on a fault's own; one that `forward`
    must find runs on a few and its own. A rewrite runs every check, and each of them compares something; a fault that
    shows without a forward pass runs those without one, one that another check than `forward` must find runs that
    check, and one that only a forward pass shows runs `forward` beside those that must be silent.
    """

    monkeypatch.setattr("verify.run.MOST_EXPLAINED", 1)  # the first is what is asked about; a search takes longest

    def usual(change: Rewrite) -> tuple[str, ...]:
        if isinstance(change, Fault) and change.check == "forward":
            return tuple(name for name in tiny.cases if name in (*FEW, change.case))
        own = change.case if isinstance(change, Fault) else ""
        return tuple(name for name, case in tiny.cases.items() if not case.config or name == own)

    def chosen(change: Rewrite) -> tuple[str, ...]:
        if not isinstance(change, Fault):
            return ()
        if change.check == "forward":
            return (*NEVER, "forward")
        return OUTLINE if change.check in OUTLINE else (change.check,)

    def run_it(change: Rewrite) -> Report:
        for name in ("llavavit", "model_factory"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        change.apply(tmp_path)
        if not (isinstance(change, Fault) and change.check == "source"):
            for copy, original in tiny.copies.items():
                shutil.copyfile(tmp_path / original, tmp_path / copy)
        cases = change.cases or usual(change)
        if not isinstance(change, Fault):
            cases = tuple(dict.fromkeys((*cases, *EVERY)))
        options = Options(checks=chosen(change), cases=cases, timeout=60.0)
        return run(tiny, tmp_path, options, servers=servers)

    return run_it
