"""The command line, with the run itself replaced."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
from rich.console import Console
from unit_builders import ROOT, finding_of, full_report, group_of, report_of

from verify import cli
from verify.report import Report, Verdict
from verify.run import Interrupted
from verify.selftest.fingerprint import fingerprint
from verify.spec import SpecError


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Runs the command line in an empty folder. `runs.asked` is what reached the run; `runs.answer` what it gives."""
    monkeypatch.chdir(tmp_path)
    for part in ("llavavit", "model_factory"):
        (tmp_path / part).mkdir()

    class Runs:
        answer: Report | Exception = report_of([], [group_of(Verdict.EQUAL)])
        asked: tuple = ()

        def __call__(self, *arguments):
            return cli.app(list(arguments), exit_on_error=False, print_error=False)

    found = Runs()

    def fake(spec, base, options, progress):
        found.asked = (spec, base, options)
        progress("reference", "step")
        if isinstance(found.answer, Exception):
            raise found.answer
        return found.answer

    monkeypatch.setattr(cli, "run", fake)
    return found


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.EQUAL, 0), (Verdict.DIFFERENT, 1), (Verdict.ERROR, 2)])
@pytest.mark.parametrize("command", [(), ("run",)])
def test_the_verdict_is_the_exit_code(runs, command, verdict, code):
    findings = [] if verdict == Verdict.EQUAL else [finding_of(verdict)]
    runs.answer = report_of(findings, [group_of(verdict)])
    assert runs(*command) == code


def test_every_option_arrives(runs, tmp_path):
    arguments = "--variant a --variant b --depth 2 --check forward --case c --case d --device cpu --seed 7 --timeout 3"
    runs(*arguments.split())
    _, base, options = runs.asked
    assert options == cli.Options(
        variants=("a", "b"), depth=2, checks=("forward",), cases=("c", "d"), device="cpu", timeout=3.0, seed=7
    )
    assert base == tmp_path


@pytest.mark.parametrize("seed", [-3, 0, 2**40])
def test_a_seed_is_any_whole_number(runs, seed):
    runs("--seed", str(seed))
    assert runs.asked[2].seed == seed


def test_a_spec_counts_its_paths_from_its_own_folder(runs, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "s.yml").write_text(cli.spec.PRESET.read_text())
    runs("--spec", "sub/s.yml")
    assert runs.asked[1] == tmp_path / "sub"


@pytest.mark.parametrize(
    "wrong",
    [
        *("--depth 0", "--depth 1.5", "--depth 2.0", "--depth 1e3", "--seed x", "--seed 1.5", f"--seed {'9' * 5000}"),
        *("--timeout 0", "--timeout -1", "--timeout nan", "--timeout inf", "--timeout 1e300"),
        *("--device tpu", "--lang fr", "--nope", "extra"),
    ],
)
def test_a_wrong_option_is_refused(runs, wrong):
    with pytest.raises(Exception, match=r".") as error:
        runs(*wrong.split())
    assert type(error.value).__module__.startswith("cyclopts")
    assert runs.asked == ()


def test_the_files_are_written_into_new_folders(runs, tmp_path):
    runs.answer = full_report()
    assert runs("--json", "o/r.json", "--junit", "o/r.xml", "--markdown", "o/r.md", "--lang", "zh") == 1
    assert json.loads((tmp_path / "o/r.json").read_text())["verdict"] == "different"
    assert (tmp_path / "o/r.xml").read_text().startswith("<?xml")
    assert "两个实现不一致" in (tmp_path / "o/r.md").read_text()


def test_a_file_that_cannot_be_written_costs_no_other(runs, tmp_path, capsys):
    (tmp_path / "dir").mkdir()
    assert runs("--json", "dir", "--junit", "r.xml", "--markdown", "dir") == 2
    assert (tmp_path / "r.xml").exists()
    told = " ".join(capsys.readouterr().err.split())
    assert "error: --json dir: Is a directory; the verdict is equal all the same" in told
    assert "--markdown dir" in told


def test_a_bad_spec_is_told_and_is_an_error(runs, capsys):
    assert runs("--spec", "no.yml") == 2
    runs.answer = SpecError("there is no variant [bold]x[/bold] [/]")
    assert runs() == 2
    told = capsys.readouterr()
    assert "no.yml: No such file" in told.err
    assert "[bold]x[/bold] [/]" in told.err
    assert told.out == ""


def test_a_bad_spec_is_a_report_too(runs, tmp_path, capsys):
    runs.answer = SpecError("no variant x")
    assert runs("--json", "r.json") == 2
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "error"
    assert (report["checks"][0]["name"], report["checks"][0]["reason"]) == ("spec", "no variant x")


def test_what_an_interrupted_run_found_is_written(runs, tmp_path, capsys):
    runs.answer = Interrupted(report_of([], [group_of(Verdict.ERROR)]), "interrupted", 130)
    assert runs("--json", "r.json") == 130
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "error"
    assert "interrupted; both sides were ended" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "progress"), [((), True), (("--quiet",), False)])
