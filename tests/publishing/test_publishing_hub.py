# SPDX-License-Identifier: Apache-2.0
"""Uploads to a Hub on loopback: what arrives, what is sent again, and what a Hub in trouble leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_hub import Fault, File, cut, status

from model_factory.publishing import errors, hub

HERE = Path(__file__).resolve().parent


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def published(fake, folder: Path, branch: str = "main") -> bool:
    """Whether a branch holds just the folder."""
    held = fake.files("user/model", branch)
    held.pop(".gitattributes")
    return held == contents(folder)


def untouched(fake) -> bool:
    """Whether no commit was made beside the one that the Hub makes itself."""
    found = fake.repositories.get("user/model")
    return found is None or found.messages == ["initial commit"]


def test_a_folder_arrives_in_one_commit(fake, publish, folder):
    done = publish(folder)
    assert done.code == 0, done.output
    assert done.changed
    assert published(fake, folder)
    assert fake.repositories["user/model"].messages == ["initial commit", "Upload a model"]
    assert done.url == f"{fake.endpoint}/user/model/tree/{done.commit}"
    assert fake.repositories["user/model"].private is False


def test_what_is_there_already_is_not_sent_again(fake, publish, folder):
    first = publish(folder)
    sent, commits = len(fake.received), fake.count("/commit/")
    again = publish(folder)
    assert again.code == 0, again.output
    assert again.changed is False
    assert again.commit == first.commit
    assert len(fake.received) == sent
    assert fake.count("/commit/") == commits
    assert fake.count("PUT") == sent


def test_large_files_in_parts(fake, publish, folder):
    fake.multipart_above, fake.part_size = 100_000, 128_000
    assert publish(folder).code == 0
    assert published(fake, folder)
    assert fake.count(r"PUT /storage/\w+/3") == 2
    assert fake.count("/complete") == 2


def test_private_and_revision(fake, publish, folder):
    done = publish(folder, "--private", "--revision=trial")
    assert done.code == 0, done.output
    assert fake.repositories["user/model"].private
    assert published(fake, folder, "trial")
    assert set(fake.files("user/model")) == {".gitattributes"}


def test_private_is_not_published_in_public(fake, publish, folder):
    fake.add("user/model")
    done = publish(folder, "--private")
    assert done.code == 1
    assert "exists and is public" in done.error
    assert untouched(fake)


def test_a_branch_begins_with_main_and_holds_the_folder_alone(fake, publish, folder):
    """Its first content is main's: that is asked about, and what loading would mix in is removed."""
    old = {"model.safetensors": b"old weights", "train.py": b"import os\n", "notes.txt": b"keep me"}
    fake.add("user/model", old)
    done = publish(folder, "--revision=v2")
    assert done.code == 1
    assert "user/model (main, which v2 would begin with) holds other content" in done.error
    for line in ("model.safetensors (removed)", "train.py (removed)", "notes.txt (kept)", "--force"):
        assert line in done.error
    assert set(fake.repositories["user/model"].branches) == {"main"}

    forced = publish(folder, "--revision=v2", "--force")
    assert forced.code == 0, forced.output
    held = fake.files("user/model", "v2")
    assert held.pop(".gitattributes")
    assert held == {**contents(folder), "notes.txt": b"keep me"}
    assert old.items() <= fake.files("user/model").items(), "main is as it was"


def test_a_branch_of_what_main_holds_needs_no_commit(fake, publish, folder):
    first = publish(folder)
    sent, commits = len(fake.received), fake.count("/commit/")
    done = publish(folder, "--revision=v2")
    assert (done.code, done.changed, done.commit) == (0, True, first.commit), done.output
    assert published(fake, folder, "v2")
    assert (len(fake.received), fake.count("/commit/")) == (sent, commits)
    assert publish(folder, "--revision=v2").changed is False


