# SPDX-License-Identifier: Apache-2.0
"""Publishes a trained checkpoint: load, stage, verify, upload in one commit, read back.

    python model_factory/upload_llava_vit_to_hf.py --model_name hf_llava_vit_large_ln --weight_path checkpoint.pth \
        --repo_id user/name

Exit code 0: published, or staged and verified with --dry_run; 1: stopped, with the reason; 2: wrong options; 130: Ctrl-C;
143: SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p and Path(p).resolve() != ROOT / "model_factory")]

os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # large files go by LFS, which the tests know; 0 takes Xet

from cyclopts import App, CycloptsError, Parameter  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.prompt import Confirm  # noqa: E402
from rich.text import Text  # noqa: E402

from model_factory.publishing import hub  # noqa: E402
from model_factory.publishing.errors import OptionError, PublishError, hide, scrub, some  # noqa: E402
from model_factory.registry import VARIANTS  # noqa: E402
from verify import interrupt  # noqa: E402

if TYPE_CHECKING:
    from model_factory.publishing.checkpoint import Checkpoint
    from model_factory.publishing.staging import Plan

DEFAULT_MESSAGE = "Upload {model_name}"

app = App(
    name="upload_llava_vit_to_hf.py",
    help="Publishes a trained LlavaViT checkpoint on the Hugging Face Hub, if it is proven to be what was trained.",
    help_epilogue="The token is taken from --token, HF_TOKEN or the stored login, in this order. On a command line, other "
    "users of the machine can see it: prefer HF_TOKEN or `hf auth login`.",
    default_parameter=Parameter(name_transform=lambda name: name, negative=""),
    version_flags=[],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


class Steps:
    """Tells on standard error which step runs, what it found and how long it took."""

    def __init__(self, count: int) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self.count, self.done = count, 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.done += 1
        self.say(f"[{self.done}/{self.count}] {title}", style="bold")
        started = time.perf_counter()
        yield
        self.note(f"done in {time.perf_counter() - started:.1f} s")

    def note(self, text: str) -> None:
        self.say(f"      {text}")

    def say(self, text: str, style: str | None = None) -> None:
        self.console.print(scrub(text), style=style, markup=False)


@app.default
def main(
    *,
    model_name: str,
    weight_path: Path,
    repo_id: str | None = None,
    token: str | None = None,
    private: bool = False,
    output_dir: Path | None = None,
    dry_run: bool = False,
    commit_message: str | None = None,
    revision: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] | None = None,
    max_shard_size: str = "2GB",
    ema: bool = False,
    force: bool = False,
    skip_verification: bool = False,
) -> int:
    """Load a checkpoint, stage it as a folder that anyone can load, verify that folder, upload it, read it back.

    Parameters
    ----------
    model_name
        Registered name of the variant, such as hf_llava_vit_large_ln.
    weight_path
        Checkpoint: .pth, .pt, .bin or .safetensors, the index of a sharded one, or a folder with either. Nothing in it is
        executed.
    repo_id
        Repository to publish to, as NAMESPACE/NAME. Made if it does not exist. Not needed with --dry_run.
    token
        Hub token with write access. Default: HF_TOKEN, else the stored login.
    private
        Make the repository private. Stops if it exists and is public.
    output_dir
        Folder to stage in, which is kept. Default: a temporary one, removed at the end.
    dry_run
        Stage and verify, upload nothing. Needs no token and no network.
    commit_message
        Default: "Upload MODEL_NAME".
    revision
        Branch to commit to. Made if it does not exist. Default: main.
    dtype
        Store weights in this type. Default: the checkpoint's own.
    max_shard_size
        Largest weight file, such as 2GB or 500MB.
    ema
        Take the averaged weights of a checkpoint that also has others.
    force
        Publish over other content in the repository without asking.
    skip_verification
        Publish without proof that the folder is what was trained. For emergencies.
    """
    if not dry_run and repo_id is None:
        raise OptionError("--repo_id is needed, unless with --dry_run")
    if model_name not in VARIANTS:
        raise OptionError(f"there is no model {model_name!r}; registered:{some(list(VARIANTS))}")
    if repo_id is not None:
        hub.check_repo_id(repo_id)
    if revision is not None:
        hub.check_branch(revision)
    from model_factory.publishing import staging  # torch, after what is quick to check

    job = Job(
        model_name=model_name,
        weights=weight_path.absolute(),
        ema=ema,
        repo_id=repo_id,
        revision=None if revision == "main" else revision,
        dtype=dtype,
        shard=staging.shard_size(max_shard_size),
        kept=output_dir.resolve() if output_dir is not None else None,
        verified=not skip_verification,
    )
    if job.kept is not None:
        check_places(job, job.kept)
    steps = Steps(3 if dry_run else 5)
    target = None
    if not dry_run and repo_id is not None:
        target = hub.Target(
            repo_id=repo_id, token=hub.find_token(token), private=private or None, revision=revision, tell=steps.note
        )
        hub.look(target)  # a token that is not valid, now and not after an hour
    published = go(steps, job, target, commit_message or DEFAULT_MESSAGE.format(model_name=model_name), force)
    if published is None:
        place = f"; {job.kept} is what would be" if job.kept else ""
        steps.say(f"dry run: nothing was uploaded{place}")
        if job.kept and repo_id is None:
            steps.note("its card names no repository; --repo_id says which to name")
    else:
        print(f"{'published' if published.changed else 'already published'}: {published.url}")
    return 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is staged, and where. kept: the folder of --output_dir; None for a temporary one. revision: None for main."""

    model_name: str
    weights: Path
    ema: bool
    repo_id: str | None
    revision: str | None
    dtype: str | None
    shard: int
    kept: Path | None
    verified: bool


