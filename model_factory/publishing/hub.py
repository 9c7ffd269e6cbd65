# SPDX-License-Identifier: Apache-2.0
"""Uploads a staged folder in one commit, and reads it back.

A repository changes in that one commit or not at all. Large files go to the Hub's storage before it and change nothing
there by themselves: what an upload that was cut had already stored is not sent again. The commit names the state that it
was prepared for, so that it fails if somebody else committed meanwhile. Imports neither torch nor transformers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from .errors import OptionError, PublishError, hide, scrub, some

GIT_ATTRIBUTES = ".gitattributes"
"""The Hub puts this into every new repository."""
LOADED = re.compile(
    r"(model|pytorch_model|adapter_model)[^/]*\.(safetensors|bin)(\.index\.json)?|[^/]*\.(py|msgpack|h5)|"
    r"(config|adapter_config|generation_config|preprocessor_config|processor_config|video_preprocessor_config)\.json"
)
"""Files that loading may look at; adapter_config.json leads AutoModel to other weights where peft is installed. Left over from other weights they would be mixed with the new ones, so the commit
that replaces those removes them."""
NO_BRANCH = (
    (r"^$", "is empty"),
    (r"^[0-9a-f]{40}$", "is the id of a commit"),
    (r"[\x00-\x20\x7f~^:?*\[\\]", "holds a blank or one of ~ ^ : ? * [ \\"),
    (r"\.\.|@\{|//|^@$", "holds .., @{ or //"),
    (r"^[-/]|[/.]$", "begins with - or /, or ends with / or ."),
    (r"(?:^|/)\.|\.lock(?:/|$)", "has a part that begins with . or ends with .lock"),
)
MOST_TRIES = 4
MOST_WORDS = 500
"""Characters of an answer that are shown."""
LONGEST_WAIT = 300.0
CHUNK = 2**20
SMALL = 2**20
"""Bytes of a file that is sent from memory."""
NOTHING = "Nothing was published"
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
CONNECTIONS = {"requests", "urllib3", "httpx", "httpcore", "ssl", "socket"}
"""Packages whose errors tell of the way to the Hub and not of the Hub."""

T = TypeVar("T")
Progress = Callable[[str], None]
Confirm = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to. private: None leaves the visibility of a repository that exists. revision: a branch, "main" by default.
    tell: what is waited for, and how long."""

    repo_id: str
    token: str = field(repr=False)
    private: bool | None = None
    revision: str | None = None
    endpoint: str | None = None
    tell: Progress = field(default=lambda what: None, repr=False, compare=False)

    @property
    def branch(self) -> str:
        return self.revision or "main"


@dataclass(frozen=True, kw_only=True)
class Published:
    """commit: the id that now holds the folder. changed: False where the branch did before, so that nothing was made."""

    url: str
    commit: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Local:
    """A file to publish, and how the Hub names its contents: sha256 in large storage, git's blob id otherwise."""

    path: Path
    size: int
    sha256: str
    blob: str


@dataclass(kw_only=True)
class State:
    """What is at the branch now. exists, branch: whether the repository and the branch are there. head, files: of the
    branch; where it is missing those of main, which it will begin with; None and nothing where the repository is missing.
    """

    exists: bool = False
    branch: bool = False
    head: str | None = None
    private: bool | None = None
    files: dict[str, RepoFile] = field(default_factory=dict)


def check_repo_id(repo_id: str) -> None:
    """Raises OptionError unless it is "namespace/name" as the Hub allows it."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise OptionError(f"--repo_id {repo_id!r} is no repository id: {error}") from None
    if not re.fullmatch(r"[^/]+/[^/]+", repo_id):
        raise OptionError(f"--repo_id {repo_id!r} is no repository id; expected NAMESPACE/NAME, such as user/{repo_id}")


def check_branch(name: str) -> None:
    """Raises OptionError unless git takes it as the name of a branch; a commit's id is none that can be committed to."""
    bad = next((what for pattern, what in NO_BRANCH if re.search(pattern, name)), None)
    if bad:
        raise OptionError(
            f"--revision {name!r} cannot be the name of a branch: it {bad}; expected one such as v2 or trial"
        )


