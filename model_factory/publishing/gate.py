# SPDX-License-Identifier: Apache-2.0
"""The gate: nothing is published that differs from what was trained.

Two questions. Is the published code the trained code, on weights in generic position? `llavavit-verify` answers that.
And does the staged folder, loaded as anyone will load it, hold the trained weights and compute what the training model
computes with them? That is answered here: the checkpoint in the training model against the folder through AutoModel, one
fresh process after the other, every weight to the bit, every output in float64. How far outputs may lie apart is a
multiple of what the training model's own do when its inputs and weights move by one unit in the last place.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from verify import cases, interrupt, side, spec
from verify import run as verifier
from verify.compare import gap, ulps
from verify.report import Report, Verdict
from verify.spec import Spec
from verify.tolerance import FLOAT32_EPS, from_response

from .errors import PublishError, scrub, some

ROOT = Path(__file__).resolve().parents[2]
CASES = ("image", "video-5-frames", "visible-per-row", "hidden-states-attentions")
"""Of the preset's, one of each kind of input, in the variant's own width and depth."""
CODE_DEPTH = 2
TERMINATED = 128 + signal.SIGTERM
SEED = 0

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is compared. checkpoint and ema: as in `checkpoint.load`. dtype: as published, such as "float32"."""

    model_name: str
    checkpoint: Path
    ema: bool
    folder: Path
    dtype: str


@dataclass(kw_only=True)
class Verified:
    """What was compared and how near it was. worst: largest difference over what is allowed, of `outputs` outputs.
    memory: most bytes that one of the two processes held."""

    weights: int = 0
    outputs: int = 0
    worst: float = 0.0
    where: str = ""
    memory: int = 0
    differences: list[str] = field(default_factory=list)


def check_code(model_name: str) -> int:
    """Runs every check of llavavit-verify on the variant with two layers. Returns how much it compared; PublishError
    unless equal."""
    variant = model_name.removeprefix("hf_llava_vit_").removesuffix("_ln")
    options = verifier.Options(variants=(variant,), depth=CODE_DEPTH, seed=SEED)
    try:
        report = verifier.run(spec.load(spec.PRESET), ROOT, options)
    except verifier.Interrupted as stopped:  # which keeps a report that nobody here would read
        raise (interrupt.Terminated if stopped.exit_code == TERMINATED else KeyboardInterrupt) from None
    if report.verdict != Verdict.EQUAL:
        apart, undecided = (_findings(report, verdict) for verdict in (Verdict.DIFFERENT, Verdict.ERROR))
        parts = [f"llavavit/ and the training model are not the same:{some(apart, 20)}"] if apart else []
        if undecided or not apart:
            told = some(undecided, 20) or f" {report.verdict.value}"
            parts.append(f"whether llavavit/ and the training model are the same could not be decided:{told}")
        command = f"llavavit-verify --variant {variant} --depth {CODE_DEPTH} --seed {SEED}"
        raise PublishError("\n".join([*parts, f"Nothing is published; `{command}` tells more"]))
    return sum(check.compared for check in report.checks)


def _findings(report: Report, verdict: Verdict) -> list[str]:
    """What a report found with this verdict; notes are neither differences nor doubts."""
    found = (f for f in report.findings if f.verdict == verdict)
    return [f"{f.check} {f.case} {f.subject}: {f.message}".replace("  ", " ") for f in found]


def verify(request: Request, progress: Progress = lambda what: None) -> Verified:
    """Compares the staged folder with the checkpoint. Raises PublishError where they differ, or it cannot be decided."""
    with tempfile.TemporaryDirectory(prefix="llavavit-gate-") as name:
        scratch = Path(name)
        asked = prepared(request, scratch)
        progress("the training model")
        reference = ask("reference", request, asked, scratch)
        progress("the staged folder through AutoModel")
        return compare(reference, ask("candidate", request, asked, scratch), asked, scratch)


def compare(reference: dict[str, Any], candidate: dict[str, Any], asked: Iterable[str], scratch: Path) -> Verified:
    """The answers of both sides, and what they left in `scratch`. Raises PublishError unless all of it is equal."""
    found = Verified(memory=max(reference["memory"], candidate["memory"]))
    _compare_weights(reference, candidate, found)
    _compare_buffers(scratch, found)
    for case in asked:
        _compare_case(case, scratch, found)
    if found.differences:
        shown = some(found.differences, 40)
        raise PublishError(f"what is staged is not what was trained; nothing is published:{shown}")
    if not (found.weights and found.outputs):
        raise PublishError("nothing was compared, so nothing is published")
    return found


def _preset(model_name: str) -> tuple[Spec, dict[str, Any]]:
    loaded = spec.load(spec.PRESET)
    return loaded, dict(loaded.variants[model_name.removeprefix("hf_llava_vit_").removesuffix("_ln")])


