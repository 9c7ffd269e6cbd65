"""What the documents show is run: the README's pair, the examples in Python, shell completion, the limits of a side."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from lxml import etree

from verify import report
from verify.sinks import json_file

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "verify" / "report.schema.json").read_text(encoding="utf-8"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def verifier(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "verify", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """The README's own pair, each file where its first line says."""
    folder = tmp_path_factory.mktemp("pair")
    for block in blocks(README, "python") + blocks(README, "yaml"):
        file = folder / block.partition("\n")[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def equal(pair) -> dict[str, object]:
    """The run that the README shows, with the reports that it asks for in CI."""
    line = next(b for b in blocks(README, "sh") if "--junit" in b)
    done = verifier(pair, *line.split()[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the two implementations are the same model" in done.stdout
    found: dict[str, object] = json.loads((pair / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def different(pair, equal, tmp_path_factory) -> Path:
    """The same folder after the change that the README tells of, run again with a JSON report."""
    before, after = re.search(r"Change `(.+?)` to\s+`(.+?)`", README).groups()
    folder = tmp_path_factory.mktemp("different")
    shutil.copytree(pair, folder, dirs_exist_ok=True)
    file = folder / "published" / "net.py"
    assert before in file.read_text(encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    done = verifier(folder, "--json", "report.json", "--junit", "report.xml", "--markdown", "report.md")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the two implementations differ" in done.stdout
    return folder


def test_the_readmes_pair_is_equal(equal):
    assert equal["verdict"] == "equal"
    jsonschema.validate(equal, SCHEMA)


def test_the_environment_is_as_documented(equal):
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    table = page.partition("### Environment\n")[2].partition("\n### ")[0]
    for side in ("reference", "candidate"):
        assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(equal["environment"][side])


def test_a_report_can_be_explained_in_each_language(different):
    for language, told in (
        ("en", "data flow into it"),
        ("zh", "数据流（由近及远"),
        ("both", "nearest first, with the shapes"),
    ):
        done = verifier(different, "explain", "report.json", "--lang", language)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
        assert "published/net.py:" in done.stdout


ENGLISH = re.compile(r"\b(the|of|is|are|and|not|no|have|has|differ|error|more|done|by|with)\b")


def test_chinese_output_is_chinese(pair, different):
    """On an equal and on a broken pair; names, figures and lines of source stay as they are."""
    for folder in (pair, different):
        done = verifier(folder, "--lang", "zh", "--markdown", "zh.md", "--check", "forward", "--check", "roundtrip",
                        "--check", "backends", "--check", "source", "--check", "structure")  # fmt: skip
        texts = [done.stdout, done.stderr, (folder / "zh.md").read_text(encoding="utf-8")]
        if folder == different:
            texts.append(verifier(folder, "explain", "report.json", "--lang", "zh").stdout)
        for text in texts:
            assert [line for line in text.splitlines() if ENGLISH.search(line)] == []
            assert re.search(r"[\u4e00-\u9fff]", text)


def test_the_readmes_change_is_found_and_placed(different):
    found = json.loads((different / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMA)
    assert found["first_divergence"]["subject"] == "act"
    place = found["first_divergence"]["candidate"]
    assert (place["file"], place["path"]) == ("net.py", "published/net.py")
    assert (different / place["path"]).is_file()
    assert place["path"] in found["first_divergence"]["message"]


def test_python_examples_of_the_report_run(different, monkeypatch, capsys):
    monkeypatch.chdir(different)
    names: dict[str, object] = {}
    for block in blocks((ROOT / "docs" / "report.md").read_text(encoding="utf-8"), "python"):
        exec(block, names)
    verdict, first, *_ = capsys.readouterr().out.splitlines()
    assert verdict == "different"
    assert first.startswith("published/net.py:")
    assert names["schema"] == SCHEMA


def test_junit_is_as_documented(different):
    suites = {s.get("name"): s for s in etree.parse(different / "report.xml").getroot()}
    assert {"llavavit-verify.configuration", "llavavit-verify.forward"} <= set(suites)
    (case,) = suites["llavavit-verify.forward"]
    assert case.get("name") == "default/batch"
    assert case.get("file") == "published/net.py"
    assert case.find("failure") is not None
    assert suites["llavavit-verify.configuration"][0].find("skipped") is not None


def test_a_figure_that_is_not_finite_keeps_to_the_schema():
    """An output of zeros in the reference makes the relative difference infinite."""
    infinite = float("inf")
    group = report.Group(
        check="forward",
        variant="v",
        name="n",
        verdict=report.Verdict.DIFFERENT,
        compared=1,
        measured=infinite,
        allowed=float("nan"),
    )
    whole = report.Report(
        tool_version="0",
        verdict=report.Verdict.DIFFERENT,
        seed=0,
        variants=["v"],
        sides={},
        seconds=0.0,
        checks=[
            report.CheckResult(
                name="forward", verdict=report.Verdict.DIFFERENT, compared=1, seconds=0.0, groups=[group]
            )
        ],
        findings=[],
        first_divergence=report.Divergence(
            check="forward",
            variant="v",
            case="n",
            subject="",
            confidence="module",
            message="",
            details=dict.fromkeys(("candidate_path", "candidate_class", "reference_path", "reference_class"), ""),
            measured=infinite,
            allowed=0.0,
        ),
        skipped=[],
        environment={},
        facts={},
    )
    text = json_file.render(whole)
    jsonschema.validate(json.loads(text), SCHEMA)
    assert report.Report.model_validate_json(text).checks[0].groups[0].measured == infinite


# --- shell completion -------------------------------------------------------------------------------------------------

COMPLETION = {
    "bash": ".local/share/bash-completion/completions/llavavit-verify",
    "zsh": ".zsh/completions/_cyclopts_llavavit-verify",
    "fish": ".config/fish/completions/llavavit-verify.fish",
}


@pytest.mark.parametrize("shell", COMPLETION)
def test_completion_installs(shell, tmp_path):
    assert f"llavavit-verify --install-completion --shell {shell}" in README
    home = tmp_path / "home"
    home.mkdir()
    away = {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "", "ZDOTDIR": "", "SHELL": f"/bin/{shell}"}
    done = verifier(tmp_path, "--install-completion", "--shell", shell, **away)
    assert done.returncode == 0, done.stdout + done.stderr
    script = home / COMPLETION[shell]
    text = script.read_text(encoding="utf-8")
    for word in ("schema", "variant", "junit", "markdown", "cuda", "both"):
        assert word in text
    if shell != "fish":
        assert (home / f".{shell}rc").exists()
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(script)], check=True, timeout=60)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_completion_completes_in_bash(tmp_path):
    verifier(tmp_path, "--install-completion", "--shell", "bash", HOME=str(tmp_path))
    script = f"""
    source {tmp_path / COMPLETION["bash"]}
    COMP_WORDS=(llavavit-verify "$@"); COMP_CWORD=$#
    _llavavit_verify
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """

    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.split()

    assert complete("--va") == ["--variant"]
    assert "run" in complete("")
    assert complete("--device", "") == ["auto", "cpu", "cuda"]


# --- what SECURITY.md says of a side ----------------------------------------------------------------------------------

CURIOUS = """
import json
import os

import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        with open("seen.json", "w") as file:
            json.dump({"variables": dict(os.environ), "input": os.read(0, 1).decode()}, file)

    def forward(self, x):
        return self.layer(x)
"""


def test_a_side_sees_few_variables_and_can_write_files(tmp_path):
    for name in ("reference", "candidate"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text(CURIOUS, encoding="utf-8")
    (tmp_path / "llavavit-verify.yml").write_text(
        "version: 1\n"
        "reference: {path: reference, model: net:Net}\n"
        "candidate: {path: candidate, model: net:Net}\n"
        "cases: {one: {inputs: {x: {shape: [2, 4]}}}}\n",
        encoding="utf-8",
    )
    done = verifier(tmp_path, GITHUB_TOKEN="secret-1", HF_TOKEN="secret-2", AWS_SECRET_ACCESS_KEY="secret-3")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("reference", "candidate"):
        seen = json.loads(
            (tmp_path / name / "seen.json").read_text(encoding="utf-8")
        )  # "Files", under what does not hold
        assert "secret-" not in json.dumps(seen)
        assert seen["input"] == ""
        variables = seen["variables"]
        assert variables["HF_HUB_OFFLINE"] == variables["TRANSFORMERS_OFFLINE"] == "1"
        for scratch in (variables["HOME"], variables["TMPDIR"], variables["HF_HOME"]):
            assert not Path(scratch).exists(), "removed after the run"
