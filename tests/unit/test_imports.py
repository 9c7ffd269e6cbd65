"""Imports point one way. Walks every import, those inside functions and relative ones too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit_builders import ROOT

PACKAGES = ("verify", "llavavit", "model_factory")


def files() -> dict[str, Path]:
    """Every module of the three packages by dotted name."""
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


FILES = files()


def imported(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names that a source imports; `from a import b` is a.b where that is a module, else a."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".") if is_package else module.split(".")[:-1]
            stem = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*stem, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                deeper = f"{origin}.{alias.name}"
                yield deeper if deeper in FILES else origin
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


GRAPH = {name: set(imported(file.read_text(), name, file.name == "__init__.py")) for name, file in FILES.items()}


def under(name: str, *parents: str) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in parents)


def own(name: str) -> set[str]:
    """What a module imports of the three packages."""
    return {i for i in GRAPH[name] if under(i, *PACKAGES)}


SINKS = [n for n in FILES if under(n, "verify.sinks")]
CHECKS = [n for n in FILES if under(n, "verify.checks")]
OBSERVER = [n for n in FILES if under(n, "verify.observer")]
PARENT = [n for n in FILES if under(n, "verify") and n not in OBSERVER]
PUBLISHING = (
    "model_factory.publishing",
    *(n for n in FILES if n.endswith("_to_hf")),
    "model_factory.convert_llava_vit",
)
V = "verify."
ALLOWED = {
    "verify.chinese": [],
    "verify.messages": [V + "chinese"],
    "verify.memory": [],
    "verify.copies": [],
    "verify.edits": [],
    "verify.trace": [],
    "verify.report": [V + "chinese", V + "messages"],
    "verify.tolerance": [],
    "verify.compare": [],
    "verify.weights": [],
    "verify.spec": [],
    "verify.cases": [V + "spec", V + "weights"],
    "verify.processes": [],
    "verify.interrupt": [],
    "verify.answers": [V + "memory", V + "trace"],
    "verify.mapping": [V + "spec"],
    "verify.code": [V + n for n in ("checks.base", "pair", "report", "trace")],
    "verify.idle": [V + n for n in ("checks", "mapping", "report", "spec", "trace")],
    "verify.places": [V + "messages", V + "report"],
    "verify.pair": [V + "side", V + "spec", V + "trace"],
    "verify.scenes": [
        V + n for n in ("cases", "checks", "mapping", "memory", "pair", "report", "side", "spec", "trace")
    ],
    "verify.side": [V + "answers", V + "processes", V + "trace"],
    "verify.divergence": [V + "divergence"],
    "verify.divergence.modules": [V + "checks.base", V + "messages", V + "report"],
    "verify.divergence.layers": [V + "divergence", V + "report"],
    **dict.fromkeys(
        (
            f"{V}divergence.{n}"
            for n in (
                "alignment",
                "attention",
                "backward",
                "blame",
                "branches",
                "choices",
                "constructed",
                "course",
                "given",
                "graph",
                "kept",
                "mending",
                "misplaced",
                "names",
                "operands",
                "others",
                "placing",
                "repair",
                "replay",
                "rounding",
                "search",
                "settings",
                "slips",
                "sources",
                "suspects",
                "syntax",
                "trials",
                "uncalled",
                "verdict",
                "wording",
            )
        ),
        (V + "compare", V + "divergence", V + "edits", V + "trace"),
    ),
    "verify.explain": [V + "explain"],
    "verify.explain.explainer": [
        V + n
        for n in (
            "checks.base",
            "divergence",
            "explain.changes",
            "explain.difference",
            "explain.mending",
            "explain.places",
            "mapping",
            "messages",
            "pair",
            "report",
            "side",
            "tolerance",
            "trace",
        )
    ],
    "verify.explain.mending": [V + n for n in ("divergence", "trace")],
    "verify.explain.changes": [
        V + n
        for n in ("checks.base", "divergence", "explain.elsewhere", "explain.mending", "mapping", "report", "trace")
    ],
    "verify.explain.elsewhere": [V + n for n in ("divergence", "explain.mending", "trace")],
    "verify.explain.difference": [V + "divergence"],
    "verify.explain.places": [V + n for n in ("divergence", "report")],
    "verify.explain.gradients": [
        V + n for n in ("checks.gradients", "divergence", "explain", "mapping", "report", "trace")
    ],
    "verify.explain.training": [V + n for n in ("checks.training", "divergence", "explain", "messages", "report")],
    "verify.explain.roundtrip": [
        V + n
        for n in (
            "checks.base",
            "checks.initialisation",
            "checks.roundtrip",
            "checks.structure",
            "divergence",
            "explain",
            "report",
            "trace",
        )
    ],
    "verify.explain.precision": [V + n for n in ("checks.precision", "divergence", "explain", "report", "trace")],
    "verify.selftest": [],
    **dict.fromkeys(
        (f"{V}selftest.{n}" for n in ("expressions", "statements", "rewrites", "mutant", "modules", "shadow")),
        (V + "edits", V + "selftest"),
    ),
    "verify.selftest.alike": [V + n for n in ("checks", "compare", "report", "spec", "trace")],
    "verify.selftest.fingerprint": [V + n for n in ("pair", "spec", "trace")],
    "verify.selftest.gate": [
        V + n for n in ("checks", "pair", "report", "scenes", "selftest", "side", "spec", "trace")
    ],
    "verify.selftest.result": [V + "report", V + "selftest"],
    "verify.selftest.show": [V + "messages", V + "selftest", V + "sinks.text"],
    "verify.__main__": [V + "cli"],
    "verify": [],
    **dict.fromkeys(SINKS, (V + "report", V + "messages", V + "trace", V + "sinks")),
    **dict.fromkeys(
        CHECKS,
        tuple(
            V + n
            for n in (
                "checks",
                "compare",
                "tolerance",
                "mapping",
                "cases",
                "copies",
                "spec",
                "report",
                "trace",
                "messages",
            )
        ),
    ),
    **dict.fromkeys(OBSERVER, (V + "weights", V + "observer")),
    **dict.fromkeys((V + "observer.server", V + "observer.session"), (V + "weights", V + "processes", V + "observer")),
}


def test_the_walk_sees_every_kind_of_import():
    source = """
