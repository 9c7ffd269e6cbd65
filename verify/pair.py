"""Both sides of a run: started, asked at once, ended."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from verify.side import Servers, Settings, Side, cpus, interpreter
from verify.spec import SideSpec, Spec, SpecError
from verify.trace import BOTH, Ask, Role

Progress = Callable[[Role, str], None]


def side_spec(spec: Spec, role: Role) -> SideSpec:
    """What the spec says of one side."""
    return spec.reference if role == "reference" else spec.candidate


def _renames(spec: Spec, role: Role) -> dict[str, dict[str, str]]:
    """The side's own words for configuration keys and forward arguments, which the spec names as the reference does."""
    theirs = role == "candidate"
    return {
        "config": spec.mapping.config if theirs else {},
        "inputs": spec.mapping.inputs if theirs else {},
    }


def title(side: SideSpec) -> str:
    """What a side is: module and class."""
    return str(side.model or side.factory)


def environment(side: Side) -> dict[str, Any]:
    """What a side runs on, for the report."""
    answer = side.trace.get("environment")
    if answer.result is None:
        return {"fault": str(answer.fault)}
    peaks = {"peak_memory": side.peak_memory, "peak_device_memory": side.peak_device_memory}
    return {**answer.result, **peaks}


@contextmanager
def started(
    spec: Spec,
    base: Path,
    shared: Servers | None,
    *,
    seed: int,
    device: str,
    timeout: float,
    processors: int | None = None,
) -> Iterator[tuple[list[Side], Path]]:
    """Both sides, ready to be asked; ended, and their scratch folders removed, on the way out.

    processors: how many the two may share where other pairs run beside them; default: all.
    """
    for role in BOTH:
        folder = (base / side_spec(spec, role).path).resolve()
        if not folder.is_dir():
            raise SpecError(f"{role}.path: there is no folder {folder}")
    scratch = Path(tempfile.mkdtemp(prefix="llavavit-verify-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        servers = shared if shared is not None else stack.enter_context(Servers())
        sides = []
        for role in BOTH:
            side = side_spec(spec, role)
            python = interpreter(side.python, base)
            home = scratch / role
            home.mkdir(mode=0o700)
            users = [r for r in BOTH if interpreter(side_spec(spec, r).python, base) == python]
            server = servers.get(python, _preload(spec, base, users))
            settings = Settings(
                role=role,
                python=python,
                path=str((base / side.path).resolve()),
                config=side.config,
                model=side.model,
                factory=side.factory,
                kwargs=side.kwargs,
                renames=_renames(spec, role),
                seed=seed,
                device=device,
                scratch=str(home),
            )
            count = processors or cpus()
            others = {}
            for name in side.load_with:
                another = replace(settings, python=interpreter(name, base))
                theirs = servers.get(another.python, _preload(spec, base, [role]))
                others[name] = Side(settings=another, server=theirs, timeout=timeout, processors=count)
            sides.append(Side(settings=settings, server=server, timeout=timeout, processors=count, others=others))
            stack.callback(sides[-1].stop)
        yield sides, scratch


def _preload(spec: Spec, base: Path, roles: Iterable[Role]) -> tuple[str, ...]:
    """What a warmed interpreter imports before it forks these sides. A guess from the sources; it only saves time."""
    for role in roles:
        side = side_spec(spec, role)
        module = str(side.model or side.factory).partition(":")[0].replace(".", "/")
        for file in (base / side.path / f"{module}.py", base / side.path / module / "__init__.py"):
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if re.search(r"^\s*(from|import)\s+transformers", text, re.MULTILINE):
                return ("torch", "safetensors.torch", "transformers.modeling_utils")
    return ("torch", "safetensors.torch")


def observe(sides: list[Side], asks: list[Ask], progress: Progress) -> None:
    """Asks both sides at once. On Ctrl-C both are ended first, so that no thread waits for them."""
    with ThreadPoolExecutor(len(sides)) as pool:
        jobs = [pool.submit(side.observe, asks, lambda role, ask: progress(role, ask.key)) for side in sides]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for side in sides:
                side.stop()
            raise