def test_a_branch_that_somebody_makes_meanwhile(fake, publish, folder):
    found = fake.add("user/model")

    def somebody(handler):
        files = dict(found.commits[found.branches["main"]])
        found.branches["v2"] = found.branches["main"]
        found.commit("v2", {**files, "config.json": File(b"{}", lfs=False)}, "somebody else")
        handler.fail(409, "Reference already exists")

    fake.faults.append(Fault("POST .*/branch/", somebody))
    done = publish(folder, "--revision=v2")
    assert done.code == 1
    assert "user/model changed meanwhile" in done.error
    assert fake.files("user/model", "v2")["config.json"] == b"{}"
    assert fake.count("/commit/") == 0


def test_private_is_not_published_in_a_branch_of_a_public_repository(fake, publish, folder):
    fake.add("user/model")
    done = publish(folder, "--private", "--revision=v2")
    assert done.code == 1
    assert "exists and is public" in done.error
    assert set(fake.repositories["user/model"].branches) == {"main"}


# --- what is there already --------------------------------------------------------------------------------------------


def test_other_content_needs_force(fake, publish, folder):
    old = {"model.safetensors": b"old weights", "README.md": b"# Mine\n", "notes.txt": b"keep me"}
    fake.add("user/model", old)
    done = publish(folder)
    assert done.code == 1
    for line in ("README.md (replaced)", "model.safetensors (removed)", "notes.txt (kept)", "--force"):
        assert line in done.error
    assert fake.files("user/model")["README.md"] == b"# Mine\n"
    assert fake.count("PUT") == 0

    forced = publish(folder, "--force")
    assert forced.code == 0, forced.output
    held = fake.files("user/model")
    assert "model.safetensors" not in held, "weights of before would be loaded beside or instead of the new ones"
    assert held["notes.txt"] == b"keep me"
    assert all(held[name] == data for name, data in contents(folder).items())
    assert fake.repositories["user/model"].messages == ["initial commit", "first files", "Upload a model"]


def test_what_leads_loading_to_other_weights_is_removed(fake, publish, folder):
    """Where peft is installed, AutoModel follows adapter_config.json to the model that it names."""
    old = {"adapter_config.json": b'{"base_model_name_or_path": "somebody/else"}', "adapter_model.safetensors": b"old"}
    fake.add("user/model", old)
    done = publish(folder)
    assert done.code == 1
    assert all(f"{name} (removed)" in done.error for name in old)
    assert publish(folder, "--force").code == 0
    assert not old.keys() & fake.files("user/model").keys()


def test_a_repository_with_only_other_files_needs_force(fake, publish, folder):
    fake.add("user/model", {"thesis.txt": b"something else"})
    done = publish(folder)
    assert done.code == 1
    assert "thesis.txt (kept)" in done.error
    assert set(fake.files("user/model")) == {".gitattributes", "thesis.txt"}


@pytest.mark.parametrize("pattern", ["*.safetensors", "README.md"])
def test_files_that_the_repository_ignores_stop_the_commit(fake, publish, folder, pattern):
    """huggingface_hub leaves them out without a word: new code and configuration would lie beside old weights."""
    old = {".gitignore": f"*.log\n{pattern}\n".encode(), "config.json": b"{}"}
    fake.add("user/model", old)
    done = publish(folder, "--force")
    assert done.code == 1
    assert "the .gitignore of user/model at main would leave these out of the commit" in done.error
    matched = {file.name for file in folder.glob(pattern)}
    assert matched
    assert all((f"\n  {name}" in done.error) == (name in matched) for name in contents(folder))
    assert "Nothing was published; take the patterns that match them out of that .gitignore" in done.error
    assert fake.repositories["user/model"].messages == ["initial commit", "first files"]

    fake.repositories["user/model"].commit("main", {}, "no .gitignore")
    assert publish(folder, "--force").code == 0


