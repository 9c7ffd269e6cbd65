"""One comment on the pull request, kept up to date. Finds only what this token wrote; fails with one sentence."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from github import Auth, Github, GithubException
from github.GithubRetry import GithubRetry
from github.Issue import Issue
from github.IssueComment import IssueComment
from github.Repository import Repository

from entrypoint import render
from entrypoint.inputs import Settings
from entrypoint.outcome import Outcome
from entrypoint.report import Finding
from entrypoint.words import MARKS, word

T = TypeVar("T")
MOST_BYTES = 65_000
"""GitHub takes 65,536 characters; bytes are never fewer."""
MOST_FINDINGS = 200
MOST_KEYS = 400
DEADLINE = 120.0
"""Seconds that publishing may take in all, with every retry."""
PATIENCE = 30.0
"""Longest wait that a rate limit may ask for and get."""
ACTIONS_BOT = "github-actions[bot]"
STATE = re.compile(r"<!-- llavavit-verify-state:([A-Za-z0-9_=-]{1,20000}) -->")


class CommentError(Exception):
    """The comment could not be written; the message is one sentence with what to do."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a comment remembers of its run, to tell the next one what changed."""

    verdict: str
    run: int
    attempt: int
    head: str
    keys: tuple[str, ...]


def marker(settings: Settings) -> str:
    """The hidden line that makes a comment ours: one per spec and job, and per set of inputs of a matrix."""
    parts = (
        settings.workflow, settings.job, settings.working_directory, settings.spec,
        *settings.variants, "|", *settings.checks, "|", settings.device,
    )  # fmt: skip
    return f"<!-- llavavit-verify:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]} -->"


def compose(settings: Settings, outcome: Outcome, before: State | None) -> str:
    """The comment's text. before: the state of the comment that it replaces."""
    report = outcome.report
    head = [marker(settings), render.headline(settings, outcome), ""]
    rows: list[str] = []
    if outcome.reason:
        head += [*render.trouble(settings, outcome), ""]
    if report is not None:
        head += [render.sides(settings, report), ""]
        if report.first_divergence is not None:
            head += [*render.divergence(settings, report, report.first_divergence), ""]
        head += [*render.checks(settings, report), ""]
    changed = _changed(settings, outcome, before)
    if changed:
        head += [changed, ""]
    after = [""]
    if report is not None and report.findings:
        head += [f"<details><summary>{word('findings', settings.language)} ({len(report.findings)})</summary>", ""]
        head += render.findings_head(settings)
        rows = list(render.findings(settings, outcome, MOST_FINDINGS))
        after += ["</details>", ""]
    after += [render.footer(settings, outcome), _packed(_state(settings, outcome))]
    total = len(report.findings) if report else 0
    link = {"before": "[", "after": f"]({settings.run_url})"} if settings.run_id else {"before": "", "after": ""}
    rest = word("in-summary", settings.language, **link)
    spare: list[str] = []
    if outcome.held:
        summary = f"<summary>{word('safety', settings.language)}</summary>"
        spare = ["", f"<details>{summary}", "", render.safety(outcome.held, settings.language), "", "</details>"]
    return render.fitted(head, rows, after, MOST_BYTES, total, rest, settings.language, spare)


def publish(settings: Settings, outcome: Outcome) -> str:
    """Writes or updates the comment. Returns its address, or "" where there is nothing to do. Raises CommentError."""
    if settings.comment == "off":
        return ""
    number = settings.event.pull_request
    if number is None and settings.event.run_id is None:
        return ""
    if not settings.token:
        raise CommentError("no comment was written: the input github-token is empty")
    return _in_time(lambda: _publish(settings, outcome), DEADLINE)


