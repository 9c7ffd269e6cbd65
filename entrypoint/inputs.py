"""The only reader of INPUT_*, GITHUB_* and RUNNER_*: gives a frozen Settings, or says every input that is wrong."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrypoint import files
from entrypoint.text import line


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of the Action, as action.yml and the documents must show it."""

    name: str
    default: str
    choices: tuple[str, ...] = ()


INPUTS = (
    Input(name="spec", default=""),
    Input(name="working-directory", default="."),
    Input(name="variants", default=""),
    Input(name="checks", default=""),
    Input(name="device", default="auto", choices=("auto", "cpu", "cuda")),
    Input(name="language", default="en", choices=("en", "zh", "both")),
    Input(name="junit-path", default="llavavit-verify.xml"),
    Input(name="json-path", default="llavavit-verify.json"),
    Input(name="requirements", default=""),
    Input(name="github-token", default="${{ github.token }}"),
    Input(name="comment", default="always", choices=("always", "on-difference", "off")),
    Input(name="annotations", default="on", choices=("on", "off")),
    Input(name="fail-on", default="different", choices=("different", "error", "never")),
    Input(name="timeout-minutes", default="30"),
    Input(name="verbose", default="false", choices=("true", "false")),
)
OUTPUTS = ("verdict", "passed", "failed", "skipped", "first-divergence", "json", "junit", "comment-url")
LARGEST_EVENT = 32 * 2**20


