"""Disks that are full, files that cannot be written, outputs that nobody reads: the verdict is not lost."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FILES = ["--junit", "out.xml", "--markdown", "out.md"]


def test_a_side_without_room_for_its_outputs_is_an_error_of_that_case(duo, kept):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({}, -1))"
    duo.write("right", trap=limit.format(20))
    report = duo.run(cases=("one", "trap"))
    assert {g.name: g.verdict.value for g in report.checks[-1].groups} == {"one": "equal", "trap": "error"}
    assert "File too large" in report.findings[0].message
    assert report.verdict == "error"


def test_inputs_that_cannot_be_written_cost_their_case_alone(duo):
    duo.quick_spec(small=2, large=100_000)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    code, output, report = duo.command(preexec_fn=limited)
    assert code == 2, output
    assert {c["name"]: c["verdict"] for c in report["checks"]} == {
        "configuration": "equal", "structure": "equal", "buffers": "equal", "forward": "error",
    }  # fmt: skip
    assert {g["name"]: g["verdict"] for g in report["checks"][3]["groups"]} == {"small": "equal", "large": "error"}
    assert "the inputs of this case could not be made" in report["findings"][0]["message"]


@pytest.fixture
def tiny_disk():
    """A folder on a disk of its own with room for nearly nothing."""
    folder = Path(tempfile.mkdtemp())
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        folder.rmdir()
        pytest.skip("mounting needs root; the tests with RLIMIT_FSIZE and /dev/full cover the same code")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_costs_what_did_not_fit(duo, tiny_disk):
    duo.quick_spec(small=2, large=10_000)
    code, output, report = duo.command(*FILES, env={"TMPDIR": str(tiny_disk)})
    assert code == 2
    assert "No space left on device" in output
    verdicts = {g["name"]: g["verdict"] for g in report["checks"][3]["groups"]}
    assert verdicts == {"small": "equal", "large": "error"}
    assert [c["verdict"] for c in report["checks"][:3]] == ["equal"] * 3
    assert not list(tiny_disk.iterdir())


def test_reports_that_cannot_be_written_cost_no_verdict(duo):
    (duo.folder / "taken").write_text("a file where a folder is needed")
    (duo.folder / "folder").mkdir()
    duo.write("right", trap="y = y + 1")
    duo.quick_spec()
    started = duo.start("--spec", "spec.yml", "--json", "/dev/full", "--junit", "taken/out.xml", "--markdown", "folder")
    output, errors = started.communicate(timeout=200)
    assert started.returncode == 2
    assert "error: --json /dev/full: No space left on device; the verdict is different all the same" in errors
    assert "error: --junit taken/out.xml: File exists" in errors or "Not a directory" in errors
    assert "error: --markdown folder: Is a directory" in errors
    assert "the two implementations differ" in output
    assert "Traceback" not in errors


def test_a_report_that_cannot_be_written_costs_no_other(duo):
    duo.write("right", trap="y = y + 1")
    duo.quick_spec()
    started = duo.start("--spec", "spec.yml", "--json", "/proc/nope/out.json", *FILES)
    _, errors = started.communicate(timeout=200)
    assert started.returncode == 2
    assert "error: --json /proc/nope/out.json: " in errors
    assert "differ" in (duo.folder / "out.xml").read_text()
    assert "differ" in (duo.folder / "out.md").read_text()


def test_half_a_report_or_an_earlier_one_is_not_left(duo):
    (duo.folder / "out.json").write_text('{"verdict": "equal"}')

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))

    code, output, report = duo.command(preexec_fn=limited)
    assert code == 2
    assert "--json out.json: File too large" in output
    assert report == {}


def test_a_full_standard_output_costs_no_report(duo):
    duo.write("right", trap="y = y + 1")
    with open("/dev/full", "w") as full:
        code, output, report = duo.command(stdout=full)
    assert code == 2
    assert report["verdict"] == "different"
    assert "could not be shown" in output or "No space left" in output
    assert "Traceback" not in output


def test_full_standard_streams_cost_no_report(duo):
    with open("/dev/full", "w") as full:
        code, _, report = duo.command(stdout=full, stderr=full)
    assert code == 2
    assert report["verdict"] == "equal"


def test_a_reader_that_goes_away_changes_no_verdict(duo):
    duo.write("right", trap="y = y + 1")
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as broken:
        code, output, report = duo.command(stdout=broken)
    assert (code, report["verdict"]) == (1, "different")
    assert "Traceback" not in output


def test_temporary_and_home_folders_that_are_not_there_are_passed_over(duo):
    code, _, report = duo.command(env={"TMPDIR": "/no/such/folder", "HOME": "/no/such/home"})
    assert (code, report["verdict"]) == (0, "equal")