def _publish(settings: Settings, outcome: Outcome) -> str:
    try:
        with _client(settings) as github:
            repository = github.get_repo(settings.repository)
            number = settings.event.pull_request or _of_run(settings, repository)
            if number is None:
                return ""
            return _sticky(settings, outcome, github, repository.get_issue(number))
    except GithubException as error:
        raise CommentError(_advice(settings, error)) from error
    except (requests.RequestException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        text = f"no comment was written: {type(error).__name__} from {settings.api_url}"
        raise CommentError(text) from error


def _client(settings: Settings) -> Github:
    retry = GithubRetry(
        total=4,
        backoff_factor=0.5,
        backoff_max=PATIENCE,
        secondary_rate_wait=PATIENCE,
        max_rate_limit_wait=PATIENCE,
        status_forcelist=[403, 429, *range(500, 600)],
        allowed_methods={"GET", "PATCH", "DELETE"},  # a POST that was cut off may have been done
    )
    return Github(
        auth=Auth.Token(settings.token),
        base_url=settings.api_url,
        timeout=15,
        retry=retry,
        per_page=100,
        seconds_between_requests=0,
        seconds_between_writes=1,
        user_agent="llavavit-verify",
        lazy=True,
    )


def _of_run(settings: Settings, repository: Repository) -> int | None:
    """The open pull request of the run that a workflow_run follows: by its branch, and only at the very commit it ran on."""
    event = settings.event
    if not event.run_head or not event.head_sha:
        return None
    for pull in repository.get_pulls(state="open", head=event.run_head):
        if pull.head.sha == event.head_sha:
            return int(pull.number)
    return None


def _sticky(settings: Settings, outcome: Outcome, github: Github, issue: Issue) -> str:
    me = _identity(github)
    ours = _ours(settings, issue, me)
    old = ours[0] if ours else None
    before = _unpacked(old.body) if old else None
    if before is not None and (before.run, before.attempt) > (settings.run_number, settings.run_attempt):
        return str(old.html_url) if old else ""  # a newer run has had its say
    if old is None and settings.comment == "on-difference" and outcome.verdict == "equal":
        return ""
    body = compose(settings, outcome, before)
    if old is not None:
        old.edit(body)
        for extra in ours[1:]:
            extra.delete()
        return str(old.html_url)
    return _create(settings, issue, me, body)


def _create(settings: Settings, issue: Issue, me: str, body: str) -> str:
    """Posts once: after a failure that may have been a success, looks before it posts again."""
    for attempt in range(3):
        try:
            return str(issue.create_comment(body).html_url)
        except GithubException as error:
            wait = _wait(error, attempt)
            if wait is None or attempt == 2:
                raise
        except requests.RequestException:
            wait = 2.0**attempt
            if attempt == 2:
                raise
        time.sleep(wait)
        found = _ours(settings, issue, me)
        if found:
            return str(found[0].html_url)
    raise AssertionError("unreachable")


def _wait(error: GithubException, attempt: int) -> float | None:
    """Seconds until another try makes sense; None if it does not."""
    headers = {k.lower(): v for k, v in (error.headers or {}).items()}
    asked = headers.get("retry-after", "")
    if error.status in (403, 429) and asked.isdigit():
        return min(float(asked), PATIENCE)
    if error.status == 429 or error.status >= 500:
        return 2.0**attempt
    return None


def _identity(github: Github) -> str:
    """Who this token writes as. An Actions token may not ask for its user, but GraphQL tells."""
    try:
        _, answer = github.requester.graphql_query("query { viewer { login } }", {})
        login = answer["data"]["viewer"]["login"]
        if isinstance(login, str) and login:
            return login
    except (GithubException, requests.RequestException, KeyError, TypeError):
        pass
    return ACTIONS_BOT


def _ours(settings: Settings, issue: Issue, me: str) -> list[IssueComment]:
    """Comments with our marker on their first line that `me` wrote; other people's are never touched."""
    wanted = marker(settings)

    def bare(login: str) -> str:
        return login.removesuffix("[bot]")

    return [
        c
        for c in issue.get_comments()
        if c.user is not None and bare(c.user.login) == bare(me) and (c.body or "").startswith(wanted)
        and (c.user.type == "Bot") == me.endswith("[bot]")
    ]  # fmt: skip


def _advice(settings: Settings, error: GithubException) -> str:
    why = {
        401: "the token is not valid",
        403: "the token may not write comments",
        404: "the token does not see the pull request",
        422: "GitHub refused the text",
        429: "the rate limit is used up",
    }.get(error.status, f"GitHub answered {error.status}")
    fork = settings.event.from_fork and error.status in (403, 404)
    fix = {
        401: "; pass a valid github-token",
        403: "; the job needs `permissions: pull-requests: write`",
        404: "; the job needs `permissions: pull-requests: write`",
    }.get(error.status, "")
    if fork:
        fix = "; a pull request from a fork gets a read-only token: docs/action.md shows the two-workflow recipe"
    return f"no comment was written: {why} ({error.status}){fix}"


def _in_time(task: Callable[[], T], seconds: float) -> T:
    """The task's result. CommentError if it takes longer; it is left behind."""
    box: list[Any] = []

    def work() -> None:
        try:
            box.append((True, task()))
        except BaseException as error:
            box.append((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not box:
        raise CommentError(f"no comment was written: GitHub did not answer in {seconds:.0f} s")
    done, value = box[0]
    if not done:
        raise value
    return value  # type: ignore[no-any-return]


def _key(finding: Finding) -> str:
    parts = (finding.check, finding.variant, finding.case, finding.subject, finding.kind)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


def _state(settings: Settings, outcome: Outcome) -> State:
    serious = [f for f in outcome.findings if f.verdict in ("different", "error")]
    return State(
        verdict=outcome.verdict,
        run=settings.run_number,
        attempt=settings.run_attempt,
        head=settings.head[:12],
        keys=tuple(dict.fromkeys(_key(f) for f in serious[:MOST_KEYS])),
    )


def _packed(state: State) -> str:
    data = json.dumps(vars(state), separators=(",", ":")).encode()
    return f"<!-- llavavit-verify-state:{base64.urlsafe_b64encode(data).decode()} -->"


def _unpacked(body: str | None) -> State | None:
    """The state in a comment; the last one, which is ours: what untrusted text is above it cannot hold a `<`."""
    found = STATE.findall(body or "")
    if not found:
        return None
    try:
        data = json.loads(base64.urlsafe_b64decode(found[-1]))
        return State(
            verdict=str(data["verdict"]) if str(data["verdict"]) in MARKS else "error",
            run=int(data["run"]),
            attempt=int(data["attempt"]),
            head="".join(c for c in str(data["head"]) if c.isalnum())[:12],
            keys=tuple(map(str, data["keys"])),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _changed(settings: Settings, outcome: Outcome, before: State | None) -> str:
    if before is None:
        return ""
    now = set(_state(settings, outcome).keys)
    was = set(before.keys)
    language = settings.language
    verdict = (
        f"{render.verdict(settings, before.verdict)} → {render.verdict(settings, outcome.verdict)}"
        if before.verdict != outcome.verdict
        else word(f"still-{outcome.verdict}", language)
    )
    counts = {"new": now - was, "gone": was - now, "as-before": now & was}
    parts = [verdict, *(word(key, language, count=len(keys)) for key, keys in counts.items() if now | was)]
    at = f" ({before.head})" if before.head else ""
    return f"{word('changed', settings.language)}{at}: {', '.join(parts)}"