def check_places(job: Job, kept: Path) -> None:
    """Raises OptionError where a folder cannot be written, or holds the checkpoint: that would be replaced by what is
    made of it, and then compared with itself."""
    from model_factory.publishing import checkpoint, staging

    ways = {job.weights.resolve()}
    with contextlib.suppress(PublishError):  # of the checkpoint, which loading tells
        ways |= checkpoint.ways(job.weights)
    for folder in places(job, kept):
        inside = sorted(str(way) for way in ways if way.is_relative_to(folder))
        if inside:
            raise OptionError(
                f"--output_dir {kept}: the checkpoint is there, and {folder} will be replaced; name another folder:"
                f"{some(inside, 5)}"
            )
        staging.check_place(folder)


def places(job: Job, kept: Path) -> list[Path]:
    """Every folder that a run writes."""
    return [kept, unverified(kept)] if job.verified else [kept]


def unverified(folder: Path) -> Path:
    """Where a folder is until it is verified: one that is not must not look like one to publish."""
    return folder.with_name(f"{folder.name}-unverified")


def go(steps: Steps, job: Job, target: hub.Target | None, message: str, force: bool) -> hub.Published | None:
    """All steps; with no target those that touch no network, and None."""
    from model_factory.publishing import staging

    with contextlib.ExitStack() as stack:
        if job.kept is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="llavavit-upload-"))
        for place in places(job, job.kept) if job.kept else []:
            stack.enter_context(staging.locked(place))
        last = job.kept or Path(scratch) / "staged"
        fresh = unverified(last) if job.verified else last
        plan = stage(steps, job, fresh)
        try:
            agreed = look(steps, target, fresh, force) if target else None
            verify(steps, job, fresh, plan.dtype_name)
        except PublishError as error:
            if job.kept is None or not job.verified:
                raise
            raise PublishError(
                f"{error}\n{fresh} is what was staged, to look at: not verified, so not to publish"
            ) from None
        if fresh != last:
            try:
                staging.replace(last, fresh)
            except PublishError as error:
                raise PublishError(f"{error}\n{fresh} is what was staged and verified") from None
        return send(steps, target, replace(agreed, folder=last), message) if target and agreed else None