import torch, verify.cli as c
from ..weights import draw
from . import faults, nothing
from .faults import describe
def f():
    from verify import spec
    import importlib
    importlib.import_module("transformers.utils")
"""
    assert set(imported(source, "verify.observer.build", False)) == {
        "torch", "verify.cli", "verify.weights", "verify.observer.faults", "verify.observer", "verify.spec",
        "importlib", "transformers.utils",
    }  # fmt: skip
    assert set(imported("from . import spec", "verify", True)) == {"verify.spec"}
    assert len(FILES) > 40
    assert "verify.observer.build" in FILES


@pytest.mark.parametrize("name", sorted(set(ALLOWED)))
def test_a_module_imports_only_what_it_may(name):
    wrong = {i for i in own(name) if i != "verify" and not under(i, *ALLOWED[name])}
    assert not wrong, f"{name} imports {sorted(wrong)}; it may import {ALLOWED[name] or 'nothing'} of this project"


def test_every_module_has_a_rule_and_every_rule_a_module():
    top = {"verify.cli", "verify.run", "verify.selftest.run", "verify.selftest.command"}
    # these may import whatever is not above them
    assert {n for n in FILES if under(n, "verify")} - top == set(ALLOWED)
    assert not [n for n in FILES if n not in top | {"verify.__main__"} and own(n) & top and not under(n, *PUBLISHING)]
    assert not own("verify.run") & {n for n in FILES if under(n, "verify.selftest")}
    assert "verify.cli" not in own("verify.run")
    assert not [i for i in own("verify.run") if under(i, "verify.sinks")]


def test_nobody_imports_the_observer():
    assert [n for n in PARENT if any(under(i, "verify.observer") for i in own(n))] == []
    for name in OBSERVER:
        assert not [i for i in GRAPH[name] if i == "verify" or (i.startswith("verify.") and i not in FILES)]


def test_the_observer_uses_nothing_that_a_sides_python_may_lack():
    known = {"torch", "numpy", "safetensors", "verify"}
    asked = {  # only where a model is one of its own, and where the spec names processors
        "verify.observer.roundtrip": {"transformers"},
        "verify.observer.preprocessing": {"PIL"},
    }
    for name in [*OBSERVER, "verify.weights", "verify.processes"]:
        outside = {i.partition(".")[0] for i in GRAPH[name]} - known - asked.get(name, set())
        outside -= set(sys.stdlib_module_names)
        assert not outside, f"{name} imports {outside}"


def test_the_parents_sources_import_no_model_library():
    heavy = {"torch", "transformers", "huggingface_hub", "llavavit", "model_factory"}
    assert {n for n in PARENT if heavy & {i.partition(".")[0] for i in GRAPH[n]}} == set()


@pytest.mark.parametrize(
    ("package", "others"), [("llavavit", ("model_factory", "verify")), ("model_factory", ("llavavit", "verify"))]
)
def test_the_two_implementations_stand_alone(package, others):
    for name in [n for n in FILES if under(n, package) and not under(n, *PUBLISHING)]:
        assert not [i for i in GRAPH[name] if under(i, *others, *PUBLISHING)], name


def test_publishing_knows_the_verifier_and_nobody_knows_publishing():
    tools = [n for n in FILES if under(n, *PUBLISHING)]
    assert len(tools) > 5
    assert not [n for n in FILES if n not in tools and any(under(i, *PUBLISHING) for i in GRAPH[n])]
    heavy = {"torch", "transformers", "safetensors"}  # an upload that is tried again starts at once
    assert not heavy & {i.partition(".")[0] for i in GRAPH["model_factory.publishing.hub"]}


def test_there_is_no_circle():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in own(name):
                if (
                    other in FILES and other != name and not name.startswith(f"{other}.")
                ):  # a child's package is no circle
                    visit(other, (*path, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


def test_a_fresh_parent_loads_no_torch():
    code = (
        "import sys, verify.cli, verify.run, verify.checks; verify.checks.available(); import verify.sinks.alignment;"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'huggingface_hub')"
        " or m.startswith('verify.observer')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