class InputError(Exception):
    """One line for each input that cannot be used, with what is right."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What set the workflow off. pull_request is None where there is none."""

    name: str = ""
    pull_request: int | None = None
    head_sha: str = ""
    from_fork: bool = False
    run_id: int | None = None
    run_head: str = ""
    """For workflow_run: `owner:branch` of the run that it follows."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the Action was told."""

    workspace: Path
    spec: str = ""
    working_directory: str = "."
    variants: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    device: str = "auto"
    language: str = "en"
    junit_path: str = ""
    json_path: str = ""
    requirements: str = ""
    token: str = field(default="", repr=False)
    comment: str = "always"
    annotations: bool = True
    fail_on: str = "different"
    timeout: float = 1800.0
    verbose: bool = False
    event: Event = Event()
    repository: str = ""
    sha: str = ""
    server_url: str = "https://github.com"
    api_url: str = "https://api.github.com"
    run_id: str = ""
    run_number: int = 0
    run_attempt: int = 1
    workflow: str = ""
    job: str = ""
    summary_file: Path | None = None
    output_file: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder that the verifier runs in."""
        return self.workspace / self.working_directory

    @property
    def run_url(self) -> str:
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"

    @property
    def head(self) -> str:
        """The commit that was checked, as a person knows it: a pull request's own, not the merge that is built."""
        return self.event.head_sha or self.sha


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the runner gave. Raises InputError."""
    values, wrong = {}, []
    known = {i.name for i in INPUTS} | {"args", "entrypoint"}  # the runner itself understands these two
    for name in sorted(k.removeprefix("INPUT_").lower() for k in environ if k.startswith("INPUT_")):
        if name not in known and environ[f"INPUT_{name.upper()}"]:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            wrong.append(f"{line(name, 80)}: there is no such input{hint} (there are: {', '.join(sorted(known))})")
    for one in INPUTS:
        default = "" if one.default.startswith("${{") else one.default
        value = environ.get(f"INPUT_{one.name.upper()}", default).strip()
        if not value and (one.choices or one.name == "timeout-minutes"):
            value = default  # elsewhere an empty input means none
        if one.choices and value not in one.choices:
            near = difflib.get_close_matches(value, one.choices, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            wrong.append(f"{one.name}: {line(value, 80)!r} is none of {', '.join(one.choices)}{hint}")
        values[one.name] = value
    workspace = Path(environ.get("GITHUB_WORKSPACE") or os.getcwd())
    paths = {}
    for name in ("working-directory", "spec", "junit-path", "json-path"):
        paths[name] = _inside(name, values[name], workspace, wrong)
    folder = workspace / (paths["working-directory"] or ".")
    if not folder.is_dir():
        wrong.append(
            f"working-directory: there is no folder {line(values['working-directory'], 200)!r} in the workspace; "
            "is actions/checkout a step before this one?"
        )
    elif values["spec"] and not (folder / paths["spec"]).is_file():
        wrong.append(
            f"spec: there is no file {line(values['spec'], 200)!r} in {line(values['working-directory'], 200)!r}"
        )
    minutes = _minutes(values["timeout-minutes"], wrong)
    if wrong:
        raise InputError("\n".join(wrong))
    return Settings(
        workspace=workspace,
        spec=paths["spec"],
        working_directory=paths["working-directory"] or ".",
        variants=_names(values["variants"]),
        checks=_names(values["checks"]),
        device=values["device"],
        language=values["language"],
        junit_path=paths["junit-path"],
        json_path=paths["json-path"],
        requirements=values["requirements"],
        token=values["github-token"],
        comment=values["comment"],
        annotations=values["annotations"] == "on",
        fail_on=values["fail-on"],
        timeout=minutes * 60,
        verbose=values["verbose"] == "true",
        event=_event(environ),
        repository=environ.get("GITHUB_REPOSITORY", ""),
        sha=environ.get("GITHUB_SHA", ""),
        server_url=environ.get("GITHUB_SERVER_URL") or "https://github.com",
        api_url=environ.get("GITHUB_API_URL") or "https://api.github.com",
        run_id=environ.get("GITHUB_RUN_ID", ""),
        run_number=_integer(environ.get("GITHUB_RUN_NUMBER")) or 0,
        run_attempt=_integer(environ.get("GITHUB_RUN_ATTEMPT")) or 1,
        workflow=environ.get("GITHUB_WORKFLOW", ""),
        job=environ.get("GITHUB_JOB", ""),
        summary_file=_file(environ.get("GITHUB_STEP_SUMMARY")),
        output_file=_file(environ.get("GITHUB_OUTPUT")),
    )


def _names(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.replace(",", " ").split()))


def _minutes(value: str, wrong: list[str]) -> float:
    try:
        minutes = float(value)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes <= 4320:
        wrong.append(f"timeout-minutes: {line(value, 80)!r} is no number of minutes above 0 and up to 4320, such as 30")
        return 30.0
    return minutes


def _inside(name: str, value: str, workspace: Path, wrong: list[str]) -> str:
    """A path as relative to the workspace (the spec's: to the working directory); "" for none."""
    if not value:
        return ""
    relative = value
    if os.path.isabs(value) and name != "spec":
        relative = os.path.relpath(value, workspace)
    try:
        files.parts(relative if relative != "." else "x")
    except ValueError:
        wrong.append(
            f"{name}: {line(value, 200)!r} does not lie in the workspace; give a path relative to it "
            "(in a container action ${{ github.workspace }} is the runner's path, not the container's)"
        )
        return "x"
    return os.path.normpath(relative)


def _file(value: str | None) -> Path | None:
    path = Path(value) if value else None
    return path if path is not None and path.exists() else None


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _event(environ: Mapping[str, str]) -> Event:
    """What the event's payload says. A payload that cannot be read is one without a pull request."""
    name = environ.get("GITHUB_EVENT_NAME", "")
    try:
        data = Path(environ.get("GITHUB_EVENT_PATH") or os.devnull).read_bytes()[:LARGEST_EVENT]
        payload = json.loads(data)
    except (OSError, ValueError):
        payload = {}
    pull, issue, run = (_object(payload, key) for key in ("pull_request", "issue", "workflow_run"))
    if pull:
        base, head = _at(pull, "base", "repo", "full_name"), _at(pull, "head", "repo", "full_name")
        return Event(
            name=name,
            pull_request=_integer(pull.get("number") or payload.get("number")),
            head_sha=str(_at(pull, "head", "sha") or ""),
            from_fork=bool(base and head != base),
        )
    if run and name == "workflow_run":
        owner, branch = _at(run, "head_repository", "owner", "login"), run.get("head_branch")
        return Event(
            name=name,
            run_id=_integer(run.get("id")),
            head_sha=str(run.get("head_sha") or ""),
            run_head=f"{owner}:{branch}" if owner and branch else "",
        )
    if issue and _at(issue, "pull_request"):
        return Event(name=name, pull_request=_integer(issue.get("number")))
    return Event(name=name)


def _object(payload: Any, key: str) -> dict[str, Any]:
    value = _at(payload, key)
    return value if isinstance(value, dict) else {}


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