def prepared(request: Request, scratch: Path) -> dict[str, Any]:
    """The cases' inputs, drawn once and written for both sides."""
    loaded, values = _preset(request.model_name)
    asked = {}
    for name in CASES:
        case, file = loaded.cases[name], scratch / f"{name}.inputs.safetensors"
        cases.write_inputs(cases.draw_inputs(case, name, values, SEED), file)
        asked[name] = {"inputs": str(file), "arguments": case.arguments}
    return asked


def ask(role: str, request: Request, asked: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Runs one side: offline, without tokens, with empty caches of its own."""
    source = request.checkpoint if role == "reference" else request.folder
    out, home = scratch / role, scratch / f"{role}-home"
    out.mkdir()
    home.mkdir()
    told = {
        "role": role,
        "model_name": request.model_name,
        "dtype": request.dtype,
        "source": str(source.resolve()),
        "ema": request.ema,
        "cases": asked,
        "out": str(out),
        "buffers": str(scratch / "reference" / "buffers.safetensors"),
        "threads": side.cpus(),
    }
    file = scratch / f"{role}.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    environment = side.environment(str(home))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "model_factory.publishing.side", str(file)]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    answer = out / "answer.json"
    if done.returncode or not answer.is_file():
        what = "the checkpoint in the training model" if role == "reference" else "the staged folder through AutoModel"
        tail = "\n".join(scrub(done.stderr).strip().splitlines()[-12:])
        if done.returncode == -signal.SIGKILL:
            raise PublishError(
                f"{what} cannot be run: the process was killed, most likely because memory ran out; free some and run the "
                f"command again. Nothing is published\n{tail}".rstrip()
            )
        raise PublishError(f"{what} cannot be run (exit code {done.returncode}), so nothing is published:\n{tail}")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _compare_weights(reference: dict[str, Any], candidate: dict[str, Any], found: Verified) -> None:
    left, right = reference["digests"], candidate["digests"]
    found.weights = len(left)
    for name in [*left, *(n for n in right if n not in left)]:
        if left.get(name) != right.get(name):
            what = "missing" if name not in right else "not in the checkpoint" if name not in left else "other values"
            found.differences.append(f"weight {name}: {what}")
    for key, names in candidate["missing"].items():
        found.differences += [f"loading tells of {key}: {name}" for name in names]
    if not candidate["remote"]:
        found.differences.append(f"AutoModel took {candidate['class']} from elsewhere than the staged code")


def _compare_buffers(scratch: Path, found: Verified) -> None:
    allowed = spec.load(spec.PRESET).tolerance.buffer_ulps
    left, right = (load_file(scratch / role / "buffers.safetensors") for role in ("reference", "candidate"))
    for name in sorted(left.keys() | right.keys()):
        a, b = left.get(name), right.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            found.differences.append(f"buffer {name}: not the same in kind")
        elif a.size and not (ulps(a, b, FLOAT32_EPS).max() <= allowed):
            found.differences.append(f"buffer {name}: values differ by more than {allowed} units in the last place")


def _compare_case(name: str, scratch: Path, found: Verified) -> None:
    """Every output of one case."""
    left, noise = (load_file(scratch / "reference" / f"{name}{kind}.safetensors") for kind in ("", ".noise"))
    right = load_file(scratch / "candidate" / f"{name}.safetensors")
    if not left:
        found.differences.append(f"{name}: the training model has no output")
    for path in sorted(left.keys() | right.keys()):
        found.differences += [f"{name} {path}: {what}" for what in _apart(path, left, right, noise, found, name)]


def _apart(path: str, left: Any, right: Any, noise: Any, found: Verified, case: str) -> Iterator[str]:
    """What is wrong with one output."""
    if path not in left or path not in right:
        yield "only the training model has it" if path in left else "the training model has none"
        return
    a, b = left[path], right[path]
    if a.shape != b.shape or a.size == 0:
        yield f"shape {list(b.shape)} where the training model has {list(a.shape)}"
        return
    measured = gap(a, b)
    found.outputs += 1
    if not measured.finite:
        yield "not finite"
        return
    tolerance = from_response(gap(a, noise[path]).relative, _multiple(), "fp64")
    ratio = measured.relative / tolerance.allowed
    if ratio > found.worst:
        found.worst, found.where = ratio, f"{case} {path}"
    if ratio > 1:
        undecided = "" if tolerance.decides else ", which cannot be decided"
        yield f"{measured.relative:.2g} apart, {tolerance.allowed:.2g} allowed ({tolerance.reason}){undecided}"


def _multiple() -> float:
    return spec.load(spec.PRESET).tolerance.multiple
