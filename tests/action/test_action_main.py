"""__main__.py: the whole way, with a stand-in for the verifier that behaves in every way one could."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from action_builders import document

from entrypoint import __main__ as entry
from entrypoint import process, verifier

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="runs the verifier with -P, as in the image, which has 3.11"
)

JUNIT = "<testsuites><testsuite name='s'><testcase name='c'/></testsuite></testsuites>"
START = f"""
import json, os, sys, time
arguments = sys.argv[1:]
after = lambda name: arguments[arguments.index(name) + 1]
def write(report, junit={JUNIT!r}):
    open(after('--json'), 'w').write(report if isinstance(report, str) else json.dumps(report))
    open(after('--junit'), 'w').write(junit)
equal, different = json.loads({json.dumps(document("equal"))!r}), json.loads({json.dumps(document())!r})
"""


@pytest.fixture
def act(workspace, tmp_path, monkeypatch, capsys, github):
    """Runs the Action on a stand-in verifier; gives the exit code, outputs, summary and log."""
    code = tmp_path / "code"
    (code / "verify").mkdir(parents=True)
    monkeypatch.setattr(verifier, "CODE", code)
    monkeypatch.setattr(process, "user", lambda: 0)  # pytest's Python and folders are not open to others
    summary, output, event = (tmp_path / n for n in ("summary", "output", "event.json"))
    event.write_text(json.dumps({"pull_request": {"number": 7, "head": {"sha": "b" * 40}}}))

    def run(behaviour: str, arguments: tuple[str, ...] = ("action",), **inputs: str):
        for file in (summary, output):
            file.write_text("")
        (code / "verify" / "__main__.py").write_text(START + behaviour)
        (code / "verify" / "__init__.py").write_text("")
        for name, value in {
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_REPOSITORY": "octo/models",
            "GITHUB_API_URL": github.url,
            "GITHUB_RUN_ID": "77",
            "INPUT_GITHUB-TOKEN": "fake",
            **{f"INPUT_{k.upper().replace('_', '-')}": v for k, v in inputs.items()},
        }.items():
            monkeypatch.setenv(name, value)
        status = entry.main(list(arguments))
        found = dict(re.findall(r"^([\w-]+)<<(?:\S+)\n(.*)\nghadelimiter", output.read_text(), re.MULTILINE))
        return status, found, summary.read_text(), capsys.readouterr().out

    return run


def test_equal(act, workspace, github):
    code, outputs, summary, log = act("write(equal); print('all well'); sys.exit(0)")
    assert code == 0
    assert outputs == {
        "verdict": "equal", "passed": "1", "failed": "0", "skipped": "0", "first-divergence": "",
        "json": "llavavit-verify.json", "junit": "llavavit-verify.xml", "comment-url": github.comments[7][0]["html_url"],
    }  # fmt: skip
    assert "✅" in summary
    assert "all well" in log
    assert json.loads((workspace / "llavavit-verify.json").read_text())["verdict"] == "equal"
    assert ElementTree.parse(workspace / "llavavit-verify.xml").getroot()[0][0].get("name") == "c"
    assert not github.invalid


@pytest.mark.parametrize(("fail_on", "different", "error"), [("different", 1, 2), ("error", 0, 2), ("never", 0, 0)])
def test_what_fails_the_job(act, fail_on, different, error):
    assert act("write(different); sys.exit(1)", fail_on=fail_on)[0] == different
    code, outputs, _, _ = act("sys.exit(2)", fail_on=fail_on)
    assert code == error
    assert outputs["verdict"] == "error"


def test_different(act):
    code, outputs, summary, log = act("write(different); sys.exit(1)")
    assert (code, outputs["first-divergence"], outputs["failed"]) == (1, "llavavit/model.py:12", "1")
    assert "::error title=first divergence" in log
    assert "First divergence" in summary


def test_it_is_told_what_to_do(act):
    _, _, _, log = act("print(arguments); print(os.getcwd()); write(equal)", variants="small base", checks="forward", language="zh",
                       device="cpu", verbose="true", timeout_minutes="8")  # fmt: skip
    for wanted in ("'--variant=small', '--variant=base'", "'--check=forward'", "'--lang', 'zh'", "'--device', 'cpu'", "'--verbose'",
                   "'--timeout', '120'"):  # fmt: skip
        assert wanted in log


BROKEN = {
    "says-nothing": ("sys.exit(0)", "wrote no report"),
    "spec-error": ("print('error: v.yml:3: variantz: unknown key', file=sys.stderr); sys.exit(2)", "wrote no report"),
    "killed": ("os.kill(os.getpid(), 9)", "signal 9"),
    "lies-about-the-code": ("write(equal); sys.exit(1)", "report says equal, but the verifier ended with code 1"),
    "killed-after-writing": ("write(equal); os.kill(os.getpid(), 9)", "ended by signal 9"),
    "forged": ("write(dict(different, verdict='equal')); sys.exit(0)", "contradicts itself"),
    "not-json": ("write('::error::x <script>'); sys.exit(0)", "cannot be read"),
    "link": ("os.symlink('/proc/self/environ', after('--json')); sys.exit(0)", "cannot be read"),
    "pipe": ("os.mkfifo(after('--json')); sys.exit(0)", "no regular file"),
    "folder": ("os.mkdir(after('--json')); sys.exit(0)", "cannot be read"),
    "folder-is-a-link": (
        "d = os.path.dirname(after('--json')); os.rename(d, d + 'x'); os.symlink('/etc', d); sys.exit(0)",
        "report",
    ),
    "hangs": ("time.sleep(100)", "did not finish"),
    "hangs-after-writing": ("write(equal); time.sleep(100)", "did not finish"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_verdict_is_an_error_that_says_why(act, workspace, github, name):
    behaviour, said = BROKEN[name]
    code, outputs, summary, log = act(behaviour, timeout_minutes="0.03" if "hangs" in name else "1")
    assert (code, outputs["verdict"]) == (2, "error")
    assert said in summary
    assert "⚠️" in github.bodies()[0]
    assert "::error" in log
    assert "<script>" not in summary + github.bodies()[0]
    case = ElementTree.parse(workspace / "llavavit-verify.xml").getroot()[0][0][0]
    assert case.tag == "error"
    assert case.get("message")


def test_the_end_of_the_log_is_shown(act):
    _, _, summary, _ = act("print('error: v.yml:3: variantz: unknown key', file=sys.stderr); sys.exit(2)")
    assert "variantz: unknown key" in summary


def test_untrusted_output_is_inside_stop_commands(act):
    _, _, _, log = act("print('::error::pwned'); write(equal)")
    inside = re.search(r"^::stop-commands::(\w+)$(.*)^::\1::$", log, re.MULTILINE | re.DOTALL)
    assert "\\::error::pwned" in inside[2]
    assert len(inside[1]) >= 32


def test_junit_that_cannot_be_used_is_an_error_in_junit_only(act, workspace):
    code, _, _, _ = act("write(equal, '<!DOCTYPE x [<!ENTITY a \"b\">]><testsuites>&a;</testsuites>')")
    assert code == 0
    assert "cannot be used" in (workspace / "llavavit-verify.xml").read_text()


@pytest.mark.parametrize("behaviour", ["write(equal)", "sys.exit(2)", "write(equal, 'no XML')"])
def test_comment_and_junit_say_which_isolation_held(act, workspace, github, behaviour):
    forged = f"<testsuite name='s'><testcase name='c'/><system-out>{'✓ another user'}</system-out></testsuite>"
    _, _, summary, _ = act(behaviour.replace("(equal)", f"(equal, {forged!r})"))
    [told] = re.findall(r"^Isolation of model code: (.*)$", summary, re.MULTILINE)
    assert "✓ no new privileges" in told
    assert "✗ another user" in told, "the stand-in runs as the tests do"
    assert f"\n\n{told}\n\n</details>" in github.bodies()[0]
    [said] = ElementTree.parse(workspace / "llavavit-verify.xml").getroot().iter("system-out")
    assert said.text == f"Isolation of model code: {told}"


def test_the_verdict_never_depends_on_publishing(act, workspace, github):
    github.read_only = True
    code, outputs, summary, log = act("write(different); sys.exit(1)")
    assert (code, outputs["comment-url"]) == (1, "")
    assert log.count("::warning") == 1
    assert "pull-requests" in summary
    (workspace / "llavavit-verify.json").unlink()
    (workspace / "llavavit-verify.json").mkdir()
    code, outputs, summary, log = act("write(equal)")
    assert (code, outputs["json"]) == (0, "")
    assert log.count("::warning") == 1
    assert "could not be written" in summary


def test_a_file_of_the_pull_request_is_not_followed(act, workspace, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (workspace / "llavavit-verify.json").symlink_to(precious)
    act("write(equal)")
    assert precious.read_text() == "precious"


def test_off_is_off(act, github):
    code, outputs, _, log = act(
        "write(different); sys.exit(1)", comment="off", annotations="off", json_path="", junit_path=""
    )
    assert code == 1
    assert (outputs["json"], outputs["junit"], outputs["comment-url"]) == ("", "", "")
    assert "::error" not in log
    assert not github.requests


def test_wrong_input_is_an_error(act):
    code, outputs, _, log = act("write(equal)", device="gpu")
    assert code == 2
    assert not outputs
    assert "::error title=llavavit-verify%3A wrong input::device" in log


def test_publishing_a_report_of_another_run(act, workspace, github):
    (workspace / "llavavit-verify.json").write_text(json.dumps(document()))
    code, outputs, _, _ = act("", arguments=("publish", "llavavit-verify.json"))
    assert code == 0
    assert outputs["comment-url"]
    assert "❌" in github.bodies()[0]
    (workspace / "llavavit-verify.json").write_text("{}")
    assert act("", arguments=("publish", "llavavit-verify.json"))[0] == 2


def test_extra_requirements_are_installed_apart(act, workspace):
    wheel = make_wheel(workspace / "wheels")
    code, _, _, log = act("import extra; print('extra', extra.VALUE); write(equal)", requirements=f"wheels/{wheel}")
    assert code == 0, log
    assert "extra 42" in log
    assert str(Path(sys.prefix)) not in str(workspace)


def test_requirements_that_cannot_be_installed_are_said(act):
    code, _, summary, _ = act("write(equal)", requirements="./nothing-here.whl")
    assert code == 2
    assert "extra requirements could not be installed" in summary


def make_wheel(folder: Path) -> str:
    import zipfile

    folder.mkdir()
    name = "extra-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("extra.py", "VALUE = 42\n")
        info = "extra-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return name
