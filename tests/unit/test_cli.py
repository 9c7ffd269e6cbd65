"""The command line, with the run itself replaced."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from rich.console import Console
from unit_builders import ROOT, finding_of, full_report, group_of, report_of

from verify import cli
from verify.report import Report, Verdict
from verify.run import Interrupted
from verify.spec import SpecError


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Runs the command line in an empty folder. `runs.asked` is what reached the run; `runs.answer` what it gives."""
    monkeypatch.chdir(tmp_path)

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


@pytest.mark.parametrize(("what", "title"), [("report", "Report"), ("spec", "Spec")])
def test_schemas_are_printed(runs, capsys, what, title):
    assert runs("schema", what) == 0
    assert json.loads(capsys.readouterr().out)["title"] == title


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_the_entry_point_ends_with_the_code(monkeypatch, capsys, error):
    def app():
        if error:
            raise error
        return 1

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == (130 if error else 1)
    assert ("both sides were ended" in capsys.readouterr().err) == bool(error)


def test_publish_writes_nothing_unasked(tmp_path):
    assert cli.publish(full_report(), {"json": None}, "en", Console(quiet=True)) == 0
    assert not list(tmp_path.iterdir())


def test_help_is_worth_reading():
    done = subprocess.run(
        [sys.executable, "-m", "verify", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    for word in (
        "--spec",
        "--variant",
        "--lang",
        "Exit code: 0 equal, 1 different, 2 could not be decided",
        "Also write JUnit XML",
    ):
        assert word in " ".join(done.stdout.split())
