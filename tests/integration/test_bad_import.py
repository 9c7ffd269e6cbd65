"""Code that cannot be loaded: files, classes, packages and interpreters that are not there."""

from __future__ import annotations

import shutil
import sys
import time

import pytest
from test_bad_spec import spec_with

from verify.side import Server, Servers, SideError

ROLES = {"reference": "left", "candidate": "right"}
OUTLINE = ("configuration", "structure", "buffers")
VERDICTS = {"configuration": "error", "structure": "error", "buffers": "error", "forward": "error"}


def told(report, role, *texts):
    """Asserts that every check says the same about one side, and that the other side's environment is kept."""
    assert report.verdict == "error"
    assert {c.name: c.verdict.value for c in report.checks} == VERDICTS
    assert report.findings
    for finding in report.findings:
        assert finding.details["side"] == role
        assert all(text in finding.message for text in texts), finding.message
    other = {"reference": "candidate", "candidate": "reference"}[role]
    assert "torch" in report.environment[other]["packages"]


def test_a_missing_file_names_the_key_and_what_is_near(duo):
    spec_with(duo, "candidate", config="modle:Config", model="modle:Model")
    told(duo.run(), "candidate", "modle", "did you mean 'model'?")


def test_a_missing_class_names_the_nearest(duo):
    spec_with(duo, "candidate", model="model:Modle")
    report = duo.run()
    assert {c.name: c.verdict.value for c in report.checks} == {**VERDICTS, "configuration": "equal"}
    assert all("candidate.model: model:Modle" in f.message for f in report.findings)
    assert all("did you mean 'Model'" in f.message for f in report.findings)


def test_an_import_error_shows_the_users_frames_and_the_missing_package(duo):
    duo.write("right", head="import helper")
    (duo.folder / "right" / "helper.py").write_text("import json\nimport no_such_package_at_all\n")
    told(
        duo.run(),
        "candidate",
        "ModuleNotFoundError",
        "(at right/model.py:5 in <module> > right/helper.py:2 in <module>)",
        "the package 'no_such_package_at_all' is not installed",
    )


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ("def broken(:", "SyntaxError: invalid syntax (model.py, line 5) (at right/model.py:5 in <module>)"),
        ("raise RuntimeError('not today')", "RuntimeError: not today (at right/model.py:5 in <module>)"),
        ("sys.exit(0)", "the code called sys.exit(0)"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_import_that_raises_is_an_error_of_its_side(duo, head, text):
    duo.write("right", head=head)
    told(duo.run(), "candidate", text)


def test_an_interpreter_that_is_not_there_is_named_with_its_side(duo):
    spec_with(duo, "candidate", python="/no/such/python3")
    with Servers() as own:
        told(duo.run(servers=own), "candidate", "the candidate side's interpreter /no/such/python3", "No such file")


def test_an_interpreter_that_is_no_python_is_named_with_its_side(duo):
    spec_with(duo, "reference", python="/bin/false")
    told(duo.run(), "reference", "the reference side's interpreter /bin/false", "the observer ended")


def test_two_interpreters_that_are_not_there(duo):
    spec_with(duo, "reference", python="/no/such/python3")
    spec_with(duo, "candidate", python="./venv/python")
    report = duo.run()
    assert report.verdict == "error"
    assert all(f.kind == "fault-both" for f in report.findings)
    for text in ("/no/such/python3", f"{duo.folder}/./venv/python"):
        assert all(text in f.message.replace("/venv", "/./venv").replace("/././", "/./") for f in report.findings)


def test_an_interpreter_without_torch_names_the_package(duo):
    bare = duo.folder / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    spec_with(duo, "candidate", python="./bare")
    told(duo.run(), "candidate", "the candidate side's interpreter", "the package 'torch' is not installed")


def test_the_command_line_still_writes_every_report_when_a_side_cannot_start(duo):
    spec_with(duo, "candidate", python="/no/such/python3")
    code, output, report = duo.command("--junit", "out.xml", "--markdown", "out.md")
    assert code == 2
    assert "/no/such/python3" in output
    assert report["verdict"] == "error"
    assert report["environment"]["reference"]["packages"]["torch"]
    assert "/no/such/python3" in report["environment"]["candidate"]["fault"]
    for name in ("out.xml", "out.md"):
        assert "candidate" in (duo.folder / name).read_text()


def test_a_model_compared_with_itself_is_an_error_and_a_note_where_the_spec_says_so(duo):
    shutil.rmtree(duo.folder / "right")
    (duo.folder / "right").symlink_to("left")
    report = duo.run()
    assert report.verdict == "equal"  # one folder by two names is still one path
    (note,) = report.findings
    assert (note.kind, note.verdict, note.check) == ("same-code", "note", "run")


def test_a_side_whose_model_comes_from_the_other_sides_folder_is_an_error(duo, monkeypatch):
    (duo.folder / "right" / "model.py").unlink()
    monkeypatch.setenv("PYTHONPATH", str(duo.folder / "left"))
    with Servers() as own:
        report = duo.run(servers=own, checks=OUTLINE)
    assert report.verdict == "error"
    assert {c.name: c.verdict.value for c in report.checks} == {**dict.fromkeys(OUTLINE, "equal"), "run": "error"}
    errors = {f.kind: f for f in report.findings if f.verdict == "error"}
    assert set(errors) == {"same-code"}
    assert str(duo.folder / "left" / "model.py") in errors["same-code"].message
    assert {f.subject for f in report.findings if f.kind == "code-outside"} == {"candidate.config", "candidate.model"}


def test_one_factory_that_makes_two_classes_is_no_model_compared_with_itself(duo, monkeypatch):
    common = duo.folder / "common"
    common.mkdir()
    (common / "maker.py").write_text("def make(config):\n    import model\n    return model.Model(config)\n")
    monkeypatch.setenv("PYTHONPATH", str(common))
    sides = {s: {"path": p, "config": "model:Config", "factory": "maker:make"} for s, p in ROLES.items()}
    duo.spec(**sides, checks=["structure"])
    with Servers() as own:
        report = duo.run(servers=own)
    assert report.verdict == "equal"
    assert {(f.kind, f.subject) for f in report.findings} == {("code-outside", f"{s}.factory") for s in ROLES}


def test_an_installed_module_that_hides_the_sides_own_is_an_error(duo):
    duo.spec(candidate={"path": "right", "config": "model:Config", "factory": "json.decoder:JSONDecoder"})
    (duo.folder / "right" / "json").mkdir()
    (duo.folder / "right" / "json" / "decoder.py").write_text("")
    report = duo.run(checks=("structure",))
    assert {c.name: c.verdict.value for c in report.checks}["run"] == "error"
    (found,) = [f for f in report.findings if f.kind == "code-shadowed"]
    assert (found.subject, found.details["target"]) == ("candidate.factory", "json.decoder:JSONDecoder")


def test_the_files_that_were_loaded_are_in_the_report(duo):
    report = duo.run(checks=("structure",))
    files = {"config": "model.py", "model": "model.py"}
    assert {role: side["files"] for role, side in report.environment.items()} == {
        "reference": files,
        "candidate": files,
    }


def test_one_that_waits_for_a_server_can_be_told_to_stop(tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    server = Server(str(slow), (), str(tmp_path))
    started = time.monotonic()
    with pytest.raises(SideError, match=r"was not ready in 0 s"):
        server.wait_ready(0.2)
    with pytest.raises(SideError, match="was stopped"):
        server.wait_ready(given_up=lambda: True)
    server.close()
    assert time.monotonic() - started < 10