def test_quiet_has_no_progress(runs, capsys, arguments, progress):
    runs(*arguments)
    told = capsys.readouterr()
    assert ("step" in told.err) == progress
    assert "the two implementations are the same model" in told.out


SELFTEST = {
    "tool_version": "0.1", "seed": 3, "budget": 9, "variant": "small", "depth": 2, "checks": ["forward"], "kinds": [],
    "finished": "2026-01-02T03:04:05+00:00", "packages": {"reference": {"torch": "2.13.0"}}, "code": {}, "seconds": 1.0,
    "cpu_seconds": 1.0, "sites": 99, "faults": [], "rewrites": [],
}  # fmt: skip


@pytest.fixture
def selftest(runs, tmp_path):
    """Writes a self-test's result: two faults caught, one survived, one rewrite; of this code but for some parts."""

    def write(*other: str, statuses=("caught", "stopped", "survived", "unmoved")):
        plain = {"kind": "lost-factor", "place": "a.py:1", "harmless": False, "change": ""}
        faults = [{**plain, "status": status} for status in statuses]
        code = {part: "x" if part in other else digest for part, digest in fingerprint(*cli.loaded(None)).items()}
        rewrites = [{**plain, "harmless": True, "status": "unmoved"}]
        file = tmp_path / "selftest.json"
        file.write_text(json.dumps({**SELFTEST, "faults": faults, "rewrites": rewrites, "code": code}))
        return file

    return write


def test_a_selftests_summary_goes_into_the_report(runs, selftest, tmp_path, capsys):
    assert runs("--selftest", str(selftest()), "--json", "r.json", "--markdown", "r.md") == 0
    told = json.loads((tmp_path / "r.json").read_text())["selftest"]
    assert (told["caught"], told["moved"], told["false_alarms"], told["rewrites"]) == (2, 3, 0, 1)
    assert told["outdated"] == []
    for text in (capsys.readouterr().out.replace("\n", " "), (tmp_path / "r.md").read_text()):
        assert "this gate caught 2 of 3 seeded faults" in text
        assert "other code" not in text


@pytest.mark.parametrize(("lang", "told"), [("en", "nothing is known of this gate"), ("zh", "能力一无所知")])
def test_a_selftest_that_moved_nothing_is_no_praise(runs, selftest, tmp_path, capsys, lang, told):
    file = selftest(statuses=("unmoved", "unreached"))
    assert runs("--selftest", str(file), "--lang", lang, "--markdown", "r.md") == 0
    for text in (capsys.readouterr().out, (tmp_path / "r.md").read_text()):
        assert told.replace(" ", "") in "".join(text.split())
        assert "this gate caught" not in text


@pytest.mark.parametrize(
    ("lang", "told"),
    [("en", "other code than today's (verifier, candidate)"), ("zh", "代码与当前不同（验证器, 候选实现）")],
)
def test_a_selftest_of_other_code_is_said_to_be_one(runs, selftest, tmp_path, capsys, lang, told):
    file = selftest("verifier", "candidate")
    assert runs("--selftest", str(file), "--lang", lang, "--json", "r.json") == 0
    assert told in capsys.readouterr().out.replace("\n", " ")
    (tmp_path / "llavavit" / "model.py").write_text("changed = True\n")
    assert runs("--selftest", str(selftest()), "--json", "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["selftest"]["outdated"] == []
    file = selftest()
    (tmp_path / "llavavit" / "model.py").write_text("changed = 'again'\n")
    assert runs("--selftest", str(file), "--json", "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["selftest"]["outdated"] == ["candidate"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file or directory"),
        ("{}", "not a self-test of this version: tool_version"),
        ("[", "Invalid JSON"),
    ],
)
def test_a_selftest_that_cannot_be_read_is_told_before_the_run(runs, tmp_path, capsys, content, told):
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    assert runs("--selftest", "s.json") == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
    assert runs.asked == ()


