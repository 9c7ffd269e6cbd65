"""Runs of the real verifier on real models, on copies of the repository's two implementations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as etree

import pytest
import yaml
from second_pass import Localise

from verify import spec
from verify.report import Divergence, Finding, Report
from verify.run import Options, run
from verify.side import Servers
from verify.sinks import json_file, junit, markdown

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


TINY = """
import os, signal, sys, time
import torch
from torch import nn
{head}

class Config:
    def __init__(self, width=4):
        self.width = width

class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        {init}
        self.linear = nn.Linear(config.width, config.width)
        self.register_buffer("table", torch.arange(float(config.width)))

    def forward(self, x):
        y = self.linear(x) + self.table
        if len(x) == 3:  # the case "trap"
            {trap}
        return {{"y": y}}
"""

OUTLINE = ("configuration", "structure", "buffers")
"""Checks that need no forward pass, beside which tests of what sides do wrong run `forward`."""

SPEC = {
    "version": 1,
    "reference": {"path": "left", "config": "model:Config", "model": "model:Model"},
    "candidate": {"path": "right", "config": "model:Config", "model": "model:Model"},
    "variants": {"tiny": {"width": 4}},
    "cases": {name: {"inputs": {"x": {"shape": [n, "width"]}}} for name, n in (("one", 2), ("trap", 3), ("after", 5))},
    "checks": [*OUTLINE, "forward"],
}


@dataclass
class Duo:
    """Two tiny models in a folder, equal until one is written anew, and the ways to compare them."""

    folder: Path
    servers: Servers

    def write(self, side: str, *, head: str = "", init: str = "pass", trap: str = "pass") -> None:
        """head: code of the module; init: of the constructor; trap: of forward, in the case "trap" alone."""
        (self.folder / side).mkdir(exist_ok=True)
        init, trap = init.replace("\n", "\n" + " " * 8), trap.replace("\n", "\n" + " " * 12)
        (self.folder / side / "model.py").write_text(TINY.format(head=head, init=init, trap=trap))

    def spec(self, **changes: Any) -> Path:
        """Writes the spec with some keys replaced."""
        file = self.folder / "spec.yml"
        file.write_text(yaml.safe_dump({**SPEC, **changes}, sort_keys=False))
        return file

    def quick_spec(self, **sizes: int) -> Path:
        """The spec in float32, which spares a new process some seconds of imports. sizes: rows by case."""
        rows = sizes or {"one": 2, "trap": 3, "after": 5}
        cases = {k: {"inputs": {"x": {"shape": [n, "width"]}}, "arithmetic": "fp32"} for k, n in rows.items()}
        return self.spec(cases=cases)

    def run(self, *, servers: Servers | None = None, **options: Any) -> Report:
        """The comparison in this process. The report is one that every sink can write."""
        file = self.folder / "spec.yml"
        loaded = spec.load(file if file.exists() else self.spec())
        report = run(loaded, self.folder, Options(**{"timeout": 60.0, **options}), servers=servers or self.servers)
        json_file.write(report, self.folder / "report.json")
        read = json.loads((self.folder / "report.json").read_text(), parse_constant=pytest.fail)
        assert read["verdict"] == report.verdict
        assert len(read["findings"]) == len(report.findings)
        junit.write(report, self.folder / "report.xml")
        etree.parse(str(self.folder / "report.xml"))
        assert markdown.render(report)
        return report

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """The real command line, started in the folder."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "verify", *args],
            cwd=self.folder,
            env=env,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        )

    def read(self) -> dict[str, Any]:
        """The JSON report that a command wrote."""
        found: dict[str, Any] = json.loads((self.folder / "out.json").read_text())
        return found

    def command(self, *args: str, **options: Any) -> tuple[int, str, dict[str, Any]]:
        """Exit code, all output, and the JSON report of the real command line."""
        if not (self.folder / "spec.yml").exists():
            self.quick_spec()
        started = self.start("--spec", "spec.yml", "--json", "out.json", *args, **options)
        out, err = started.communicate(timeout=200)
        report = self.read() if (self.folder / "out.json").exists() else {}
        return started.returncode, (out or "") + (err or ""), report


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """One warmed interpreter for all the runs of a session."""
    with Servers(("torch", "safetensors.torch", "torch.fx.experimental.symbolic_shapes", "torch._dynamo")) as shared:
        yield shared


@pytest.fixture
def duo(tmp_path: Path, servers: Servers) -> Duo:
    """Two tiny models that are equal."""
    made = Duo(tmp_path, servers)
    made.write("left")
    made.write("right")
    return made


@pytest.fixture
def compared(tmp_path: Path, servers: Servers) -> Callable[..., Report]:
    """compared(reference, candidate): the report on two models `Model(width)`, given as whole modules.

    checks: names, or as in a spec; none means all. cases: in place of the one named "x". Further keys are that case's.
    """

    def run_it(
        reference: str,
        candidate: str,
        *,
        mapping: object = None,
        cases: object = None,
        checks: tuple[str, ...] | dict[str, object] = (),
        **case: object,
    ) -> Report:
        for side, text in (("left", reference), ("right", candidate)):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / "net.py").write_text(text)
        chosen = checks if isinstance(checks, dict) else list(checks)
        data = {
            "version": 1,
            "reference": {"path": "left", "model": "net:Model"},
            "candidate": {"path": "right", "model": "net:Model"},
            "variants": {"tiny": {"width": 16}},
            "cases": cases or {"x": {"inputs": {"x": {"shape": [3, 5, "width"]}}, **case}},
            **({"checks": chosen} if chosen else {}),
            "mapping": mapping or {},
        }
        (tmp_path / "spec.yml").write_text(yaml.safe_dump(data))
        return run(spec.load(tmp_path / "spec.yml"), tmp_path, Options(timeout=90.0), servers=servers)

    return run_it


def groups(report: Report, check: str = "forward") -> dict[str, str]:
    """The verdict of every comparison group of a check."""
    return {g.name: g.verdict.value for c in report.checks for g in c.groups if g.check == check}


@pytest.fixture
def kept() -> Callable[[Report, str], Finding]:
    """Asserts that the case "trap" alone has this verdict and all else is equal. Gives the finding about it."""

    def check(report: Report, verdict: str) -> Finding:
        assert groups(report) == {"one": "equal", "trap": verdict, "after": "equal"}, report.findings
        assert {c.name: c.verdict.value for c in report.checks} == {
            "configuration": "equal", "structure": "equal", "buffers": "equal", "forward": verdict,
        }  # fmt: skip
        assert report.verdict == verdict
        (finding,) = report.findings
        assert (finding.case, finding.verdict) == ("trap", verdict)
        return finding

    return check


@pytest.fixture
def localise(compared, tmp_path) -> Localise:
    """As `compared`: the first divergence, whose place is the one line of the candidate that ends in `# here`."""

    def run_it(reference: str, candidate: str, *, here: bool = True, **case: object) -> Divergence:
        report = compared(reference, candidate, **case)
        assert report.verdict == "different", report.findings
        first = report.first_divergence
        assert first is not None
        if here:
            (line,) = [n for n, text in enumerate(candidate.splitlines(), 1) if text.endswith("# here")]
            assert (first.candidate.file, first.candidate.line) == ("net.py", line), first.message
            marked = [x.text for x in first.excerpts["candidate"] if x.marked]
            assert marked == [candidate.splitlines()[line - 1]]
            finding = next(f for f in report.findings if f.kind == "output-values")
            assert (finding.candidate.file, finding.candidate.line) == ("net.py", line)
        return first

    return run_it
