"""The self-test on small pairs: what it seeds shows, what it says is so."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_renamed_pair import CANDIDATE, REFERENCE, SPEC

from verify import processes, spec
from verify.selftest.gate import NotEqual
from verify.selftest.result import Result, Seeded
from verify.selftest.run import KINDS, Options, selftest
from verify.spec import SpecError

CHECKS = [
    "configuration",
    "signature",
    "structure",
    "settings",
    "buffers",
    "initialisation",
    "forward",
    "gradients",
    "training",
    "precision",
]


@pytest.fixture
def renamed(tmp_path: Path):
    """Writes the renamed pair and runs the self-test on it."""

    def run_it(candidate: str = CANDIDATE, checks: list[str] | None = None, more: Any = None, **options: Any) -> Result:
        (tmp_path / "reference.py").write_text(REFERENCE)
        (tmp_path / "candidate.py").write_text(candidate)
        file = tmp_path / "spec.yml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(SPEC), "checks": checks or CHECKS, **(more or {})}))
        return selftest(spec.load(file), tmp_path, Options(**{"budget": 40, "timeout": 60.0, **options}))

    return run_it


def told(faults: list[Seeded]) -> list[tuple[str, str, str, str, str]]:
    return [(f.kind, f.place, f.change, f.status, f.by) for f in faults]


def test_a_mapped_pair_is_measured_and_twice_the_same(renamed):
    first = renamed(seed=3, budget=30)
    assert len(first.run) == 30
    assert len({f.kind for f in first.run}) >= 25
    assert not first.false_alarms
    assert not [f for f in first.faults if f.status == "survived"], [f for f in first.faults if f.status == "survived"]
    assert len(first.caught) >= 20
    assert all(f.change and f.place for f in first.faults)
    again = told(renamed(seed=3, budget=6, jobs=1).faults)
    assert again == told(first.faults)[: len(again)]


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("modules-swapped", ""),
        ("parameter-detached", "gradients"),
        ("output-gradient-halved", "gradients"),
        ("parameter-one-value", "forward"),
        ("output-rows-rolled", "forward"),
        ("buffer-hidden", "forward"),
        ("buffer-persistence", "structure"),
        ("parameter-frozen-live", "structure"),
        ("setting-changed", ""),
        ("input-coarse", "precision"),
    ],
)
def test_a_kind_of_fault_of_live_modules_is_caught_by_its_check(renamed, kind, by):
    result = renamed(kinds=(kind,), budget=2)
    if kind == "modules-swapped":  # the renamed candidate has one fused projection
        assert not result.faults
        assert result.exit_code == 2
        return
    assert result.run
    assert {f.status for f in result.run} == {"caught"}, result.run
    if by:
        assert {f.by for f in result.run} == {by}


def test_without_the_check_that_sees_it_a_fault_survives_and_is_told(renamed):
    blind = renamed(kinds=("output-gradient-halved", "parameter-detached"), budget=3, checks=["forward"])
    assert {f.status for f in blind.run} == {"unmoved"}


def test_what_moves_within_a_wide_tolerance_survives_and_is_told_with_how_far(renamed):
    wide = {"tolerance": {"buffer_ulps": 10**9}}
    result = renamed(kinds=("buffer-scaled",), budget=1, checks=["structure", "buffers"], more=wide)
    (fault,) = result.run
    assert fault.status == "survived"
    assert "2 values moved, most by 1.0e-03" in fault.moved
    assert result.exit_code == 1


def test_lines_that_no_case_runs_are_told_and_not_run(renamed):
    dead = CANDIDATE.replace(
        "        q, k, v =", "        if x.shape[0] == 77:\n            x = x * 2\n        q, k, v =", 1
    )
    result = renamed(dead, kinds=("lost-factor",), budget=20)
    unreached = [f for f in result.faults if f.status == "unreached"]
    assert any("x * 2" in f.change for f in unreached)
    assert not any("x * 2" in f.change for f in result.run)


def test_a_pair_that_differs_is_refused(renamed):
    with pytest.raises(NotEqual, match="forward plain: 2 of 2 outputs differ"):
        renamed(CANDIDATE.replace("q, k, v = self.qkv", "k, q, v = self.qkv"))


def test_unknown_kinds_and_checks_are_refused_with_the_nearest(renamed):
    with pytest.raises(SpecError, match="did you mean 'lost-factor'"):
        renamed(kinds=("lost-facto",))
    with pytest.raises(SpecError, match="another check than source"):
        renamed(checks=["source"])


def test_there_are_at_least_forty_kinds():
    assert len(set(KINDS)) == len(KINDS) >= 80


def test_the_command_writes_json_and_exits_by_what_it_found(duo):
    duo.quick_spec()
    code, output = _command(duo, "--budget", "6", "--seed", "1")
    written = json.loads((duo.folder / "out.json").read_text())
    assert written["schema_version"] == 1
    assert set(written["code"]) == {"verifier", "spec", "reference", "candidate"}
    assert written["packages"]["candidate"]["torch"]
    result = Result.model_validate(written)
    assert code == result.exit_code
    assert len(result.run) == 6
    assert "harmless rewrites" in output
    duo.write("right", trap="y = y + 1")
    code, output = _command(duo, "--budget", "1")
    assert code == 2
    assert "error: forward trap" in output


def test_an_interrupt_ends_all_that_runs(duo):
    duo.quick_spec()
    started = duo.start("selftest", "--spec", "spec.yml", "--budget", "500")
    assert started.stderr is not None
    for line in started.stderr:
        if re.search(r" \d+ of \d+ ", line):
            break
    below = processes.below(started.pid)
    assert below
    os.kill(started.pid, signal.SIGINT)
    assert started.wait(30) == 130
    ended = time.monotonic() + 10
    while (left := [p for p in below if Path(f"/proc/{p}").exists()]) and time.monotonic() < ended:
        time.sleep(0.1)
    assert not left


def _command(duo, *options: str) -> tuple[int, str]:
    started = duo.start("selftest", "--spec", "spec.yml", "--json", "out.json", "--quiet", *options)
    out, err = started.communicate(timeout=300)
    return started.returncode, out + err
