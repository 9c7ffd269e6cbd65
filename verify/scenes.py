"""Scenes: what each check runs. A scene is one case of one check, worked out for a variant: the configuration with its
depth and overrides, the file with the drawn inputs, and how the candidate's parameters are made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verify import mapping, memory
from verify.cases import check_sizes, draw_inputs, write_inputs
from verify.checks import available, structure
from verify.checks.base import Job, Maker, Outcome, Scene
from verify.pair import Progress, observe
from verify.report import Skipped, Verdict
from verify.side import Side
from verify.spec import CaseSpec, Spec
from verify.trace import Ask

MEMORY_SHARE = 0.85
COPIES = 1.15
"""Memory of a side over one float64 copy of its parameters: the copy, the largest layer's draw, activations."""


@dataclass(kw_only=True)
class Scenes:
    """The scenes of a variant by check and case, and what could not be made, by check."""

    ready: dict[tuple[str, str], Scene] = field(default_factory=dict)
    broken: dict[str, list[Outcome]] = field(default_factory=dict)


def values_of(spec: Spec, variant: str, check: str, case: CaseSpec, depth: int | None) -> dict[str, Any]:
    """The configuration of one case of one check: the variant's, the check's, the case's; then the depth."""
    options = spec.options(check)
    merged = {**spec.variants[variant], **options.config, **case.config}
    if depth is not None and spec.depth_key is not None:
        own = {**options.config, **case.config}.get(spec.depth_key)
        merged[spec.depth_key] = min(own, depth) if isinstance(own, int) else depth
    return merged


def cases_of(spec: Spec, check: str, cases: Mapping[str, CaseSpec]) -> dict[str, CaseSpec]:
    """Of the cases that were asked for, those that a check runs."""
    chosen = spec.options(check).cases
    return {name: case for name, case in cases.items() if not chosen or name in chosen}


def check_all_sizes(
    spec: Spec, variant: str, checks: list[str], cases: Mapping[str, CaseSpec], depth: int | None
) -> None:
    """Raises SpecError where the inputs of a scene could not be drawn. Draws none."""
    for check in checks:
        for name, case in cases_of(spec, check, cases).items():
            check_sizes(case, name, values_of(spec, variant, check, case, depth))


def make(
    job: Job,
    checks: list[str],
    cases: Mapping[str, CaseSpec],
    depth: int | None,
    sides: list[Side],
    scratch: Path,
    progress: Progress,
) -> Scenes:
    """The scenes of `checks`. One that cannot be made is an error of its own."""
    found = Scenes()
    modules = available()
    for check in checks:
        for name, case in cases_of(job.spec, check, cases).items():
            values = values_of(job.spec, job.variant, check, case, depth)
            try:
                file = _inputs(job, name, case, values, scratch, getattr(modules[check], "DRAWS", 0))
                again = getattr(modules[check], "REDRAWS", False)
                redrawn = _inputs(job, name, case, values, scratch, 1) if again else None
            except Exception as error:  # a full disk, no memory, sizes that the memory's depth makes impossible
                group = Outcome(name=name)
                details = {"fault": f"{type(error).__name__}: {error}"}
                maker = Maker(job=job, check=check, group=name)
                group.findings.append(maker.finding("no-inputs", name, Verdict.ERROR, details=details))
                found.broken.setdefault(check, []).append(group)
            else:
                found.ready[check, name] = Scene(case=case, values=values, inputs=file, redrawn=redrawn)
    return _with_recipes(job, found, sides, progress)


def _inputs(job: Job, name: str, case: CaseSpec, values: Mapping[str, Any], scratch: Path, draws: int) -> Path:
    """The file with the tensors of a case. Scenes of one configuration share it.

    draws: how many there are of each tensor, called "0/NAME", "1/NAME", …; 0: one, under its own name.
    """
    mark = hashlib.blake2b(_text(values).encode(), digest_size=8).hexdigest()
    file = scratch / f"{job.variant}-{name}-{mark}-{draws}.inputs.safetensors"
    if file.exists():
        return file
    tensors = {} if draws else draw_inputs(case, name, values, job.seed)
    for draw in range(draws):
        drawn = draw_inputs(case, f"{name}/{draw}", values, job.seed)
        tensors.update({f"{draw}/{key}": tensor for key, tensor in drawn.items()})
    write_inputs(tensors, file)
    return file


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _with_recipes(job: Job, scenes: Scenes, sides: list[Side], progress: Progress) -> Scenes:
    """With how the candidate's parameters are made of the reference's, where the spec maps any."""
    if not job.spec.mapping.parameters:
        return scenes
    distinct = {_text(scene.values): scene.values for scene in scenes.ready.values()}
    keys = {text: job.key("mapping", str(number)) for number, text in enumerate(distinct)}
    asks = [Ask(key=keys[t], op="structure", args={"values": dict(v)}) for t, v in distinct.items()]
    observe(sides, asks, progress)
    recipes: dict[str, dict[str, Any]] = {}
    for text, key in keys.items():
        recipes[text] = {}
        for group in structure.GROUPS:
            shapes = [structure.shapes(side.trace.get(key).result or {}, group) for side in sides]
            recipes[text] |= mapping.resolve(job.spec.mapping, *shapes).to_wire()
    for place, scene in scenes.ready.items():
        scenes.ready[place] = replace(scene, recipes=recipes[_text(scene.values)])
    return scenes


def depth_of(job: Job, asked: int | None, sides: list[Side], facts: dict[str, Any]) -> tuple[int | None, list[Skipped]]:
    """Layers to run: those asked for, all (None), or as many as fit into memory, which is then said.

    facts: what the report tells of the variant; filled here.
    """
    trace = sides[0].trace
    ask = structure.plan(job)[0]
    if ask.key not in trace.answers:
        trace.add(sides[0].ask(ask))
    result = trace.get(ask.key).result or {}
    parameters = sum(math.prod(p["shape"]) for p in result.get("parameters", []))
    layers = job.values.get(job.spec.depth_key or "")
    facts.update(
        values=dict(job.values),
        parameters=parameters,
        entries=len(result.get("order", [])),
        names=[f"{p['name']} {p['shape']}" for p in result.get("parameters", [])],
        layers=layers if asked is None else asked,
    )
    free = memory.available()
    need = parameters * 8 * COPIES * len(sides)
    if asked is not None or not isinstance(layers, int) or free is None or need <= free * MEMORY_SHARE:
        return asked, []
    fits = facts["layers"] = max(int(layers * free * MEMORY_SHARE / need), 1)
    reason = (
        f"forward runs {fits} of {layers} layers: all of them need {need / 2**30:.1f} GiB in float64 for both sides and "
        f"{free / 2**30:.1f} GiB are free; --depth {layers} runs all the same"
    )
    return fits, [Skipped(check="forward", variant=job.variant, case="", reason=reason)]