def tokens_here() -> list[str]:
    """Every token that this environment holds, whether it is used or not. Asks nobody."""
    found = [os.environ.get(name, "") for name in TOKEN_VARIABLES]
    with contextlib.suppress(OSError, ValueError):
        found.append(Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8"))
    return found


def find_token(given: str | None) -> str:
    """The token that was given, of HF_TOKEN, or of the stored login. Raises PublishError where there is none."""
    found = given or get_token()
    hide(found)
    if not found:
        raise PublishError("no token: set HF_TOKEN, log in once with `hf auth login`, or pass --token")
    if not re.fullmatch(r"[\x21-\x7e]+", found):  # a header would not take it, and the error would show it
        raise OptionError("the token holds a blank or a character that no token has; copy it again")
    return found


def check_online() -> None:
    """Raises PublishError where huggingface_hub is told to reach no Hub."""
    if constants.HF_HUB_OFFLINE:
        name = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
        raise PublishError(
            f"{name} is set, so nothing can be uploaded: take it out of the environment, or stage and verify alone with "
            f"--dry_run. {NOTHING}"
        )


def look(target: Target) -> State:
    """What the repository holds, with no change to anything. Raises PublishError for a token that is not valid or may
    only read, and for a public repository where a private one was asked for."""
    check_online()
    api = _api(target)
    with told(target, "looking at the repository"):
        _check_role(target, _patiently(target, api.whoami))
        state = State()
        try:
            info = _patiently(target, lambda: api.repo_info(target.repo_id))
        except RepositoryNotFoundError:
            return state
        state.exists, state.private = True, info.private
        with contextlib.suppress(RevisionNotFoundError):
            info = _patiently(target, lambda: api.repo_info(target.repo_id, revision=target.branch))
            state.branch = True
        state.head = info.sha
        tree = _patiently(target, lambda: list(api.list_repo_tree(target.repo_id, recursive=True, revision=info.sha)))
        state.files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    if target.private and state.private is False:
        raise PublishError(
            f"{target.repo_id} exists and is public, and --private was asked for. Make it private in its settings, or "
            "choose another --repo_id"
        )
    return state


def _check_role(target: Target, who: dict[str, Any]) -> None:
    """Tokens with rights by repository have another role; what those may do is seen when they do it."""
    if ((who.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        raise PublishError(
            f"this token may not write to {target.repo_id}: it was made for reading; make one with write access. {NOTHING}"
        )


def hashed(folder: Path) -> dict[str, Local]:
    """Every file of a folder by its path in the repository."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size, large = path.stat().st_size, hashlib.sha256()
        git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                large.update(chunk)
                git.update(chunk)
        name = path.relative_to(folder).as_posix()
        found[name] = Local(path=path, size=size, sha256=large.hexdigest(), blob=git.hexdigest())
    return found


def same(local: Local, remote: RepoFile | None) -> bool:
    """Whether the Hub holds just these bytes, by its own word."""
    if remote is None or remote.size != local.size:
        return False
    return bool(remote.lfs.sha256 == local.sha256 if remote.lfs else remote.blob_id == local.blob)


def settle(target: Target, state: State, files: dict[str, Local], *, force: bool, confirm: Confirm) -> list[str]:
    """Asks before other content is replaced. Returns paths to remove with the commit. Raises PublishError on a no."""
    stale = sorted(n for n in state.files if n not in files and LOADED.fullmatch(n))
    other = sorted(n for n in files if n in state.files and not same(files[n], state.files[n]))
    unknown = sorted(n for n in state.files if n not in files and n not in stale and n != GIT_ATTRIBUTES)
    lines = [f"{n} (replaced)" for n in other] + [f"{n} (removed)" for n in stale] + [f"{n} (kept)" for n in unknown]
    if lines and (other or stale or not any(n in state.files for n in files)) and not force:
        where = target.branch if state.branch else f"main, which {target.branch} would begin with"
        question = f"{target.repo_id} ({where}) holds other content:{some(lines, 30)}\n"
        if not confirm(question + "Publish over it?"):
            raise PublishError(f"{question}{NOTHING}. --force publishes over it; another --repo_id leaves it alone")
    return stale


def upload(
    target: Target, state: State, files: dict[str, Local], stale: list[str], message: str, progress: Progress
) -> Published:
    """One commit with all files, on top of `state`; then reads it back. Raises PublishError."""
    whole = bool(state.head) and not stale and all(same(local, state.files.get(n)) for n, local in files.items())
    made: list[str] = []
    try:
        commit = state.head if whole and state.branch else None
        if commit is None:
            with told(target, "creating the repository"):
                head = _prepared(target, state, made)
            commit = head if whole else _sent(target, head, files, stale, message, progress)
        else:
            progress("already there; nothing to transfer")
    except PublishError as error:
        if not made:
            raise
        raise PublishError(f"{error}\nLeft there: {' and '.join(made)}; the same command fills it") from None
    progress("reading back")
    read_back(target, commit, files, stale)
    url = f"{_api(target).endpoint}/{target.repo_id}/tree/{commit}"
    return Published(url=url, commit=commit, changed=not (whole and state.branch))


def _prepared(target: Target, state: State, made: list[str]) -> str:
    """Makes the repository and branch that are missing, and adds to `made` what they are. Returns the head.

    Raises PublishError where it is not what `state` tells: somebody else was there meanwhile.
    """
    if state.branch and state.head:
        return state.head
    api = _api(target)
    if not state.exists:
        _patiently(target, lambda: api.create_repo(target.repo_id, private=target.private or None, exist_ok=True))
        made.append(f"the new repository {target.repo_id}, which is empty")
    if target.branch != "main":
        _patiently(
            target,
            lambda: api.create_branch(target.repo_id, branch=target.branch, revision=state.head, exist_ok=True),
        )
        made.append(f"the new branch {target.branch} of {target.repo_id}, which is as its main is")
    now = look(target)
    if now.head is None or (now.head != state.head if state.head else set(now.files) - {GIT_ATTRIBUTES}):
        raise PublishError(f"{target.repo_id} changed meanwhile; look at what is there and run the command again")
    return now.head


def _sent(
    target: Target, head: str, files: dict[str, Local], stale: list[str], message: str, progress: Progress
) -> str:
    """The commit that was made on top of `head`. Raises PublishError where none was."""
    api = _api(target)
    additions = [_addition(name, file) for name, file in files.items()]
    removals = [CommitOperationDelete(path_in_repo=name) for name in stale]
    progress(f"{len(files)} files")
    try:
        with told(target, "uploading"):
            _patiently(
                target,
                lambda: api.preupload_lfs_files(
                    target.repo_id, additions=additions, revision=target.branch, free_memory=False
                ),
            )
            _check_ignored(target, additions)
            made = _patiently(
                target,
                lambda: api.create_commit(
                    target.repo_id,
                    operations=[*additions, *removals],
                    commit_message=message,
                    revision=target.branch,
                    parent_commit=head,
                ),
                commits=True,
            )
            return str(made.oid)
    except PublishError:
        commit = _committed_all_the_same(target, head, files, stale)
        if commit is None:
            raise
        return commit


def _addition(name: str, file: Local) -> CommitOperationAdd:
    """What adds a file with the contents that were agreed on. Raises PublishError where others lie there now: the folder
    was read before it was verified. Small files are kept from here on; what is sent of large ones goes by this hash."""
    try:
        small = file.size <= SMALL
        made = CommitOperationAdd(
            path_in_repo=name, path_or_fileobj=file.path.read_bytes() if small else str(file.path)
        )
    except (OSError, ValueError) as error:  # huggingface_hub's ValueError: it is no file
        raise PublishError(
            f"{file.path}: cannot be read any more ({error}). {NOTHING}; run the command again"
        ) from None
    if made.upload_info.sha256.hex() != file.sha256:
        raise PublishError(
            f"{file.path}: its contents are no longer those that were looked at and verified; something wrote to it "
            f"meanwhile. {NOTHING}; see that nothing else uses this folder and run the command again"
        )
    return made


def _check_ignored(target: Target, additions: list[CommitOperationAdd]) -> None:
    """Raises PublishError where the repository's .gitignore matches a file, which huggingface_hub would leave out of the
    commit without a word: new code would come to lie beside old weights."""
    ignored = sorted(addition.path_in_repo for addition in additions if addition._should_ignore)
    if ignored:
        raise PublishError(
            f"the .gitignore of {target.repo_id} at {target.branch} would leave these out of the commit:{some(ignored)}\n"
            f"{NOTHING}; take the patterns that match them out of that .gitignore and run the same command again"
        )


def _committed_all_the_same(target: Target, head: str, files: dict[str, Local], stale: list[str]) -> str | None:
    """The commit whose answer was lost on the way, if it was made: a new head that holds just what was sent."""
    with contextlib.suppress(PublishError):
        state = look(target)
        whole = all(same(local, state.files.get(name)) for name, local in files.items())
        new = state.branch and state.head != head
        if new and whole and not any(name in state.files for name in stale):
            return state.head
    return None


def read_back(target: Target, commit: str, files: dict[str, Local], stale: list[str]) -> None:
    """Raises PublishError unless the commit holds every file with its hash, small files come back byte by byte, and
    loading finds nothing that is not of the folder."""
    api = _api(target)
    with told(target, f"reading back commit {commit}", f"Commit {commit} is there, but is not known to be whole"):
        tree = _patiently(target, lambda: list(api.list_repo_tree(target.repo_id, recursive=True, revision=commit)))
        remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        wrong = [f"{name}: not what was sent" for name, local in files.items() if not same(local, remote.get(name))]
        wrong += [f"{name}: still there" for name in stale if name in remote]
        beside = [name for name in remote if name not in files and name not in stale and LOADED.fullmatch(name)]
        wrong += [f"{name}: was not sent, and loading may take it" for name in beside]
        with tempfile.TemporaryDirectory(prefix="llavavit-readback-") as scratch:
            for name, local in files.items():
                if name in remote and not remote[name].lfs and not _returned(target, commit, name, local, scratch):
                    wrong.append(f"{name}: other bytes came back")
    if wrong:
        raise PublishError(
            f"{target.repo_id} at commit {commit} is not what was sent:{some(wrong)}\nTell nobody to use it: run the same "
            "command again, or go back to the commit before it in the repository's history"
        )


def _returned(target: Target, commit: str, name: str, local: Local, scratch: str) -> bool:
    file = _patiently(
        target,
        lambda: hf_hub_download(
            target.repo_id, name, revision=commit, token=target.token, endpoint=target.endpoint, cache_dir=scratch
        ),
    )
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() == local.sha256


def _api(target: Target) -> HfApi:
    return HfApi(endpoint=target.endpoint, token=target.token)


# --- what can go wrong ------------------------------------------------------------------------------------------------


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _response(error: BaseException) -> Any:
    """The Hub's answer behind an error, None where there is none."""
    found = (getattr(e, "response", None) for e in _chain(error))
    return next((r for r in found if getattr(r, "status_code", None) is not None), None)


def status(error: BaseException) -> int | None:
    """The HTTP status behind an error, its causes included."""
    response = _response(error)
    return None if response is None else int(response.status_code)


def _passes(error: Exception, commits: bool) -> bool:
    """Whether the same request may go well later. A commit that failed otherwise than with a 429 may have been made."""
    code = status(error)
    if code is not None:
        return code == 429 or (code >= 500 and not commits)
    return not commits and _on_the_way(error)


def _on_the_way(error: BaseException) -> bool:
    """Whether the connection failed, and not what it was used for."""
    roots = {type(e).__module__.partition(".")[0].rstrip("2") for e in _chain(error)}
    broken = any(
        isinstance(e, (ConnectionError, TimeoutError)) and type(e).__module__ == "builtins" for e in _chain(error)
    )
    return broken or bool(roots & CONNECTIONS)


def _patiently(target: Target, call: Callable[[], T], *, commits: bool = False) -> T:
    """`call`, again where it failed for a while: which requests a client tries again by itself differs by version."""
    for tried in range(MOST_TRIES):
        try:
            return call()
        except Exception as error:
            if tried + 1 == MOST_TRIES or not _passes(error, commits):
                raise
            response = _response(error)
            text = "" if response is None else response.headers.get("Retry-After", "")
            wait = min(float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 2.0**tried, LONGEST_WAIT)
            why = "the connection failed" if response is None else f"the Hub answered {response.status_code}"
        target.tell(f"{why}; waiting {wait:.0f} s, then try {tried + 2} of {MOST_TRIES}")
        time.sleep(wait)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def told(target: Target, doing: str, outcome: str = NOTHING) -> Iterator[None]:
    """Turns whatever the Hub or the way to it does into a PublishError that says what happened and what to do. The
    original error is not kept: it holds the request, and the request holds the token."""
    try:
        yield
    except PublishError:
        raise
    except KeyboardInterrupt:
        raise
    except Exception as error:
        reason = _reason(error, target.token)
        advice = _advice(error, target)
    else:
        return
    raise PublishError(f"{doing}: {advice} ({reason}). {outcome}.")


def _reason(error: Exception, token: str) -> str:
    """What happened, shortened once it is clean: half a token is not known as one."""
    seen: BaseException = error
    while not isinstance(seen, HfHubHTTPError) and seen.__cause__ is not None:
        seen = seen.__cause__  # "Error while uploading" says less than what is behind it
    lines = [line.strip() for line in str(seen).splitlines() if line.strip()]
    return f"{type(seen).__name__}: {scrub(' '.join(lines), token)[:MOST_WORDS]}"


def _advice(error: Exception, target: Target) -> str:
    code = status(error)
    again = "run the same command again; what is already stored there is not sent again"
    if code == 401:
        return (
            f"the Hub does not accept this token (or hides {target.repo_id} from it); make a new one with write access"
        )
    if code == 403:
        return f"this token may not write to {target.repo_id}; use one with write access, or ask its owner"
    if code == 404:
        return f"the Hub does not know {target.repo_id} at {target.branch}"
    if code in (409, 412):
        return f"{target.repo_id} changed meanwhile; look at what is there and {again}"
    if code == 429:
        return f"the Hub has had too many requests; wait, then {again}"
    if code is not None and code >= 500:
        return f"the Hub is in trouble; {again}"
    if code is not None:
        return "the Hub refused the request"
    if _on_the_way(error):
        return f"the connection failed; {again}"
    return (
        "an error that this tool does not expect; if it comes again, keep the folder with --dry_run --output_dir and "
        "upload that with `hf upload`"
    )
