"""The Action end to end: its image, run by act in consumer repositories and by docker in GitHub's own layout.

`make e2e` runs it. Needs a docker daemon (DOCKER_HOST), the image llavavit-verify:e2e and act.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from fake_github import FakeGitHub  # noqa: E402

DOCKER = os.environ.get("DOCKER", "/usr/bin/docker")
IMAGE = "llavavit-verify:e2e"
RUNNER = "debian:bookworm-slim"
MODEL = "llavavit/modeling_llava_vit.py"
ACT = Path(sys.executable).with_name("act")
SPEC = """\
version: 1
reference:
  config: model_factory.vit_preview_v0_hf:LlavaViTConfig
  model: model_factory.vit_preview_v0_hf:LlavaViTModel
candidate:
  config: llavavit.configuration_llava_vit:LlavaViTConfig
  model: llavavit.modeling_llava_vit:LlavaViTModel
default_variant: tiny
depth_key: num_hidden_layers
variants:
  tiny: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 128, patch_size: 4, image_size: 32}
cases:
  image: {inputs: {pixel_values: {shape: [1, 3, "3*patch_size", "4*patch_size"]}}}
  video: {inputs: {pixel_values: {shape: [1, 3, 2, "3*patch_size", "4*patch_size"]}}}
"""
WORKFLOW = """\
on: [pull_request, push]
jobs:
  verify:
    runs-on: ubuntu-latest
    steps:
      - id: verify
        uses: org/llavavit-verify@v1
        with:
          device: cpu
{inputs}
      - if: always()
        env:
{outputs}
        run: |
          for name in ${{!OUT_@}}; do echo "output $name=${{!name}}"; done
"""
OUTPUTS = ("verdict", "passed", "failed", "skipped", "first-divergence", "json", "junit", "comment-url")
HOSTILE = """
import os as _os, socket as _socket, sys as _sys
def _attack():
    import glob
    tries = {
        "environ of 1": lambda: open("/proc/1/environ").read(),
        "docker socket": lambda: _socket.socket(_socket.AF_UNIX).connect("/var/run/docker.sock"),
        "internet": lambda: _socket.create_connection(("127.0.0.1", 80), 1),
        "git token": lambda: open(_sys.path[0] + "/.git/config").read(),
        "write": lambda: open(_sys.path[0] + "/owned", "w"),
        "write source": lambda: open(_sys.path[0] + "/llavavit/__init__.py", "a"),
        "file commands": lambda: [open(f).read() for f in glob.glob("/github/file_commands/*")][0],
        "event": lambda: open("/github/workflow/event.json").read(),
        "kill": lambda: _os.kill(1, 9),
        "root": lambda: _os.setuid(0),
        "own environ": lambda: next(k for k in _os.environ if any(w in k for w in ("TOKEN", "GITHUB", "ACTIONS", "INPUT"))),
    }
    for name, action in tries.items():
        try:
            action()
            print(f"ATTACK {name} DONE")
        except BaseException as error:
            print(f"ATTACK {name} refused {type(error).__name__}")
    print("::error file=README.md,line=1::pwned by a command")
    print("::set-output name=verdict::pwned", file=_sys.stderr)
    print("harmless ##[error]pwned by a legacy command")
    _sys.stdout.flush()
_attack()
import warnings as _w
"""


@dataclass
class Repository:
    """A consumer's repository on this machine."""

    path: Path
    inputs: dict[str, str] = field(default_factory=lambda: {"comment": "always"})

    def write(self) -> None:
        inputs = "\n".join(f"          {k}: {json.dumps(v)}" for k, v in self.inputs.items())
        outputs = "\n".join(
            f"          OUT_{o.replace('-', '_')}: ${{{{ steps.verify.outputs.{o} }}}}" for o in OUTPUTS
        )
        file = self.path / ".github" / "workflows" / "verify.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(WORKFLOW.format(inputs=inputs, outputs=outputs))

    def break_rotary(self) -> None:
        subprocess.run([sys.executable, str(HERE / "break_rotary.py"), str(self.path / MODEL)], check=True)


@dataclass
class Ran:
    """What a run by act came to."""

    result: str
    annotations: list[tuple[str, dict[str, str], str]]
    outputs: dict[str, str]
    summary: str
    log: str

    def of(self, level: str) -> list[tuple[dict[str, str], str]]:
        return [(p, m) for one, p, m in self.annotations if one == level]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    folder = tmp_path / "models"
    for name in ("llavavit", "model_factory"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "llavavit-verify.yml").write_text(SPEC)
    git = ["git", "-C", str(folder), "-c", "user.name=e2e", "-c", "user.email=e2e@example.org"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch", "topic"], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://github.com/octo/models.git"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "start"], check=True)
    return Repository(folder)


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub(strict=True) as server:
        server.pull(number=7, head_sha="b" * 40, head="octo:topic")
        yield server
        assert server.invalid == []


