"""inputs.py: what the runner gives becomes Settings, or every wrong input is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entrypoint import inputs
from entrypoint.inputs import InputError


@pytest.fixture
def environ(workspace: Path) -> dict[str, str]:
    return {"GITHUB_WORKSPACE": str(workspace), "GITHUB_REPOSITORY": "octo/models", "GITHUB_SHA": "a" * 40}


def test_defaults(environ, workspace):
    settings = inputs.read(environ)
    assert settings.workspace == workspace
    assert settings.folder == workspace / "."
    assert (settings.comment, settings.fail_on, settings.device) == ("always", "different", "auto")
    assert settings.timeout == 1800
    assert settings.junit_path == "llavavit-verify.xml"


def test_lists_take_spaces_commas_and_lines(environ):
    settings = inputs.read({**environ, "INPUT_VARIANTS": "base, large\n huge base"})
    assert settings.variants == ("base", "large", "huge")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COMMENT", "alway", "did you mean `always`"),
        ("COMMENT", "sometimes", "always, on-difference, off"),
        ("DEVICE", "gpu", "auto, cpu, cuda"),
        ("LANGUAGE", "de", "en, zh, both"),
        ("FAIL-ON", "diffrent", "did you mean `different`"),
        ("ANNOTATIONS", "yes", "on, off"),
        ("VERBOSE", "1", "true, false"),
        ("TIMEOUT-MINUTES", "soon", "minutes"),
        ("TIMEOUT-MINUTES", "0", "minutes"),
        ("TIMEOUT-MINUTES", "nan", "minutes"),
        ("TIMEOUT-MINUTES", "1e9", "4320"),
        ("WORKING-DIRECTORY", "nowhere", "actions/checkout"),
        ("WORKING-DIRECTORY", "../..", "does not lie in the workspace"),
        ("SPEC", "missing.yml", "there is no file"),
        ("SPEC", "/etc/passwd", "does not lie in the workspace"),
        ("JUNIT-PATH", "../x.xml", "does not lie in the workspace"),
        ("JSON-PATH", "/home/runner/work/r/r/x.json", "github.workspace"),
        ("VARIANT", "base", "did you mean `variants`"),
    ],
)
def test_a_wrong_value_lists_the_right_ones(environ, name, value, said):
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        inputs.read({**environ, f"INPUT_{name}": value})


def test_every_wrong_input_is_said_at_once(environ):
    with pytest.raises(InputError) as caught:
        inputs.read({**environ, "INPUT_DEVICE": "x", "INPUT_COMMENT": "y", "INPUT_VERBOSE": "z"})
    assert str(caught.value).count("\n") == 2


def test_what_the_runner_itself_understands_is_no_unknown_input(environ):
    inputs.read({**environ, "INPUT_ARGS": "publish report.json", "INPUT_ENTRYPOINT": "x"})


def test_a_path_in_the_workspace_may_be_absolute(environ, workspace):
    assert inputs.read({**environ, "INPUT_JSON-PATH": f"{workspace}/out/r.json"}).json_path == "out/r.json"


def test_the_token_is_not_shown(environ):
    assert "hunter2" not in repr(inputs.read({**environ, "INPUT_GITHUB-TOKEN": "hunter2"}))


def event(environ: dict[str, str], tmp_path: Path, name: str, payload: object) -> inputs.Event:
    file = tmp_path / "event.json"
    file.write_text(payload if isinstance(payload, str) else json.dumps(payload))
    return inputs.read({**environ, "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(file)}).event


def pull(head: str) -> dict[str, object]:
    return {
        "number": 5,
        "pull_request": {
            "number": 5,
            "head": {"sha": "c" * 40, "repo": {"full_name": head}},
            "base": {"repo": {"full_name": "octo/models"}},
        },
    }


def test_events(environ, tmp_path):
    own = event(environ, tmp_path, "pull_request", pull("octo/models"))
    assert (own.pull_request, own.head_sha, own.from_fork) == (5, "c" * 40, False)
    assert event(environ, tmp_path, "pull_request", pull("mallory/models")).from_fork
    assert event(environ, tmp_path, "push", {"ref": "refs/heads/main"}).pull_request is None
    assert event(environ, tmp_path, "merge_group", {"merge_group": {}}).pull_request is None
    asked = {"issue": {"number": 9, "pull_request": {"url": "x"}}}
    assert event(environ, tmp_path, "issue_comment", asked).pull_request == 9
    assert event(environ, tmp_path, "issue_comment", {"issue": {"number": 9}}).pull_request is None
    run = {
        "workflow_run": {
            "id": 1, "head_sha": "d" * 40, "head_branch": "topic", "head_repository": {"owner": {"login": "mallory"}},
            "pull_requests": [],
        }
    }  # fmt: skip
    after = event(environ, tmp_path, "workflow_run", run)
    assert (after.run_id, after.run_head, after.head_sha) == (1, "mallory:topic", "d" * 40)


@pytest.mark.parametrize("payload", ["", "{", "[]", "null", '{"pull_request": 3}', '{"pull_request": {"head": []}}'])
def test_a_broken_payload_is_one_without_a_pull_request(environ, tmp_path, payload):
    assert event(environ, tmp_path, "pull_request", payload).pull_request is None
