# SPDX-License-Identifier: Apache-2.0
"""Publishes a trained checkpoint: load, stage, verify, upload in one commit, read back.

    python model_factory/upload_llava_vit_to_hf.py --model_name hf_llava_vit_large_ln --weight_path checkpoint.pth \
        --repo_id user/name

Exit code 0: published, or staged and verified with --dry_run; 1: stopped, with the reason; 2: wrong options.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p and Path(p).resolve() != ROOT / "model_factory")]

from cyclopts import App, CycloptsError, Parameter  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.prompt import Confirm  # noqa: E402

from model_factory.publishing import hub  # noqa: E402
from model_factory.publishing.errors import PublishError, scrub, some  # noqa: E402
from model_factory.registry import VARIANTS  # noqa: E402

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
)


class Steps:
    """Tells on standard error which step runs, what it found and how long it took."""

    def __init__(self, count: int, secrets: tuple[str | None, ...]) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.count, self.done, self.secrets = count, 0, secrets

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
        self.console.print(scrub(text, *self.secrets), style=style, markup=False)


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
        raise PublishError("--repo_id is needed, unless with --dry_run")
    if model_name not in VARIANTS:
        raise PublishError(f"there is no model {model_name!r}; registered:{some(list(VARIANTS))}")
    if repo_id is not None:
        hub.check_repo_id(repo_id)
    target = None
    if not dry_run and repo_id is not None:
        target = hub.Target(repo_id=repo_id, token=hub.find_token(token), private=private or None, revision=revision)
    steps = Steps(3 if dry_run else 5, (token, target.token if target else None, os.environ.get("HF_TOKEN")))
    with contextlib.ExitStack() as stack:
        if target is not None:
            hub.look(target)  # a token that is not valid, now and not after an hour
        if output_dir is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="llavavit-upload-"))
        folder = output_dir.absolute() if output_dir is not None else Path(scratch) / "staged"
        prepare(steps, model_name, weight_path, folder, repo_id, dtype, max_shard_size, ema, skip_verification)
        if target is None:
            steps.say(f"dry run: nothing was uploaded{f'; {folder} is what would be' if output_dir else ''}")
            return 0
        published = publish(
            steps, target, folder, commit_message or DEFAULT_MESSAGE.format(model_name=model_name), force
        )
    verb = "published" if published.changed else "already published"
    print(f"{verb}: {published.url}")
    return 0


def prepare(
    steps: Steps,
    model_name: str,
    weight_path: Path,
    folder: Path,
    repo_id: str | None,
    dtype: str | None,
    max_shard_size: str,
    ema: bool,
    skip_verification: bool,
) -> None:
    """Everything that happens on this machine: load, stage, verify."""
    with steps.step(f"load {weight_path}"):
        from model_factory.publishing import checkpoint, gate, models, staging  # torch, after options were checked

        found: Checkpoint = checkpoint.load(weight_path, ema=ema)
        for note in found.notes:
            steps.note(note)
        models.check(found, model_name)
        steps.note(f"{len(found.tensors)} entries, {found.bytes / 1e9:.2f} GB, all that {model_name} has")
        plan: Plan = staging.Plan(
            model_name=model_name,
            source=repo_id or "path/to/this/folder",
            dtype=models.published_dtype(found, dtype),
            shard=max_shard_size,
        )
        for other in found.dtypes:
            if other != plan.dtype:
                steps.note(f"weights go from {str(other).removeprefix('torch.')} to {plan.dtype_name}")
    with steps.step(f"stage {folder}"):
        for file in staging.stage(found, plan, folder, steps.note):
            steps.note(f"{file.name}: {file.stat().st_size:,} bytes")
        del found
    if skip_verification:
        with steps.step("verify: SKIPPED"):
            steps.say("WARNING: --skip_verification: nobody has shown that this folder is what was trained", "bold red")
        return
    with steps.step("verify"):
        steps.note("the code of both models, weights in generic position")
        steps.note(f"{gate.check_code(model_name)} things compared, none differs")
        request = gate.Request(
            model_name=model_name, checkpoint=weight_path, ema=ema, folder=folder, dtype=plan.dtype_name
        )
        result = gate.verify(request, steps.note)
        steps.note(
            f"equal: {result.weights} weights to the bit; {result.outputs} outputs in float64, at most "
            f"{result.worst:.2g} of what is allowed"
        )


def publish(steps: Steps, target: hub.Target, folder: Path, message: str, force: bool) -> hub.Published:
    """Everything that happens on the Hub."""

    def confirm(question: str) -> bool:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        return Confirm.ask(scrub(question, *steps.secrets), console=steps.console, default=False)

    with steps.step(f"look at {target.repo_id}"):
        files, state = hub.hashed(folder), hub.look(target)
        steps.note(f"{len(state.files)} files there" if state.head else "nothing there yet")
        stale = hub.settle(target, state, files, force=force, confirm=confirm)
    with steps.step("upload and read back"):
        return hub.upload(target, state, files, stale, message, steps.note)


def run(arguments: list[str]) -> int:
    """The whole program: options, steps, and every error as a message without tokens."""
    secrets = [os.environ.get("HF_TOKEN")]
    for index, word in enumerate(arguments):
        secrets.append(word.partition("=")[2] if word.startswith("--token=") else None)
        secrets.append(arguments[index + 1] if word == "--token" and index + 1 < len(arguments) else None)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except CycloptsError as error:
        errors.print(scrub(f"error: {error}\n--help shows the options", *secrets), markup=False, style="bold red")
        return 2
    except PublishError as error:
        errors.print(scrub(f"error: {error}", *secrets), markup=False, style="bold red")
    except KeyboardInterrupt:
        errors.print("interrupted; a repository changes in one commit or not at all", markup=False)
        return 130
    except Exception:
        errors.print(scrub(traceback.format_exc(), *secrets), markup=False)
    return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