def stage(steps: Steps, job: Job, folder: Path) -> Plan:
    """Reads the checkpoint and writes the folder. Returns how."""
    with steps.step(f"load {job.weights}"):
        from model_factory.publishing import checkpoint, models, staging

        found: Checkpoint = checkpoint.load(job.weights, ema=job.ema)
        for note in found.notes:
            steps.note(note)
        models.check(found, job.model_name)
        steps.note(f"{len(found.tensors)} entries, {found.bytes / 1e9:.2f} GB, all that {job.model_name} has")
        plan: Plan = staging.Plan(
            model_name=job.model_name,
            source=job.repo_id or "path/to/this/folder",
            revision=job.revision if job.repo_id else None,
            dtype=models.published_dtype(found, job.dtype),
            shard=job.shard,
        )
        for other in found.dtypes:
            if other != plan.dtype:
                steps.note(f"weights go from {str(other).removeprefix('torch.')} to {plan.dtype_name}")
    with steps.step(f"stage {folder}"):
        for file in staging.stage(found, plan, folder, steps.note):
            steps.note(f"{file.name}: {file.stat().st_size:,} bytes")
    return plan


def verify(steps: Steps, job: Job, folder: Path, dtype: str) -> None:
    """Raises PublishError unless the folder is what was trained."""
    if not job.verified:
        with steps.step("verify: SKIPPED"):
            steps.say("WARNING: --skip_verification: nobody has shown that this folder is what was trained", "bold red")
        return
    with steps.step("verify"):
        from model_factory.publishing import gate

        steps.note("the code of both models, weights in generic position")
        steps.note(f"{gate.check_code(job.model_name)} things compared, none differs")
        request = gate.Request(
            model_name=job.model_name, checkpoint=job.weights, ema=job.ema, folder=folder, dtype=dtype
        )
        result = gate.verify(request, steps.note)
        steps.note(
            f"equal: {result.weights} weights to the bit; {result.outputs} outputs in float64, at most "
            f"{result.worst:.2g} of what is allowed"
        )


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What goes to the Hub: the files of a folder, on top of a state, and what is removed with them."""

    folder: Path
    files: dict[str, hub.Local]
    state: hub.State
    stale: list[str]


def look(steps: Steps, target: hub.Target, folder: Path, force: bool) -> Agreed:
    """What is at the Hub; asks whether other content there may be replaced. Raises PublishError where not."""

    def confirm(question: str) -> bool:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        return Confirm.ask(Text(scrub(question)), console=steps.console, default=False)  # names of files are no markup

    with steps.step(f"look at {target.repo_id}"):
        files, state = hub.hashed(folder), hub.look(target)
        steps.note(f"{len(state.files)} files there" if state.head else "nothing there yet")
        if state.head and not state.branch:
            steps.note(f"no branch {target.branch} yet; it begins with what main holds")
        stale = hub.settle(target, state, files, force=force, confirm=confirm)
    return Agreed(folder=folder, files=files, state=state, stale=stale)


def send(steps: Steps, target: hub.Target, agreed: Agreed, message: str) -> hub.Published:
    """Uploads what was agreed on, from where the folder is now, and reads it back."""
    files = {name: replace(file, path=agreed.folder / name) for name, file in agreed.files.items()}
    with steps.step("upload and read back"):
        return hub.upload(target, agreed.state, files, agreed.stale, message, steps.note)


def run(arguments: list[str]) -> int:
    """The whole program: options, steps, and every error as a message without tokens."""
    hide(*hub.tokens_here())
    for index, word in enumerate(arguments):
        hide(word.partition("=")[2] if word.startswith("--token=") else None)
        hide(arguments[index + 1] if word == "--token" and index + 1 < len(arguments) else None)
    errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    try:
        return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except (CycloptsError, OptionError) as error:
        errors.print(scrub(f"error: {error}\n--help shows the options"), markup=False, style="bold red")
        return 2
    except PublishError as error:
        errors.print(scrub(f"error: {error}"), markup=False, style="bold red")
    except KeyboardInterrupt as stopped:
        what, code = interrupt.describe(stopped)
        errors.print(
            f"{what}; a repository changes in one commit or not at all. One that was new may be there, empty",
            markup=False,
        )
        return code
    except Exception:
        errors.print(scrub(traceback.format_exc()), markup=False)
    return 1


if __name__ == "__main__":
    interrupt.heed_termination()
    sys.exit(run(sys.argv[1:]))
