"""A stateful stand-in for GitHub's REST and GraphQL API on loopback: pull requests, comments, pages, limits, faults.

With `strict` each request body and each answer is checked against githubkit's models, which are made from GitHub's own
API description; `invalid` lists what does not fit.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

LONGEST_COMMENT = 65_536
EPOCH = "2026-01-02T03:04:05Z"


@dataclass
class Fault:
    """What goes wrong for the next requests that match. after: the request is carried out before it goes wrong."""

    match: str = ".*"
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    cut: bool = False
    after: bool = False
    slow: float = 0.0


@dataclass
class FakeGitHub:
    """The server and its state. A context manager; `url` is what GITHUB_API_URL should be."""

    me: str = "github-actions[bot]"
    token: str = "fake"
    read_only: bool = False
    page: int | None = None
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    invalid: list[str] = field(default_factory=list)
    strict: bool = False
    host: str = "127.0.0.1"
    _next: int = 1000

    def __enter__(self) -> FakeGitHub:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do(self) -> None:
                fake._serve(self)

            do_GET = do_POST = do_PATCH = do_DELETE = do

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        self._lock = threading.Lock()
        self._check = _validator() if self.strict else lambda what, data, invalid: None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self._server.server_address[1]}"

    # -- state ------------------------------------------------------------------------------------------------------

    def pull(self, number: int, head_sha: str, head: str) -> None:
        self.pulls[number] = {"head_sha": head_sha, "head": head}
        self.comments.setdefault(number, [])

    def comment(self, number: int, login: str, body: str) -> dict[str, Any]:
        """A comment that is there already."""
        self._next += 1
        made = self._comment(number, self._next, login, body)
        self.comments[number].append(made)
        return made

    def fail(self, **fault: Any) -> None:
        self.faults.append(Fault(**fault))

    def bodies(self, number: int = 7) -> list[str]:
        return [c["body"] for c in self.comments[number]]

    def _comment(self, number: int, one: int, login: str, body: str) -> dict[str, Any]:
        api, web = f"{self.url}/repos/octo/models", "https://github.example/octo/models"
        return {
            "id": one,
            "node_id": f"IC_{one}",
            "url": f"{api}/issues/comments/{one}",
            "html_url": f"{web}/pull/{number}#issuecomment-{one}",
            "issue_url": f"{api}/issues/{number}",
            "body": body,
            "user": self._user(login),
            "created_at": EPOCH,
            "updated_at": EPOCH,
            "author_association": "NONE",
        }

    def _user(self, login: str) -> dict[str, Any]:
        api = f"{self.url}/users/{login}"
        links = (
            "followers_url", "following_url", "gists_url", "starred_url", "subscriptions_url", "organizations_url",
            "repos_url", "events_url", "received_events_url",
        )  # fmt: skip
        return {
            "login": login,
            "id": sum(map(ord, login)),
            "node_id": f"U_{login}",
            "avatar_url": f"{api}/avatar",
            "gravatar_id": "",
            "url": api,
            "html_url": f"https://github.example/{login}",
            **{link: f"{api}/{link}" for link in links},
            "type": "Bot" if login.endswith("[bot]") else "User",
            "site_admin": False,
        }

    # -- serving ----------------------------------------------------------------------------------------------------

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        raw = request.rfile.read(length)
        split = urlsplit(request.path)
        query = {k: v[0] for k, v in parse_qs(split.query).items()}
        with self._lock:
            self.requests.append((request.command, split.path))
            fault = self._fault(f"{request.command} {split.path}")
            if fault is None or fault.after:
                status, answer, headers = self._answer(request, split.path, query, raw)
        if fault is not None:
            time.sleep(fault.slow)
            if fault.cut:
                request.close_connection = True
                request.connection.close()
                return
            if fault.status:
                status, headers = fault.status, fault.headers
                answer = {"message": f"fault {status}", "documentation_url": "https://docs.github.com"}
        data = b"" if answer is None else json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json; charset=utf-8")
        request.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)

    def _fault(self, line: str) -> Fault | None:
        for fault in list(self.faults):
            if re.search(fault.match, line):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def _answer(
        self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str], raw: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        def refuse(status: int, message: str) -> tuple[int, Any, dict[str, str]]:
            return status, {"message": message, "documentation_url": "https://docs.github.com"}, {}

        given = (request.headers.get("Authorization") or "").split()
        if len(given) != 2 or given[1] != self.token:
            return refuse(401, "Bad credentials")
        method = request.command
        path = path.removeprefix("/api/v3").replace("/api/graphql", "/graphql")
        if (method, path) == ("POST", "/graphql"):
            return 200, {"data": {"viewer": {"login": self.me}}}, {}
        if method != "GET" and self.read_only:
            return refuse(403, "Resource not accessible by integration")
        if method == "GET" and re.fullmatch(r"/repos/octo/models/pulls", path):
            found = [self._pull(n) for n, p in self.pulls.items() if p["head"] == query.get("head", p["head"])]
            return 200, found, {}
        listed = re.fullmatch(r"/repos/octo/models/issues/(\d+)/comments", path)
        if listed:
            number = int(listed[1])
            if number not in self.comments:
                return refuse(404, "Not Found")
            if method == "GET":
                return self._page(path, self.comments[number], query)
            body = self._body("create", raw)
            if body is None or len(body) > LONGEST_COMMENT:
                return refuse(422, "Validation Failed")
            made = self.comment(number, self.me, body)
            self._check("comment", made, self.invalid)
            return 201, made, {}
        one = re.fullmatch(r"/repos/octo/models/issues/comments/(\d+)", path)
        if one:
            for kept in self.comments.values():
                for comment in kept:
                    if comment["id"] == int(one[1]):
                        if method == "DELETE":
                            kept.remove(comment)
                            return 204, None, {}
                        if comment["user"]["login"] != self.me:
                            self.invalid.append(f"{method} of a comment by {comment['user']['login']}")
                        body = self._body("update", raw)
                        if body is None or len(body) > LONGEST_COMMENT:
                            return refuse(422, "Validation Failed")
                        comment["body"] = body
                        return 200, comment, {}
        return refuse(404, "Not Found")

    def _body(self, what: str, raw: bytes) -> str | None:
        try:
            data = json.loads(raw)
            self._check(what, data, self.invalid)
            return str(data["body"])
        except (ValueError, KeyError, TypeError) as error:
            self.invalid.append(f"{what}: {error!r}")
            return None

    def _pull(self, number: int) -> dict[str, Any]:
        pull = self.pulls[number]
        return {
            "number": number,
            "state": "open",
            "url": f"{self.url}/repos/octo/models/pulls/{number}",
            "head": {"sha": pull["head_sha"], "label": pull["head"], "ref": pull["head"].partition(":")[2]},
        }

    def _page(self, path: str, items: list[Any], query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        size = min(int(query.get("per_page", 30)), 100) if self.page is None else self.page
        page = int(query.get("page", 1))
        part = items[(page - 1) * size : page * size]
        links = {}
        if page * size < len(items):
            following = f"{self.url}{path}?per_page={size}&page={page + 1}"
            links["Link"] = f'<{following}>; rel="next"'
        return 200, part, links


def _validator() -> Callable[[str, Any, list[str]], None]:
    """Checks data against githubkit's models."""
    from githubkit_schemas.latest import models
    from pydantic import TypeAdapter, ValidationError

    known = {
        "create": TypeAdapter(models.ReposOwnerRepoIssuesIssueNumberCommentsPostBody),
        "update": TypeAdapter(models.ReposOwnerRepoIssuesCommentsCommentIdPatchBody),
        "comment": TypeAdapter(models.IssueComment),
    }

    def check(what: str, data: Any, invalid: list[str]) -> None:
        try:
            known[what].validate_python(data)
        except ValidationError as error:
            invalid.append(f"{what}: {error}")

    return check