def test_a_commit_by_somebody_else_meanwhile(fake, publish, folder):
    """It comes after the look at the repository and before the commit."""
    found = fake.add("user/model")

    def somebody(handler):
        files = dict(found.commits[found.branches["main"]])
        found.commit("main", {**files, "config.json": File(b"{}", lfs=False)}, "somebody else")
        handler.fail(503, "busy")  # the client tries again

    fake.faults.append(Fault("POST .*/preupload/", somebody))
    done = publish(folder)
    assert done.code == 1
    assert "changed meanwhile" in done.error
    assert "Nothing was published" in done.error
    assert found.messages == ["initial commit", "somebody else"]
    assert fake.files("user/model")["config.json"] == b"{}"


CHANGED = """
import sys
from pathlib import Path

sys.path.insert(0, {root!r})
from model_factory import upload_llava_vit_to_hf as tool
from model_factory.publishing import hub
from model_factory.publishing.errors import PublishError

steps, target = tool.Steps(2), hub.Target(repo_id="user/model", token=hub.find_token(None))
agreed = tool.look(steps, target, Path(sys.argv[1]), False)
changed = Path(sys.argv[1], sys.argv[2])
{change}
try:
    tool.send(steps, target, agreed, "Upload a model")
except PublishError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "config.json"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("changed.write_bytes(changed.read_bytes()[:-1] + b'!')", "no longer those that were looked at and verified"),
        ("changed.unlink()", "cannot be read any more"),
    ],
    ids=["other bytes", "gone"],
)
def test_what_changes_after_it_was_agreed_on_is_not_sent(fake, command, folder, name, change, words):
    """By another run in the same folder, say. Nothing of it goes to the Hub, large or small."""
    script = CHANGED.format(root=str(HERE.parents[1]), change=change)
    done = command(sys.executable, "-c", script, folder, name)
    assert done.returncode == 1, done.stderr
    assert f"{name}: " in done.stdout
    assert words in done.stdout
    assert "Nothing was published" in done.stdout
    assert untouched(fake)
    assert fake.received == []


# --- a Hub in trouble, and the way to it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "fault", "advice"),
    [
        ("GET /api/whoami", status(401), "does not accept this token"),
        ("POST /api/repos/create", status(403), "may not write to user/model"),
        ("POST .*/preupload/", status(401), "does not accept this token"),
        ("POST .*/preupload/", status(403), "may not write to user/model"),
        ("POST .*/objects/batch", status(401), "does not accept this token"),
        ("POST .*/objects/batch", status(403), "may not write to user/model"),
        ("POST .*/commit/", status(401), "does not accept this token"),
        ("POST .*/commit/", status(403), "may not write to user/model"),
        ("POST .*/commit/", status(409), "changed meanwhile"),
        ("POST .*/commit/", status(412), "changed meanwhile"),
        ("POST .*/commit/", status(500), "the Hub is in trouble"),
        ("POST .*/commit/", status(503), "the Hub is in trouble"),
        ("POST .*/commit/", cut, "the connection failed"),
        ("PUT /storage/", status(400), "the Hub refused the request"),
        ("POST .*/commit/", lambda handler: handler.json([]), "an error that this tool does not expect"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_trouble_publishes_nothing(fake, publish, folder, request_, fault, advice):
    fake.faults.append(Fault(request_, fault, times=10**6))
    done = publish(folder)
    assert done.code == 1
    assert advice in done.error, done.error
    assert "Nothing was published" in done.error
    assert untouched(fake)
    assert fake.writer not in done.output
    left = "Left there: the new repository user/model, which is empty; the same command fills it"
    assert (left in done.error) == ("user/model" in fake.repositories)


def test_trouble_in_a_new_branch_tells_what_it_left(fake, publish, folder):
    fake.add("user/model")
    fake.faults.append(Fault("POST .*/commit/", status(403)))
    done = publish(folder, "--revision=v2")
    assert done.code == 1
    assert "Left there: the new branch v2 of user/model, which is as its main is; the same" in done.error


@pytest.mark.parametrize("fault", [status(500), status(503), status(429, Retry_After="0"), cut])
@pytest.mark.parametrize(
    "request_", ["POST .*/preupload/", "POST .*/objects/batch", "PUT /storage/", "GET .*/tree/", "GET .*/resolve/"]
)
def test_trouble_that_passes_is_waited_for(fake, publish, folder, request_, fault):
    fake.faults.append(Fault(request_, fault))
    done = publish(folder)
    assert done.code == 0, done.output
    assert published(fake, folder)
    assert fake.faults[0].times == 0


def test_waiting_is_told(fake, publish, folder):
    fake.faults.append(Fault("POST .*/commit/", status(429, Retry_After="1")))
    done = publish(folder)
    assert done.code == 0, done.output
    assert "the Hub answered 429; waiting 1 s, then try 2 of 4" in done.output


def test_too_many_requests_at_the_commit(fake, publish, folder):
    """No client repeats a commit by itself; one that got a 429 was not made."""
    fake.faults.append(Fault("POST .*/commit/", status(429, Retry_After="0"), times=2))
    done = publish(folder)
    assert done.code == 0, done.output
    assert published(fake, folder)
    assert fake.repositories["user/model"].messages == ["initial commit", "Upload a model"]


def test_too_many_requests_for_ever(fake, publish, folder):
    fake.faults.append(Fault("POST .*/commit/", status(429, Retry_After="0"), times=10**6))
    done = publish(folder)
    assert done.code == 1
    assert "too many requests" in done.error
    assert untouched(fake)


def test_an_upload_that_was_killed_goes_on_where_it_was(fake, publish, folder, variables):
    """The first large file arrives, then the client is killed. The second run sends only the other one."""
    waiting: list[str] = []

    def hang(handler):
        waiting.append(handler.path)
        time.sleep(600)

    fake.faults.append(Fault("PUT /storage/", hang, skip=1, times=10**6))
    program = [sys.executable, str(HERE / "publish_folder.py"), str(folder), "user/model"]
    running = subprocess.Popen(
        program, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (waiting and fake.received) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert waiting
        assert len(fake.received) == 1
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert untouched(fake)

    fake.faults.clear()
    done = publish(folder)
    assert done.code == 0, done.output
    assert published(fake, folder)
    sent = [oid for oid, _ in fake.received]
    assert len(sent) == len(set(sent)) == 2, "each large file was sent once"


def test_a_commit_whose_answer_is_lost_counts(fake, publish, folder):
    """The commit is made and the connection closes before the answer: what is there decides."""

    def lost(handler):
        handler.body = handler.read_body()
        handler.wfile, real = open(os.devnull, "wb"), handler.wfile  # noqa: SIM115
        repo, revision = re.search(r"/api/models/(.+)/commit/(\w+)", handler.path).groups()
        handler.on_commit(repo, revision)
        handler.wfile.close()
        handler.wfile = real
        handler.close_connection = True
        handler.connection.close()

    fake.faults.append(Fault("POST .*/commit/", lost))
    done = publish(folder)
    assert done.code == 0, done.output
    assert published(fake, folder)
    assert fake.repositories["user/model"].messages == ["initial commit", "Upload a model"]


@pytest.mark.parametrize(
    ("request_", "fault", "advice"),
    [
        ("GET .*/tree/", status(500, Retry_After="0"), "the Hub is in trouble"),
        ("GET .*/resolve/", status(401), "does not accept this token"),
        ("GET .*/resolve/", status(503, Retry_After="0"), "the Hub is in trouble"),
        ("GET .*/resolve/", cut, "the connection failed"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_trouble_in_reading_back_does_not_say_that_nothing_was_published(
    fake, publish, folder, request_, fault, advice
):
    """The commit is made by then."""
    known = fake.add("user/model", {"config.json": (folder / "config.json").read_bytes()})
    fake.faults.append(Fault("POST .*/commit/", lambda handler: arm(handler)))

    def arm(handler):
        handler.body = handler.read_body()
        fake.faults.append(Fault(request_, fault, times=10**6))
        handler.on_commit("user/model", "main")

    done = publish(folder)
    assert done.code == 1
    assert advice in done.error, done.error
    assert f"Commit {known.branches['main']} is there, but is not known to be whole" in done.error
    assert "Nothing was published" not in done.error
    assert published(fake, folder)
    fake.faults.clear()
    assert publish(folder).changed is False, "the same command reads it back"


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "config.json"])
def test_a_hub_that_holds_other_bytes_is_told(fake, publish, folder, name):
    """Of the same size, so that only the hash tells."""
    fake.corrupt = lambda path, file: File(file.data[:-1] + b"!", file.lfs) if path == name else file
    done = publish(folder)
    assert done.code == 1
    assert f"{name}: not what was sent" in done.error
    assert "Tell nobody to use it" in done.error


def test_what_loading_would_mix_in_is_told(fake, publish, folder):
    """Somebody puts a file there whose commit the Hub does not count as one."""

    def slipped(handler):
        handler.body = handler.read_body()
        found = fake.repositories["user/model"]
        found.commits[found.branches["main"]]["model.safetensors"] = File(b"old", lfs=True)
        handler.on_commit("user/model", "main")

    fake.faults.append(Fault("POST .*/commit/", slipped))
    done = publish(folder)
    assert done.code == 1
    assert "model.safetensors: was not sent, and loading may take it" in done.error


@pytest.mark.parametrize("again", [False, True])
def test_a_hub_whose_hashes_are_right_and_bytes_are_not(fake, publish, folder, again):
    """Also where nothing had to be sent."""
    real = "config.json"
    if again:
        assert publish(folder).code == 0

    def spoiled(handler):
        handler.body = handler.read_body()
        right = (folder / real).read_bytes()
        found = fake.repositories["user/model"]
        blob = File(right, lfs=False).blob
        handler.ranged(b"!" + right[1:], X_Repo_Commit=found.branches["main"], ETag=f'"{blob}"')

    fake.faults.append(Fault(f"GET .*/resolve/.*/{real}", spoiled, times=10**6))
    done = publish(folder)
    assert done.code == 1
    assert f"{real}: other bytes came back" in done.error


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_that_may_only_read(fake, publish, folder):
    done = publish(folder, HF_TOKEN=fake.reader)
    assert done.code == 1
    assert "may not write to user/model: it was made for reading" in done.error
    assert fake.reader not in done.output
    assert fake.repositories == {}


def test_a_token_of_somebody_else(fake, publish, folder):
    """The Hub's answer echoes it; the client's error and the tool's message come from that answer."""
    done = publish(folder, HF_TOKEN=fake.stranger)
    assert done.code == 1
    assert "The token [token] may not write" in done.error
    assert fake.stranger not in done.output
    assert fake.repositories == {}


