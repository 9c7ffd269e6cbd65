# SPDX-License-Identifier: Apache-2.0
"""A Hub on loopback: repositories, branches, commits and large files, with the requests that huggingface_hub makes.

Stateful and strict: what a client sends wrongly is refused, and a request that nobody foresaw is kept in `unknown`. Faults
can be told to happen on chosen requests. Written against huggingface_hub 0.36 and 2.4 (create_repo, create_branch,
repo_info, list_repo_tree, create_commit with LFS, hf_hub_download); it does not speak Xet, see `HF_HUB_DISABLE_XET`.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

PAGE = 4
"""Entries of a tree in one answer; the client follows `Link` for more."""
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class File:
    """Contents, and whether they are in large storage."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return text.encode()

    @property
    def blob(self) -> str:
        data = self.pointer if self.lfs else self.data
        return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, File], message: str) -> str:
        text = json.dumps([self.branches.get(branch), message, {n: f.sha256 for n, f in sorted(files.items())}])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.messages.append(message)
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, File]] | None:
        oid = self.branches.get(revision, revision)
        return (oid, self.commits[oid]) if oid in self.commits else None


@dataclass
class Fault:
    """Happens to the next `times` requests whose "METHOD /path" matches. act: gets the handler; answers, or cuts."""

    request: str
    act: Callable[[Handler], None]
    times: int = 1
    skip: int = 0
    """Matching requests that go well before it."""


def status(code: int, text: str = "made to fail", **headers: str) -> Callable[[Handler], None]:
    """A fault that answers with an HTTP status."""
    return lambda handler: handler.fail(
        code, text, **{name.replace("_", "-"): value for name, value in headers.items()}
    )


def cut(handler: Handler) -> None:
    """A fault: the connection closes in the middle of what the client sends."""
    handler.rfile.read(min(int(handler.headers.get("Content-Length") or 0), 1000))
    handler.close_connection = True
    handler.connection.close()


class FakeHub:
    """A context manager: the server runs within it. endpoint: for HF_ENDPOINT."""

    def __init__(self) -> None:
        self.tokens = {self.writer: ("user", "write"), self.reader: ("user", "read"), self.stranger: ("other", "write")}
        self.repositories: dict[str, Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.multipart_above = 2**63
        self.part_size = 2**20
        self.faults: list[Fault] = []
        self.corrupt: Callable[[str, File], File] = lambda path, file: file
        """What happens to a file between its commit and everybody who reads it."""
        self.requests: list[str] = []
        self.received: list[tuple[str, int]] = []
        """Large uploads that arrived whole: (sha256, bytes)."""
        self.bodies: list[str] = []
        self.unknown: list[str] = []
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.cdn = f"http://localhost:{self.server.server_address[1]}"  # another host, as the Hub's: clients stop there
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    writer = "hf_" + "W" * 34
    reader = "hf_" + "R" * 34
    stranger = "hf_" + "S" * 34

    def __enter__(self) -> FakeHub:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes] | None = None, *, private: bool = False) -> Repository:
        """A repository as the Hub makes it, with `files` in a first commit."""
        found = self.repositories[repo_id] = Repository(private=private)
        found.commit("main", {".gitattributes": File(ATTRIBUTES, lfs=False)}, "initial commit")
        if files:
            held = {name: File(data, lfs=large(name, len(data))) for name, data in files.items()}
            found.commit("main", {**found.commits[found.branches["main"]], **held}, "first files")
        return found

    def files(self, repo_id: str, branch: str = "main") -> dict[str, bytes]:
        """What a branch holds now, by path."""
        found = self.repositories[repo_id].at(branch)
        assert found is not None
        return {name: file.data for name, file in found[1].items()}

    def count(self, request: str) -> int:
        """Requests so far whose "METHOD /path" matches."""
        return sum(bool(re.search(request, line)) for line in self.requests)


def large(path: str, size: int) -> bool:
    return path.endswith((".safetensors", ".bin")) or size > 10 * 2**20


