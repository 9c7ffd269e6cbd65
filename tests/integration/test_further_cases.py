"""Places in cases beyond those that are searched: inferred where the same module differs first and the line ran."""

from __future__ import annotations

import json

import pytest
from second_pass import source

from verify import spec
from verify.run import Options, run
from verify.sinks import junit

BODY = """
def forward(self, x, turned=False):
    y = self.first(x)
    if turned:
        y = torch.tanh(y)
    else:
        y = torch.sigmoid(y)
    return self.second(y)
"""
CASES = {
    **{f"plain-{n}": {"inputs": {"x": {"shape": [n, 5, 4]}}} for n in range(1, 6)},
    "turned": {"inputs": {"x": {"shape": [2, 5, 4]}}, "arguments": {"turned": True}},
}


@pytest.fixture
def report(tmp_path, servers):
    def run_it(candidate: str, cases=CASES):
        for side, text in (("ref", source(BODY)), ("cand", candidate)):
            (tmp_path / side).mkdir()
            (tmp_path / side / "net.py").write_text(text)
        sides = {
            role: {"path": path, "model": "net:Model", "kwargs": {"width": 4}}
            for role, path in (("reference", "ref"), ("candidate", "cand"))
        }
        whole = {"version": 1, **sides, "cases": cases, "checks": {"forward": {}}}
        (tmp_path / "spec.yml").write_text(json.dumps(whole))
        return run(spec.load(tmp_path / "spec.yml"), tmp_path, Options(timeout=90.0), servers=servers)

    return run_it


def test_a_further_case_gets_the_line_that_ran_there_too(report):
    candidate = source(BODY.replace("torch.sigmoid(y)", "torch.sigmoid(y * 1.25)"))
    found = report(candidate)
    line = next(n for n, text in enumerate(candidate.splitlines(), 1) if "1.25" in text)
    by_case = {f.case: f for f in found.findings}
    assert set(by_case) == {f"plain-{n}" for n in range(1, 6)}
    assert [by_case[f"plain-{n}"].candidate.line for n in range(1, 6)] == [line] * 5
    assert [by_case[f"plain-{n}"].confidence == "inferred" for n in range(1, 6)] == [False] * 3 + [True] * 2
    assert "in plain-1 the same module differs first" in by_case["plain-4"].hint
    assert "推断：在 plain-1 中" in by_case["plain-4"].hint_zh
    assert junit.render(found).count(f'line="{line}"') == 5


def test_a_line_that_did_not_run_is_not_inferred(report):
    """The same module differs first, for another reason."""
    body = BODY.replace("torch.sigmoid(y)", "torch.sigmoid(y * 1.25)").replace("tanh(y)", "tanh(y * 1.25)")
    found = {f.case: f for f in report(source(body)).findings}
    assert found["plain-5"].confidence == "inferred"
    assert found["turned"].confidence == "module"
    assert found["turned"].hint == ""
    assert found["turned"].candidate.name == "Model"