def test_a_token_that_is_not_valid_is_not_shown(fake, publish, folder):
    secret = "hf_" + "x" * 34
    done = publish(folder, HF_TOKEN=secret)
    assert done.code == 1
    assert "does not accept this token" in done.error
    assert secret not in done.output


@pytest.mark.parametrize("before", range(440, 520, 3))
def test_half_a_token_is_not_shown(before):
    """A long answer of the Hub that echoes it is shortened; what is left of the token there would not be known as one."""
    target = hub.Target(repo_id="user/model", token="hf_" + "t" * 34)
    with pytest.raises(errors.PublishError) as caught, hub.told(target, "uploading"):
        raise RuntimeError("." * before + target.token)
    assert "tt" not in str(caught.value)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline(fake, publish, folder, name):
    done = publish(folder, **{name: "1"})
    assert done.code == 1
    assert f"{name} is set, so nothing can be uploaded: take it out of the environment" in done.error
    assert "--dry_run" in done.error
    assert fake.requests == []


def test_no_token(fake, publish, folder, variables):
    done = publish(folder, HF_TOKEN="")
    assert done.code == 1
    for way in ("HF_TOKEN", "hf auth login", "--token"):
        assert way in done.error
    assert fake.requests == []


def test_the_stored_login_is_found(fake, publish, folder, variables):
    home = Path(variables["HF_HOME"])
    home.mkdir()
    (home / "token").write_text(fake.writer)
    assert publish(folder, HF_TOKEN="").code == 0
    assert published(fake, folder)