def payload(kind: str) -> dict[str, object]:
    """An event as GitHub sends it; a fork's is the same with another head repository."""
    if kind == "push":
        return {"ref": "refs/heads/topic"}
    head = "mallory/models" if kind == "fork" else "octo/models"
    return {
        "action": "synchronize",
        "number": 7,
        "pull_request": {
            "number": 7,
            "head": {"ref": "topic", "sha": "b" * 40, "repo": {"full_name": head}},
            "base": {"ref": "main", "repo": {"full_name": "octo/models"}},
        },
    }


@pytest.fixture
def act(tmp_path: Path, github: FakeGitHub) -> Callable[..., Ran]:
    action = tmp_path / "action"
    action.mkdir()
    for name in ("action.yml", "Dockerfile"):
        shutil.copy(ROOT / name, action)

    def run(repository: Repository, kind: str = "pull_request", token: str = "fake") -> Ran:
        repository.write()
        event = tmp_path / "event.json"
        event.write_text(json.dumps(payload(kind)))
        done = subprocess.run(
            [
                str(ACT), "push" if kind == "push" else "pull_request", "-e", str(event), "-P", f"ubuntu-latest={RUNNER}",
                "--pull=false", "--rebuild=false", "--rm", "--bind", "--no-cache-server", "--container-daemon-socket", "-",
                "--local-repository", f"org/llavavit-verify@v1={action}", "-s", f"GITHUB_TOKEN={token}",
                "--env", f"GITHUB_API_URL={github.url}", "--env", "GITHUB_REPOSITORY=octo/models", "--json",
            ],
            cwd=repository.path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        return read(done.stdout + done.stderr)

    return run


def read(log: str) -> Ran:
    """Annotations, summary, outputs and the result, from act's JSON lines."""
    result, summary, annotations, outputs = "", "", [], {}
    for one in log.splitlines():
        try:
            entry = json.loads(one)
        except ValueError:
            continue
        if entry.get("jobResult"):
            result = entry["jobResult"]
        if entry.get("command") in ("error", "warning", "notice"):
            annotations.append((entry["command"], entry.get("kvPairs") or {}, entry.get("arg", "")))
        if entry.get("command") == "summary":
            summary += entry.get("content", "")
        found = re.search(r"output OUT_(\w+)=(.*)", entry.get("msg", ""))
        if found:
            outputs[found[1].replace("_", "-")] = found[2].strip()
    return Ran(result, annotations, outputs, summary, log)


def test_the_fake_tells_what_githubs_description_does_not_allow(github):
    asked = urllib.request.Request(
        f"{github.url}/repos/octo/models/issues/7/comments",
        data=b'{"body": 7}',
        headers={"Authorization": "token fake", "Content-Type": "application/json"},
        method="POST",
    )
    urllib.request.urlopen(asked, timeout=10).close()
    [told] = github.invalid
    assert told.startswith("create: 1 validation error")
    github.invalid.clear()


def test_an_equal_pair(act, repository, github):
    ran = act(repository)
    assert ran.result == "success", ran.log[-6000:]
    assert ran.of("error") == []
    assert ran.of("warning") == []
    assert (ran.outputs["verdict"], ran.outputs["failed"], ran.outputs["first-divergence"]) == ("equal", "0", "")
    assert int(ran.outputs["passed"]) > 3
    assert "the two implementations are the same model" in ran.summary
    assert all(f"✓ {held}" in ran.summary for held in ("another user", "no new privileges", "limits"))
    [body] = github.bodies()
    assert "✅" in body
    assert ran.outputs["comment-url"] == github.comments[7][0]["html_url"]
    suites = ElementTree.parse(repository.path / ran.outputs["junit"]).getroot()
    assert len(list(suites.iter("testcase"))) == int(ran.outputs["passed"]) + int(ran.outputs["skipped"])
    assert json.loads((repository.path / ran.outputs["json"]).read_text())["verdict"] == "equal"


def test_a_broken_rotary_layout_is_found_told_and_turns_green_again(act, repository, github):
    right = (repository.path / MODEL).read_text()
    repository.break_rotary()
    ran = act(repository)
    assert ran.result == "failure", ran.log[-6000:]
    first, message = ran.of("error")[0]
    assert first["file"] == MODEL
    line = (repository.path / MODEL).read_text().splitlines()[int(first["line"]) - 1]
    assert re.match(r"class \w*Attention|def (apply_rotary|_rotate_pairs)|\s+return ", line), line
    assert "measured" in message
    assert ran.outputs["verdict"] == "different"
    assert ran.outputs["first-divergence"] == f"{MODEL}:{first['line']}"
    [body] = github.bodies()
    for wanted in (
        "❌",
        "First divergence",
        f"{MODEL}#L{first['line']}",
        "model_factory/vit_preview_v0_hf.py#L",
        line.strip(),
        "| forward |",
    ):
        assert wanted in body
    assert "xychart" in ran.summary
    failures = ElementTree.parse(repository.path / ran.outputs["junit"]).getroot().iter("failure")
    assert all(f.get("message") for f in failures)
    (repository.path / MODEL).write_text(right)
    assert act(repository).result == "success"
    [body] = github.bodies()
    assert "❌ different → ✅ equal" in body


def test_a_broken_spec_is_told_in_both_languages(act, repository, github):
    repository.inputs["language"] = "both"
    (repository.path / "llavavit-verify.yml").write_text(SPEC.replace("variants:", "variantz:"))
    ran = act(repository)
    assert ran.result == "failure"
    assert ran.outputs["verdict"] == "error"
    [(_, message)] = ran.of("error")
    for said in (message, ran.summary, github.bodies()[0]):
        assert 0 < said.index("did you mean") < said.index("是否指")
    assert "⚠️" in github.bodies()[0]


def test_a_fork_has_a_verdict_without_a_comment(act, repository, github):
    github.read_only = True
    ran = act(repository, "fork")
    assert ran.result == "success"
    assert ran.outputs["verdict"] == "equal"
    [(_, message)] = ran.of("warning")
    assert "two-workflow recipe" in message
    assert "two-workflow recipe" in ran.summary.replace("&#45;", "-")
    assert github.bodies() == []


def test_without_a_token(act, repository, github):
    repository.inputs["github-token"] = ""
    ran = act(repository)
    assert ran.result == "success"
    assert len(ran.of("warning")) == 1
    assert github.requests == []


def test_a_push_has_no_comment_and_no_warning(act, repository, github):
    ran = act(repository, "push")
    assert ran.result == "success"
    assert ran.of("warning") == []
    assert github.requests == []


def test_a_wrong_input(act, repository):
    repository.inputs["fail-on"] = "diffrent"
    ran = act(repository)
    assert ran.result == "failure"
    assert "did you mean `different`" in ran.of("error")[0][1]


def test_hostile_model_code_through_act(act, repository):
    file = repository.path / MODEL
    file.write_text(file.read_text() + HOSTILE)
    ran = act(repository)
    assert not any("pwned" in message for _, _, message in ran.annotations)
    assert ran.outputs["verdict"] in ("equal", "different", "error")
    assert not (repository.path / "owned").exists()


# -- docker alone, as GitHub's runner calls it ----------------------------------------------------------------------


@pytest.fixture
def layout(tmp_path: Path, repository: Repository) -> Path:
    """GitHub's folders: a workspace of another owner, file commands, a home, an event."""
    root = tmp_path / "runner"
    shutil.copytree(repository.path, root / "workspace", symlinks=True)
    for name in ("file_commands", "home", "workflow"):
        (root / name).mkdir()
    for name in ("summary", "output"):
        (root / "file_commands" / name).touch()
    (root / "workspace/.git/config").write_text("[http]\n\textraheader = AUTHORIZATION: basic c2VjcmV0\n")
    (root / "workflow/event.json").write_text(json.dumps(payload("pull_request")))
    subprocess.run(["chown", "-R", "1001:127", str(root)], check=True)
    return root


def as_github_does(
    layout: Path, github: FakeGitHub | None, arguments: tuple[str, ...] = ("action",), **inputs: str
) -> subprocess.CompletedProcess[str]:
    environ = {
        "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/github/workspace", "HOME": "/github/home",
        "GITHUB_EVENT_PATH": "/github/workflow/event.json", "GITHUB_EVENT_NAME": inputs.pop("event", "pull_request"),
        "GITHUB_STEP_SUMMARY": "/github/file_commands/summary", "GITHUB_OUTPUT": "/github/file_commands/output",
        "GITHUB_REPOSITORY": "octo/models", "GITHUB_SHA": "a" * 40, "GITHUB_RUN_ID": "1", "GITHUB_RUN_NUMBER": "1",
        "GITHUB_API_URL": github.url if github else "http://127.0.0.1:9", "ACTIONS_RUNTIME_TOKEN": "hunter2",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2", "INPUT_GITHUB-TOKEN": "fake" if github else "",
        **{f"INPUT_{k.upper().replace('_', '-')}": v for k, v in inputs.items()},
    }  # fmt: skip
    mounts = {name: f"/github/{name}" for name in ("workspace", "file_commands", "home", "workflow")}
    command = [DOCKER, "run", "--rm", "--network", "host", "--workdir", "/github/workspace"]
    command += [part for k, v in environ.items() for part in ("--env", f"{k}={v}")]
    command += [part for k, v in mounts.items() for part in ("--volume", f"{layout / k}:{v}")]
    socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
    command += ["--volume", f"{socket}:/var/run/docker.sock", IMAGE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_githubs_own_layout_with_foreign_ownership(layout, github):
    file = layout / "workspace" / MODEL
    file.write_text(file.read_text() + HOSTILE)
    done = as_github_does(layout, github, verbose="true")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("llavavit-verify.json", "llavavit-verify.xml"):
        made = (layout / "workspace" / name).stat()
        assert (made.st_uid, made.st_gid) == (1001, 127)
    assert not (layout / "workspace" / "owned").exists()
    assert "hunter2" not in done.stdout
    assert not any(line.lstrip().startswith("::") and "pwned" in line for line in done.stdout.splitlines())
    assert "verdict<<" in (layout / "file_commands" / "output").read_text()
    summary = (layout / "file_commands" / "summary").read_text()
    assert "✗" not in summary.rpartition("Isolation")[2].partition("\n")[0], summary
    assert (layout / "workspace" / ".git").stat().st_mode & 0o055
    assert "✅" in github.bodies()[0]


def test_the_comment_of_a_forks_run_is_published_by_a_second_workflow(layout, github):
    github.read_only = True
    assert as_github_does(layout, github).returncode == 0
    assert github.bodies() == []
    run = {"id": 1, "head_sha": "b" * 40, "head_branch": "topic", "head_repository": {"owner": {"login": "octo"}}}
    (layout / "workflow/event.json").write_text(json.dumps({"workflow_run": run}))
    github.read_only = False
    done = as_github_does(layout, github, ("publish", "llavavit-verify.json"), event="workflow_run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✅" in github.bodies()[0]
    (layout / "workspace/llavavit-verify.json").write_text('{"verdict": "equal"}')
    assert as_github_does(layout, github, ("publish", "llavavit-verify.json"), event="workflow_run").returncode == 2


def test_every_attack_of_model_code_is_refused(layout):
    """The attack runs where model code does; its own output comes back through a file that the verifier shows."""
    code = layout / "workspace" / "attack.py"
    code.write_text(HOSTILE)
    program = (
        "from pathlib import Path; from entrypoint import process; import sys\n"
        "with process.scratch() as s, process.closed(Path('/github/workspace')):\n"
        "    r = process.run([sys.executable, '/github/workspace/attack.py'], folder=Path('/github/workspace'), scratch=s,\n"
        "                    timeout=60, show=print)\n"
        "print(r.held)\n"
    )
    socket = os.environ["DOCKER_HOST"].removeprefix("unix://")
    mounts = [part for n in ("workspace", "file_commands", "home", "workflow")
              for part in ("--volume", f"{layout / n}:/github/{n}")]  # fmt: skip
    done = subprocess.run(
        [DOCKER, "run", "--rm", *mounts, "--volume", f"{socket}:/var/run/docker.sock", "--env", "GITHUB_TOKEN=hunter2",
         "--entrypoint", "python3", IMAGE, "-I", "-c", program],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    tried = re.findall(r"^ATTACK (.*) (DONE|refused \w+)$", done.stdout, re.MULTILINE)
    assert len(tried) == 11, done.stdout + done.stderr
    assert [t for t in tried if t[1] == "DONE"] == []
    assert ("internet", "refused PermissionError") in tried
    assert ("docker socket", "refused PermissionError") in tried
    assert ("git token", "refused PermissionError") in tried
    assert "False" not in done.stdout, done.stdout


def test_the_command_line_in_the_image(layout):
    done = subprocess.run(
        [DOCKER, "run", "--rm", "--volume", f"{layout / 'workspace'}:/work", IMAGE, "run", "--device", "cpu", "--json", "out/r.json"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = (layout / "workspace/out/r.json").stat()
    assert (made.st_uid, made.st_gid) == (1001, 127)
    assert "the two implementations are the same model" in done.stdout


def test_the_image_holds_no_compiler_cache_or_test():
    script = (
        "set -e; for f in gcc cc g++ clang nvcc ptxas; do ! command -v $f; done; ! test -e /root/.cache; ! test -e /opt/llavavit-verify/tests;"
        " git config --system safe.directory; python3 -I -c 'import sys, entrypoint.__main__; assert \"torch\" not in sys.modules'"
    )
    done = subprocess.run(
        [DOCKER, "run", "--rm", "--entrypoint", "sh", IMAGE, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
