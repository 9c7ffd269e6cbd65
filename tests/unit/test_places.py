"""Places: what a side tells from its own folder on, as one opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from unit_builders import finding_of

from verify.messages import say
from verify.places import Places
from verify.report import Divergence, Location, Verdict


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """training/net.py and published/net.py; the working folder is theirs."""
    for side in ("training", "published"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "net.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def places(folder) -> Places:
    return Places(base=folder, folders={"reference": "training", "candidate": "./published"})


@pytest.mark.parametrize(
    ("role", "file", "path"),
    [
        ("reference", "net.py", "training/net.py"),
        ("candidate", "net.py", "published/net.py"),
        ("candidate", "sub/../net.py", ""),
        ("candidate", "../training/net.py", ""),
        ("candidate", "/etc/hostname", ""),
        ("candidate", "torch/nn/modules/linear.py", ""),
        ("candidate", "", ""),
        ("candidate", "net.py\0", ""),
        ("candidate", "n" * 5000, ""),
        ("nobody", "net.py", ""),
    ],
)
def test_only_files_of_a_side_have_a_path(places, role, file, path):
    assert places.path(role, file) == path


def test_a_spec_below_the_working_folder_is_told_with_its_folder(places, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert places.path("reference", "net.py") == f"{folder.name}/training/net.py"
    (folder / "away").mkdir()
    monkeypatch.chdir(folder / "away")
    assert places.path("reference", "net.py") == "training/net.py"
    assert os.path.exists(os.path.join(folder, places.path("reference", "net.py")))


def test_a_finding_is_told_where_to_open_it(places):
    details = {"side": "candidate", "fault": "E: x (at net.py:3 in f > torch/a.py:7 in g > net.py:9 in h)"}
    found = places.finding(
        finding_of(
            verdict=Verdict.ERROR,
            kind="fault-one",
            details=details,
            reference=Location(file="gone.py", line=1),
            candidate=Location(file="net.py", line=9),
        )
    )
    assert found.candidate.at == "published/net.py:9"
    assert found.reference.at == "gone.py:1"
    told = "E: x (at published/net.py:3 in f > torch/a.py:7 in g > published/net.py:9 in h)"
    assert found.details["fault"] == told
    assert found.message == say("fault-one", found.details)
    assert told in found.message


def test_a_path_that_a_check_knows_counts_from_the_specs_folder(places, folder, monkeypatch):
    copy = Location(file="../lib/copy.py", line=1, path="lib/copy.py")
    assert places.finding(finding_of(candidate=copy)).candidate.path == "lib/copy.py"
    monkeypatch.chdir(folder.parent)
    assert places.finding(finding_of(candidate=copy)).candidate.path == f"{folder.name}/lib/copy.py"


def test_a_divergence_and_those_after_it_are_told_where_to_open_them(places):
    place = Location(file="net.py", line=4, name="f")
    details = {
        "candidate_place": "net.py:4 in f", "reference_place": "net.py:5 in f", "operation": "mul", "counterpart": "mul",
        "relative": "1", "reference_made": "mul at net.py:5 in f",
    }  # fmt: skip
    flow = ["  mul([2]) at net.py:4 in f"]
    one = Divergence(
        check="forward", variant="v", case="c", subject="", confidence="aligned", kind="first-differs", message="",
        details=details, reference=place, candidate=place, module=place, callers=[place],
        flow=flow,
    )  # fmt: skip
    found = places.divergence(one.model_copy(update={"others": [one]}))
    for told in (found, found.others[0]):
        assert told.candidate.at == told.module.at == told.callers[0].at == "published/net.py:4"
        assert told.reference.at == "training/net.py:4"
        assert "computed at published/net.py:4 in f" in told.message
        assert "computes it at training/net.py:5 in f" in told.message
        assert told.details["reference_made"] == "mul at training/net.py:5 in f"
        assert told.flow == ["  mul([2]) at published/net.py:4 in f"]