@pytest.mark.parametrize(("what", "title"), [("report", "Report"), ("spec", "Spec")])
def test_schemas_are_printed(runs, capsys, what, title):
    assert runs("schema", what) == 0
    assert json.loads(capsys.readouterr().out)["title"] == title


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_the_entry_point_ends_with_the_code(monkeypatch, capsys, error):
    def app(*_, **__):
        if error:
            raise error
        return 1

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == (130 if error else 1)
    assert ("both sides were ended" in capsys.readouterr().err) == bool(error)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("pair.yml", "hint: a spec is named with --spec: llavavit-verify --spec pair.yml"),
        ("run pair.yaml", "hint: a spec is named with --spec: llavavit-verify --spec pair.yaml"),
        ("scheme", "hint: did you mean the command schema?"),
        ("--variant", ""),
    ],
)
def test_a_word_that_no_command_takes_gets_a_hint(monkeypatch, capsys, arguments, told):
    monkeypatch.setattr(sys, "argv", ["llavavit-verify", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert told in shown.err + shown.out
    assert ("hint" in shown.err) == bool(told)


@pytest.mark.parametrize(
    ("lang", "told", "not_told"),
    [
        ("en", "error: there is no llavavit-verify.yml in this folder, and the built-in preset compares llavavit/ and "
               "model_factory/, which are not here; write a spec (docs/spec.md) or name one with --spec FILE", "错误"),
        ("zh", "错误：此文件夹中没有 llavavit-verify.yml；内置预设比较的是 llavavit/ and model_factory/，此处也没有", "error"),
        ("both", "--spec FILE / 错误：", "?"),
    ],
)  # fmt: skip
def test_a_folder_without_spec_and_models_is_told_what_to_do(runs, tmp_path, capsys, lang, told, not_told):
    (tmp_path / "model_factory").rmdir()
    assert runs("--lang", lang) == 2
    assert runs.asked == ()
    shown = capsys.readouterr().err
    assert told in shown
    assert not_told not in shown


COPIES = """
version: 1
reference: {model: "a:B"}
candidate: {model: "a:B"}
cases: {one: {inputs: {x: {shape: [1]}}}}
copies: {"b.py": a.py, "c.py": a.py}
"""


def test_sync_tells_what_it_did_and_when_there_is_nothing_to_do(runs, tmp_path, capsys):
    (tmp_path / "llavavit-verify.yml").write_text(COPIES)
    (tmp_path / "a.py").write_text("1\n2\n")
    (tmp_path / "b.py").write_text("1\n3\n")
    assert runs("sync", "--check") == 1
    told = capsys.readouterr().out
    assert "b.py: differs from line 2 on; the original is a.py" in told
    assert "c.py: is missing; the original is a.py" in told
    assert runs("sync", "--check", "--lang", "zh") == 1
    assert "c.py：不存在；原文件为 a.py" in capsys.readouterr().out
    assert runs("sync") == 0
    assert capsys.readouterr().out.count("written anew") == 2
    for arguments in ((), ("--check",)):
        assert runs("sync", *arguments) == 0
        assert capsys.readouterr().out == "in step: all 2 copies are as their originals\n"
    (tmp_path / "llavavit-verify.yml").write_text(COPIES.replace("copies", "variants").replace("a.py", "{}"))
    assert runs("sync") == 0
    assert capsys.readouterr().out == "the spec declares no copies\n"


def test_explain_tells_its_errors_in_the_language(runs, tmp_path, capsys):
    assert runs("explain", "no.json", "--lang", "zh") == 2
    assert "错误：no.json：没有该文件或目录；运行时加 --json FILE 可写出报告" in capsys.readouterr().err
    (tmp_path / "r.json").write_text("{}")
    assert runs("explain", "r.json") == 2
    assert "not a report of this version: tool_version: Field required" in capsys.readouterr().err


@pytest.mark.parametrize("lang", ["en", "zh", "both"])
@pytest.mark.parametrize("kind", ["of-tomorrow", "first-cut"])  # the second is known, with other details
def test_explain_reads_a_newer_verifiers_report(runs, tmp_path, capsys, lang, kind):
    newer = json.loads(full_report().model_dump_json())
    newer["later"] = newer["findings"][0]["later"] = newer["first_divergence"]["later"] = "unheard of"
    newer["first_divergence"] |= {"kind": kind, "details": {"where": "[0]"}, "message": "they part tomorrow"}
    (tmp_path / "r.json").write_text(json.dumps(newer))
    assert runs("explain", "r.json", "--lang", lang) == 0
    told = capsys.readouterr()
    assert "they part tomorrow" in told.out
    assert "unheard" not in told.out
    assert not told.err


def test_publish_writes_nothing_unasked(tmp_path):
    assert cli.publish(full_report(), {"json": None}, "en", Console(quiet=True)) == 0
    assert not list(tmp_path.iterdir())


def test_help_is_worth_reading():
    done = subprocess.run(
        [sys.executable, "-m", "verify", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    for word in (
        "`llavavit-verify --variant small`".strip("`"),
        "--spec",
        "--variant",
        "--lang",
        "Exit code: 0 equal, 1 different, 2 could not be decided",
        "Also write JUnit XML",
    ):
        assert word in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", [name for name in cli.app if not name.startswith("-")])
def test_the_help_of_each_command_has_examples_that_parse(name, capsys):
    cli.app([name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Examples:" in shown
    found = re.findall(r"llavavit-verify ([^•]+?)(?= •|$| llavavit-verify)", shown.partition("Examples:")[2])
    assert found
    for line in found:
        cli.app.parse_args(shlex.split(line.partition(" >")[0]), exit_on_error=False, print_error=False)


def test_the_help_of_schema_names_what_it_takes(capsys):
    cli.app(["schema", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "(--json)" not in shown
    assert "llavavit-verify schema spec" in shown


@pytest.mark.parametrize("wrong", [["--variant", "bse"], ["--depth", "0"], ["--depth", "-1"], ["--depth", "1.5"]])
def test_the_guides_command_refuses_before_its_banner(wrong):
    script = [sys.executable, str(ROOT / "verify_architecture_alignment.py"), *wrong]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert wrong[1] in done.stderr
    assert ("small" in done.stderr.splitlines()[-1]) == (wrong[0] == "--variant")