class Handler(BaseHTTPRequestHandler):
    """One request. Paths are those of the real Hub."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    ROUTES = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)", "info"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)", "info"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/refs", "refs"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?P<folder>/.*)?", "tree"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<branch>[^/]+)", "branch"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/storage/(?P<oid>[0-9a-f]{64})", "put"),
        ("PUT", r"/storage/(?P<oid>[0-9a-f]{64})/(?P<part>\d+)", "put"),
        ("POST", r"/storage/(?P<oid>[0-9a-f]{64})/complete", "complete"),
        ("POST", r"/(?P<repo>[^/]+/[^/]+)/verify", "verify"),
        ("HEAD", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
        ("GET", r"/storage/(?P<oid>[0-9a-f]{64})", "get"),
        ("GET", r"/api/agent-harnesses", "nothing"),
    )

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        self.body: bytes | None = None
        self.drained = False  # one handler serves all requests of a connection
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        line = f"{self.command} {unquote(url.path)}"
        with self.hub.lock:
            self.hub.requests.append(line)
            fault = next((f for f in self.hub.faults if f.times and re.search(f.request, line)), None)
            if fault and fault.skip:
                fault.skip, fault = fault.skip - 1, None
            elif fault:
                fault.times -= 1
        if fault:
            fault.act(self)
            return
        self.body = self.read_body()
        if self.body is None:
            return
        for method, pattern, name in self.ROUTES:
            matched = re.fullmatch(pattern, url.path)
            if method == self.command and matched:
                found = {k: unquote(v) for k, v in matched.groupdict().items() if v is not None}
                with self.hub.lock:
                    getattr(self, f"on_{name}")(**found)
                return
        self.hub.unknown.append(line)
        self.fail(404, "the fake hub does not know this request")

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

    def read_body(self) -> bytes | None:
        """The whole body; None where the client went away in the middle."""
        self.drained = True
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline() or b"0", 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        return data if len(data) == size else None

    def send(self, code: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def json(self, value: Any, code: int = 200, **headers: str) -> None:
        self.send(code, json.dumps(value).encode(), **{"Content_Type": "application/json", **headers})

    def fail(self, code: int, text: str, error: str = "", **headers: str) -> None:
        if not self.drained:
            self.read_body()
        extra = {"X-Error-Code": error} if error else {}
        self.json({"error": text}, code, **{"X-Error-Message": text, "X-Request-Id": "request-1", **extra, **headers})

    # --- who asks -----------------------------------------------------------------------------------------------------

    @property
    def bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def who(self) -> tuple[str, str] | None:
        return self.hub.tokens.get(self.bearer)

    def may_write(self, repo: str) -> bool:
        """Answers, and is False, where the request may not change the repository."""
        who = self.who()
        if who is None:
            self.fail(401, f"Invalid credentials in Authorization header: {self.bearer}")
        elif who != (repo.partition("/")[0], "write"):
            self.fail(403, f"The token {self.bearer} may not write to {repo}")  # an echo, as proxies do
        else:
            return True
        return False

    def readable(self, repo: str, revision: str = "main") -> tuple[Repository, str, dict[str, File]] | None:
        """A repository at a revision; answers where there is none for the one who asks."""
        found = self.hub.repositories.get(repo)
        if found is None or (found.private and self.who() is None):
            self.fail(401 if self.who() is None else 404, "Repository not found", "RepoNotFound")
            return None
        at = found.at(revision)
        if at is None:
            self.fail(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            return None
        return found, at[0], {name: self.hub.corrupt(name, file) for name, file in at[1].items()}

    def on_nothing(self) -> None:
        """What newer clients ask for their own purposes and do without."""
        self.fail(404, "Not found")

    def on_whoami(self) -> None:
        who = self.who()
        if who is None:
            self.fail(401, f"Invalid user token: {self.bearer}")
            return
        access = {"displayName": "test", "role": who[1]}
        self.json({"type": "user", "name": who[0], "orgs": [], "auth": {"type": "access_token", "accessToken": access}})

    # --- repositories -------------------------------------------------------------------------------------------------

    def on_create(self) -> None:
        asked = json.loads(self.body or b"")
        assert asked.get("type", "model") == "model"
        repo = f"{asked.get('organization') or (self.who() or ('user', ''))[0]}/{asked['name']}"
        if not self.may_write(repo):
            return
        answer = {"url": f"{self.hub.endpoint}/{repo}", "name": repo, "id": "1"}
        if repo in self.hub.repositories:
            self.json({"error": "You already created this model repo", **answer}, 409)
            return
        self.hub.add(repo, private=bool(asked.get("private")) or asked.get("visibility") == "private")
        self.json(answer)

    def on_branch(self, repo: str, branch: str) -> None:
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        found = self.readable(repo, start)
        if found is None or not self.may_write(repo):
            return
        if branch in found[0].branches:
            self.fail(409, "Reference already exists")
            return
        found[0].branches[branch] = found[1]
        self.json({})

    def on_info(self, repo: str, revision: str = "main") -> None:
        found = self.readable(repo, revision)
        if found:
            siblings = [{"rfilename": name} for name in sorted(found[2])]
            self.json({"id": repo, "modelId": repo, "sha": found[1], "private": found[0].private, "siblings": siblings})

    def on_refs(self, repo: str) -> None:
        found = self.readable(repo)
        if found:
            heads = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": oid} for n, oid in found[0].branches.items()]
            self.json({"branches": heads, "tags": [], "converts": []})

    def on_tree(self, repo: str, revision: str, folder: str = "/") -> None:
        found = self.readable(repo, revision)
        if found is None:
            return
        if folder != "/":
            self.fail(404, f"{folder} does not exist on {revision}", "EntryNotFound")
            return
        names, start = sorted(found[2]), int(self.query.get("cursor", 0))
        entries = []
        for name in names[start : start + PAGE]:
            file = found[2][name]
            lfs = {"oid": file.sha256, "size": len(file.data), "pointerSize": len(file.pointer)}
            entry = {"type": "file", "path": name, "size": len(file.data), "oid": file.blob}
            entries.append({**entry, "lfs": lfs} if file.lfs else entry)
        more = start + PAGE < len(names)
        path = f"{self.hub.endpoint}/api/models/{repo}/tree/{revision}?recursive=True&cursor={start + PAGE}"
        self.json(entries, **({"Link": f'<{path}>; rel="next"'} if more else {}))

    # --- commits ------------------------------------------------------------------------------------------------------

    def on_validate(self) -> None:
        asked = json.loads(self.body or b"")
        front = re.match(r"---\n(.*?)\n---\n", asked["content"], re.DOTALL)
        try:
            metadata = yaml.safe_load(front[1]) if front else None
        except yaml.YAMLError as error:
            self.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
            return
        warnings = [] if isinstance(metadata, dict) else [{"message": "empty or missing yaml metadata in repo card"}]
        self.json({"errors": [], "warnings": warnings})

    def on_preupload(self, repo: str, revision: str) -> None:
        found = self.readable(repo, revision)
        if found is None or not self.may_write(repo):
            return
        files, sent = [], json.loads(self.body or b"")
        there = found[2].get(".gitignore")
        patterns = sent.get("gitIgnore", there.data.decode() if there else "").split()
        for asked in sent["files"]:
            assert set(asked) == {"path", "sample", "size"}
            mode = "lfs" if large(asked["path"], asked["size"]) else "regular"
            there = found[2].get(asked["path"])
            oid = None if there is None else there.sha256 if there.lfs else there.blob
            ignored = any(fnmatch.fnmatch(asked["path"], pattern) for pattern in patterns)
            files.append(
                {"path": asked["path"], "uploadMode": mode, "shouldIgnore": ignored, **({"oid": oid} if oid else {})}
            )
        self.json({"files": files, "commitOid": found[1]})

    def on_batch(self, repo: str) -> None:
        if not self.may_write(repo):
            return
        asked = json.loads(self.body or b"")
        assert asked["operation"] == "upload"
        assert asked["hash_algo"] == "sha256"
        self.json(
            {
                "transfer": "multipart" if any(self.parted(o["size"]) for o in asked["objects"]) else "basic",
                "objects": [self.action(repo, o["oid"], o["size"]) for o in asked["objects"]],
            },
            Content_Type="application/vnd.git-lfs+json",
        )

    def parted(self, size: int) -> bool:
        return size > self.hub.multipart_above

    def action(self, repo: str, oid: str, size: int) -> dict[str, Any]:
        """What the client is to do about one large file: nothing where its contents are stored."""
        if oid in self.hub.storage:
            return {"oid": oid, "size": size}
        href, header = f"{self.hub.endpoint}/storage/{oid}", {}
        if self.parted(size):
            count = -(-size // self.hub.part_size)
            header = {str(n): f"{href}/{n}" for n in range(1, count + 1)} | {"chunk_size": str(self.hub.part_size)}
            href += "/complete"
        verify = {"href": f"{self.hub.endpoint}/{repo}/verify"}
        return {"oid": oid, "size": size, "actions": {"upload": {"href": href, "header": header}, "verify": verify}}

    def on_put(self, oid: str, part: str = "") -> None:
        data = self.body or b""
        if part:
            self.hub.parts[oid, int(part)] = data
            self.send(200, ETag=f'"{hashlib.md5(data).hexdigest()}"')
        elif self.stored(oid, data):
            self.send(200)

    def on_complete(self, oid: str) -> None:
        asked = json.loads(self.body or b"")
        numbers = [part["partNumber"] for part in asked["parts"]]
        assert numbers == list(range(1, len(numbers) + 1))
        if self.stored(oid, b"".join(self.hub.parts[oid, n] for n in numbers)):
            self.json({})

    def stored(self, oid: str, data: bytes) -> bool:
        if hashlib.sha256(data).hexdigest() != oid:
            self.fail(400, "the sha256 of the content is not its oid")
            return False
        self.hub.storage[oid] = data
        self.hub.received.append((oid, len(data)))
        return True

    def on_verify(self, repo: str) -> None:
        if self.may_write(repo):
            asked = json.loads(self.body or b"")
            if len(self.hub.storage.get(asked["oid"], b"")) == asked["size"]:
                self.json({})
            else:
                self.fail(404, "no such object")

    def on_commit(self, repo: str, revision: str) -> None:
        found = self.readable(repo, revision)
        if found is None or not self.may_write(repo):
            return
        head, *operations = [json.loads(line) for line in (self.body or b"").splitlines()]
        assert head["key"] == "header"
        if revision not in found[0].branches:
            self.fail(400, f"{revision} is no branch")
            return
        if head["value"].get("parentCommit", found[1]) != found[1]:
            self.fail(412, "A commit has happened since. Please refresh and try again.")
            return
        files = dict(found[0].commits[found[1]])
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
            elif operation["key"] == "lfsFile":
                data = self.hub.storage.get(value["oid"])
                if data is None or len(data) != value["size"]:
                    self.fail(400, f"{value['path']}: its LFS object is not there")
                    return
                files[value["path"]] = File(data, lfs=True)
            elif operation["key"] == "deletedFile" and value["path"] in files:
                del files[value["path"]]
            else:
                self.fail(400, f"cannot {operation['key']} {value}")
                return
        oid = found[0].commit(revision, files, head["value"]["summary"])
        url = f"{self.hub.endpoint}/{repo}/commit/{oid}"
        self.json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    # --- downloads ----------------------------------------------------------------------------------------------------

    def on_resolve(self, repo: str, revision: str, path: str) -> None:
        found = self.readable(repo, revision)
        if found is None:
            return
        file = found[2].get(path)
        if file is None:
            self.fail(404, "Entry not found", "EntryNotFound", X_Repo_Commit=found[1])
            return
        if file.lfs:
            self.hub.storage.setdefault(file.sha256, file.data)
            linked = {"X_Linked_Etag": f'"{file.sha256}"', "X_Linked_Size": str(len(file.data))}
            where = f"{self.hub.cdn}/storage/{file.sha256}"
            self.send(302, X_Repo_Commit=found[1], ETag=f'"{file.blob}"', Location=where, **linked)
        else:
            self.ranged(file.data, X_Repo_Commit=found[1], ETag=f'"{file.blob}"')

    def on_get(self, oid: str) -> None:
        if oid in self.hub.storage:
            self.ranged(self.hub.storage[oid], ETag=f'"{oid}"')
        else:
            self.fail(404, "no such object")

    def ranged(self, data: bytes, **headers: str) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.command == "GET":
            first, last = int(asked[1]), int(asked[2] or len(data) - 1)
            where = f"bytes {first}-{last}/{len(data)}"
            self.send(206, data[first : last + 1], Content_Range=where, **headers)
        else:
            self.send(200, data, Content_Length=str(len(data)), Accept_Ranges="bytes", **headers)
